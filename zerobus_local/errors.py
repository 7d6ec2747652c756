"""The errors of the local service.

Each error has the code that Databricks uses over REST (``{"error_code": …, "message": …}``) and the HTTP status::

    LocalZerobusError
    ├── InvalidRequest        400   invalid SQL, an invalid name or parameter
    ├── AlreadyExists         409   a catalog, schema, table, column or constraint of that name already exists
    ├── NotFound              404
    │   └── UnknownTable      404
    ├── Unauthenticated       401   no token, or an invalid or expired one
    ├── PermissionDenied      403   the principal or its token lacks a permission (for a stream: code 4024)
    └── UnknownOutcome        504   it is unknown whether rows were committed
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlreadyExists",
    "InvalidRequest",
    "LocalZerobusError",
    "NotFound",
    "PermissionDenied",
    "Unauthenticated",
    "UnknownOutcome",
    "UnknownTable",
]


class LocalZerobusError(Exception):
    """Base class of the local service's errors; the message says what is wrong and, if possible, what to do."""

    http_status: ClassVar[int] = 500
    error_code: ClassVar[str] = "INTERNAL_ERROR"

    @property
    def message(self) -> str:
        """The text of the error, without the class name."""
        return str(self.args[0]) if self.args else self.error_code


class InvalidRequest(LocalZerobusError):  # noqa: N818  # named for the answer
    """SQL, a name or a parameter is invalid."""

    http_status = 400
    error_code = "INVALID_PARAMETER_VALUE"


class AlreadyExists(LocalZerobusError):  # noqa: N818  # named for the answer
    """An object of that name already exists."""

    http_status = 409
    error_code = "ALREADY_EXISTS"


class NotFound(LocalZerobusError):  # noqa: N818  # named for the answer
    """A catalog, schema, column, constraint, principal, fault or file does not exist."""

    http_status = 404
    error_code = "NOT_FOUND"


class UnknownTable(NotFound):
    """No table has that name, or the table was dropped and created again."""

    error_code = "TABLE_DOES_NOT_EXIST"


class Unauthenticated(LocalZerobusError):  # noqa: N818  # named for the answer
    """The token is missing, malformed, forged, expired or revoked, or its principal does not exist."""

    http_status = 401
    error_code = "UNAUTHENTICATED"


class PermissionDenied(LocalZerobusError):  # noqa: N818  # named for the answer
    """The principal or its token lacks a permission.

    ``code`` is 4024 if Zerobus refuses access to the table, and None otherwise.
    """

    http_status = 403
    error_code = "PERMISSION_DENIED"

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class UnknownOutcome(LocalZerobusError):  # noqa: N818  # named for the answer
    """A commit failed, and the table's log could not be read to find out whether the rows were committed."""

    http_status = 504
    error_code = "DEADLINE_EXCEEDED"
