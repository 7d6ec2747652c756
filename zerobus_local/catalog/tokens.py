"""Issues and checks OAuth access tokens. Each token is for one principal, and usually for one table.

A token is a signed JWT, so it stays valid when the server restarts. A token that opens a stream needs
``authorization_details`` with SELECT and MODIFY on the table, as the SDK requests them. The principal's grants on the
table, its schema and its catalog are checked when the token is issued, and again when a stream opens. It is an
assumption that the Databricks service also makes the second check.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from ..errors import InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from ..model.names import TableName
from .grants import missing_for_zerobus

if TYPE_CHECKING:
    from .catalog import Catalog

__all__ = ["ZEROBUS_PRIVILEGES", "Identity", "Tokens"]

ZEROBUS_PRIVILEGES = ("SELECT", "MODIFY")
"""The privileges that a token needs on a table to open a stream into it."""

_ALGORITHM = "HS256"
_NO_GRANT = 4024
_AUDIENCE = "zerobus-local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The principal to whom a token was issued, and the time at which the token expires (seconds since 1970)."""

    client_id: str
    name: str
    expires_at: float


class Tokens:
    """Issues and verifies tokens. ``lifetime`` is in seconds; ``clock`` returns seconds since 1970. Thread-safe."""

    def __init__(self, catalog: Catalog, *, lifetime: float = 3600.0, clock: Callable[[], float] = time.time) -> None:
        self._catalog = catalog
        self._clock = clock
        self.lifetime = lifetime

    def now(self) -> float:
        """Return the time of this service's clock, in seconds since 1970."""
        return self._clock()

    def issue(
        self, client_id: str, details: list[dict[str, Any]] | None = None, *, lifetime: float | None = None
    ) -> tuple[str, float]:
        """Return a token for the principal, and the token's lifetime in seconds.

        ``details`` are the requested ``authorization_details``. ``lifetime``, in seconds, replaces the usual lifetime.
        Raises InvalidRequest for malformed details, and PermissionDenied if the details refer to an existing table and
        the principal lacks a grant that Zerobus needs for that table.
        """
        granted = [_checked_detail(detail) for detail in details or []]
        for detail in granted:
            self._check_granted(client_id, detail)
        now = self._clock()
        seconds = self.lifetime if lifetime is None else lifetime
        claims = {
            "sub": client_id,
            "aud": _AUDIENCE,
            "iat": now,
            "exp": now + seconds,
            "jti": secrets.token_hex(8),
            "authorization_details": granted,
        }
        return jwt.encode(claims, self._catalog.principals.signing_key, algorithm=_ALGORITHM), seconds

    def verify(
        self, token: str | None, table_full_name: str | None = None, privileges: Iterable[str] = ZEROBUS_PRIVILEGES
    ) -> Identity:
        """Return the principal of the token; raise Unauthenticated if the token is not valid.

        If a table is given, also raise PermissionDenied, with code 4024, in two cases: the token was not issued for
        that table with all ``privileges``, or the table exists and the principal lacks a grant that Zerobus needs.
        """
        claims = self._claims(token)
        try:
            principal = self._catalog.principals.find(claims["sub"])
        except NotFound as error:
            raise Unauthenticated("the token belongs to a service principal that does not exist") from error
        identity = Identity(client_id=principal.client_id, name=principal.name, expires_at=claims["exp"])
        if table_full_name is not None:
            name = TableName.parse(table_full_name)
            self._check_scope(claims, name, set(privileges))
            self._check_grants(principal.client_id, name)
        return identity

    def expire_all(self) -> None:
        """Stop accepting the tokens that were issued so far; tokens that are issued later are valid."""
        self._catalog.principals.revoke_tokens(self._clock())

    def _claims(self, token: str | None) -> dict[str, Any]:
        if not token:
            raise Unauthenticated("no token: send the header 'authorization: Bearer <token>'")
        try:
            # The times in the claims are checked below, against self._clock.
            claims: dict[str, Any] = jwt.decode(
                token,
                self._catalog.principals.signing_key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"verify_exp": False, "verify_iat": False, "require": ["sub", "iat", "exp"]},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(f"the token is not valid: {error}") from error
        if self._clock() >= claims["exp"] or claims["iat"] <= self._catalog.principals.tokens_valid_from:
            raise Unauthenticated("the token has expired: get another one from /oidc/v1/token")
        return claims

    def _check_granted(self, client_id: str, detail: dict[str, Any]) -> None:
        if detail["object_type"] != "TABLE":
            return
        name = TableName.parse(detail["object_full_path"])
        if name in self._catalog.state.tables:
            self._check_grants(client_id, name)

    def _check_grants(self, client_id: str, name: TableName) -> None:
        # Do not report missing grants on a table that does not exist: the caller answers NOT_FOUND, which is clearer.
        if name not in self._catalog.state.tables:
            return
        missing = missing_for_zerobus(self._catalog.state, client_id, name)
        if missing:
            raise PermissionDenied(
                f"Service principal {client_id} is not authorized to the requested authorizations on {name}; "
                f"missing: {', '.join(missing)}. Grant them on the object itself; for SELECT and MODIFY, "
                f"ALL PRIVILEGES is not enough. Error Code: {_NO_GRANT}, Error State: 0",
                code=_NO_GRANT,
            )

    def _check_scope(self, claims: dict[str, Any], name: TableName, privileges: set[str]) -> None:
        details = claims.get("authorization_details") or []
        tables = {detail["object_full_path"] for detail in details if detail["object_type"] == "TABLE"}
        held = {
            privilege
            for detail in details
            if (detail["object_type"], detail["object_full_path"]) == ("TABLE", str(name))
            for privilege in detail["privileges"]
        }
        if not privileges <= held:
            scope = f"is for {', '.join(sorted(tables))}" if tables else "carries no authorization_details for a table"
            raise PermissionDenied(
                f"The token {scope}; it also needs {', '.join(sorted(privileges - held))} on {name}. "
                f"Error Code: {_NO_GRANT}, Error State: 0",
                code=_NO_GRANT,
            )


def _checked_detail(detail: object) -> dict[str, Any]:
    """Check one entry of ``authorization_details``, and return it with the object's name in lower case.

    Raises InvalidRequest if the entry is invalid.
    """
    if isinstance(detail, dict):
        kind, path, privileges = (detail.get(key) for key in ("object_type", "object_full_path", "privileges"))
        is_list = isinstance(privileges, list) and all(isinstance(privilege, str) for privilege in privileges)
        if kind in ("CATALOG", "SCHEMA", "TABLE") and isinstance(path, str) and is_list:
            path = str(TableName.parse(path)) if kind == "TABLE" else path.lower()
            return {"object_type": kind, "object_full_path": path, "privileges": privileges}
    raise InvalidRequest(
        f"authorization_details contain the invalid entry {str(detail)[:200]!r}; each entry needs object_type "
        "(CATALOG, SCHEMA or TABLE), object_full_path and privileges (a list of strings)"
    )
