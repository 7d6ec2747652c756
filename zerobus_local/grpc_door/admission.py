"""Checks the headers, token and table of a call, and triggers the faults that happen before a stream opens."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc

from ..errors import InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from ..model.names import TableName
from ..status import StatusError, invalid_error, status_code

if TYPE_CHECKING:
    from ..catalog.catalog import Catalog
    from ..catalog.tokens import Tokens
    from ..faults import Faults
    from ..model.objects import Table

__all__ = ["Admission", "Call", "wait_while_active"]

TABLE_HEADER: Final = "x-databricks-zerobus-table-name"


@dataclass(slots=True)
class Call:
    """The content of a call's headers.

    ``number`` is the call's number among the calls for the same table, counted from 1; it is 0 until
    ``Admission.admit`` sets it.
    """

    table_name: str
    token: str
    client: str
    number: int = 0


class Admission:
    """Checks calls. ``tokens`` verifies bearer tokens; if ``tokens`` is None, any token is accepted."""

    def __init__(self, catalog: Catalog, tokens: Tokens | None, faults: Faults) -> None:
        self.faults = faults
        self._catalog = catalog
        self._tokens = tokens

    @staticmethod
    def call(context: Any) -> Call:
        """Return the content of the call's headers, without checking it."""
        headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return Call(
            table_name=headers.get(TABLE_HEADER, ""),
            token=token.strip() if scheme.lower() == "bearer" else "",
            client=headers.get("user-agent", ""),
        )

    def admit(self, call: Call, context: Any) -> None:
        """Check the headers, the token and the grants on the table; raise StatusError if one is missing or wrong.

        Also sets ``call.number``, and triggers the faults that happen before a stream opens.
        """
        if not call.table_name:
            raise invalid_error(
                f"the header {TABLE_HEADER} is missing: it must contain the table's name as catalog.schema.table"
            )
        try:
            call.table_name = str(TableName.parse(call.table_name))
        except InvalidRequest as error:
            raise invalid_error(f"the header {TABLE_HEADER}: {error.message}") from error
        call.number = self.faults.count_stream(call.table_name)
        self._trigger_faults(context, call)
        if not call.token:
            raise StatusError(
                grpc.StatusCode.UNAUTHENTICATED, "the authorization header is missing or has no bearer token"
            )
        if self._tokens is not None:
            self._verify(self._tokens, call)

    def table(self, name: str) -> Table:
        """Return the table of this name; raise StatusError (NOT_FOUND) if the catalog does not have the table."""
        try:
            return self._catalog.table(name)
        except NotFound as error:
            raise StatusError(grpc.StatusCode.NOT_FOUND, error.message) from error

    def _trigger_faults(self, context: Any, call: Call) -> None:
        delay = self.faults.trigger("delay_open", call.table_name, call.number)
        if delay:
            wait_while_active(context, delay.seconds)
        if self.faults.trigger("hang_open", call.table_name, call.number):
            wait_while_active(context, None)
        refusal = self.faults.trigger("refuse_open", call.table_name, call.number)
        if refusal:
            raise StatusError(status_code(refusal.status), refusal.text)

    @staticmethod
    def _verify(tokens: Tokens, call: Call) -> None:
        try:
            tokens.verify(call.token, call.table_name)
        except PermissionDenied as error:
            raise StatusError(grpc.StatusCode.PERMISSION_DENIED, error.message) from error
        except Unauthenticated as error:
            raise StatusError(grpc.StatusCode.UNAUTHENTICATED, error.message) from error


def wait_while_active(context: Any, seconds: float | None) -> None:
    """Wait until ``seconds`` have passed or the call ends. If ``seconds`` is None, wait until the call ends."""
    until = None if seconds is None else time.monotonic() + seconds
    while context.is_active():
        left = 0.05 if until is None else min(0.05, until - time.monotonic())
        if left <= 0:
            return
        time.sleep(left)
