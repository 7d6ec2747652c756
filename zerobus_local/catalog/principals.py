"""Stores service principals, their secrets and the key that signs tokens, in a file that only its owner can read."""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InvalidRequest, NotFound
from .atomic_file import write_atomically

__all__ = ["Principal", "Principals"]

_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A service principal: its display name, its application id (``client_id``) and its OAuth secret."""

    name: str
    client_id: str
    client_secret: str = field(repr=False)


class Principals:
    """The service principals of a data folder.

    The first principal is created together with the folder. It owns each object for which no owner is given.
    Thread-safe.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()  # guards _by_id, _tokens_valid_from and the file
        self._by_id: dict[str, Principal] = {}
        self._tokens_valid_from = 0.0
        self.signing_key = secrets.token_bytes(32)
        if file.exists():
            self._load()
        else:
            self._by_id = {(first := _new_principal("zerobus-local")).client_id: first}
            self._save()

    @property
    def default(self) -> Principal:
        """The principal that was created with the folder."""
        return next(iter(self._by_id.values()))

    @property
    def tokens_valid_from(self) -> float:
        """A time in seconds since 1970: only tokens that were issued after this time are accepted."""
        return self._tokens_valid_from

    def all(self) -> list[Principal]:
        """Return all principals, oldest first."""
        return list(self._by_id.values())

    def create(self, name: str) -> Principal:
        """Create a principal without grants; raise InvalidRequest if the name is invalid or taken."""
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise InvalidRequest(
                f"{name[:80]!r} is not a valid name for a service principal: use 1 to 255 printable characters"
            )
        with self._lock:
            if any(name in {principal.name, principal.client_id} for principal in self._by_id.values()):
                raise InvalidRequest(f"a service principal {name!r} already exists")
            principal = _new_principal(name)
            self._by_id[principal.client_id] = principal
            self._save()
        return principal

    def find(self, name: str) -> Principal:
        """Return the principal with this application id or display name; raise NotFound if there is none."""
        for principal in list(self._by_id.values()):
            if name in {principal.client_id, principal.name}:
                return principal
        raise NotFound(f"service principal {name!r} does not exist: use a client id or a display name")

    def authenticate(self, client_id: str, client_secret: str) -> Principal | None:
        """Return the principal that has this id and this secret; return None if no principal has both."""
        principal = self._by_id.get(client_id)
        known = principal.client_secret if principal else ""
        matches = hmac.compare_digest(known.encode(), client_secret.encode("utf-8", "surrogateescape"))
        return principal if matches and principal else None

    def revoke_tokens(self, now: float) -> None:
        """Stop accepting tokens that were issued at ``now`` (seconds since 1970) or earlier."""
        with self._lock:
            self._tokens_valid_from = now
            self._save()

    def _load(self) -> None:
        plain = json.loads(self._file.read_bytes())
        self.signing_key = bytes.fromhex(plain["signing_key"])
        self._tokens_valid_from = plain["tokens_valid_from"]
        self._by_id = {entry["client_id"]: Principal(**entry) for entry in plain["principals"]}

    def _save(self) -> None:
        plain = {
            "signing_key": self.signing_key.hex(),
            "tokens_valid_from": self._tokens_valid_from,
            "principals": [
                {"name": p.name, "client_id": p.client_id, "client_secret": p.client_secret}
                for p in self._by_id.values()
            ],
        }
        write_atomically(self._file, json.dumps(plain, indent=1).encode(), mode=0o600)


def _new_principal(name: str) -> Principal:
    return Principal(name=name, client_id=str(uuid.uuid4()), client_secret=f"local{secrets.token_hex(16)}")
