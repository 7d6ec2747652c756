"""Who may open a stream on which table: headers, token, table, and the faults that strike before a stream is open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import grpc

from .errors import InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from .names import TableName
from .wire_status import StatusError, invalid, status_code

if TYPE_CHECKING:
    from .catalog import Catalog
    from .faults import Faults
    from .model import Table
    from .tokens import Tokens

__all__ = ["Admission", "Call"]

TABLE_HEADER: Final = "x-databricks-zerobus-table-name"


class Call:
    """One call with its headers checked."""

    def __init__(self, admission: Admission, table_name: str, client: str, number: int) -> None:
        self.table_name = table_name
        self.client = client
        self.number = number
        self._admission = admission

    def table(self) -> Table:
        """The table as the catalog has it; NOT_FOUND if it has none."""
        return self._admission.table(self.table_name)


class Admission:
    """Checks calls.  ``tokens`` verifies bearer tokens; None lets any token through."""

    def __init__(self, catalog: Catalog, tokens: Tokens | None, faults: Faults) -> None:
        self._catalog = catalog
        self._tokens = tokens
        self._faults = faults

    def call(self, context: Any) -> Call:
        """Check the headers, the token and its grants on the table; StatusError tells what is wrong."""
        headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        name = headers.get(TABLE_HEADER, "")
        if not name:
            raise invalid(f"the header {TABLE_HEADER} is missing: it names the table as catalog.schema.table")
        try:
            name = str(TableName.parse(name))
        except InvalidRequest as error:
            raise invalid(f"the header {TABLE_HEADER}: {error.message}") from error
        number = self._faults.count_stream(name)
        self._strike(context, name, number)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise StatusError(
                grpc.StatusCode.UNAUTHENTICATED, "the header authorization is missing or holds no bearer token"
            )
        self._verify(token.strip(), name)
        return Call(self, name, headers.get("user-agent", ""), number)

    def table(self, name: str) -> Table:
        """The table; NOT_FOUND if the catalog has none."""
        try:
            return self._catalog.table(name)
        except NotFound as error:
            raise StatusError(grpc.StatusCode.NOT_FOUND, error.message) from error

    def _strike(self, context: Any, table: str, number: int) -> None:
        delay = self._faults.strike("delay_open", table, number)
        if delay:
            _wait(context, delay.seconds)
        if self._faults.strike("hang_open", table, number):
            while context.is_active():
                _wait(context, 1.0)
        refusal = self._faults.strike("refuse_open", table, number)
        if refusal:
            raise StatusError(status_code(refusal.status), refusal.text)

    def _verify(self, token: str, table: str) -> None:
        if self._tokens is None:
            return
        try:
            self._tokens.verify(token, table)
        except PermissionDenied as error:
            raise StatusError(grpc.StatusCode.PERMISSION_DENIED, error.message) from error
        except Unauthenticated as error:
            raise StatusError(grpc.StatusCode.UNAUTHENTICATED, error.message) from error


def _wait(context: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while context.is_active() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))
