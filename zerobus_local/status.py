"""The errors of the gRPC interface: broken connections, and gRPC statuses, some of which have a numeric code.

The message contains the code as ``Error Code: N, Error State: M``. No official list of codes was found. The codes that
we know are 4002 (an offset that is not the next one), 4024 (a missing permission), 6002 (the stream has reached its
maximum age) and 8001 (the schema does not fit).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import grpc
from google.rpc import error_details_pb2, status_pb2

__all__ = [
    "NOT_NEXT_OFFSET",
    "SCHEMA_MISMATCH",
    "STREAM_LIFETIME",
    "CutError",
    "Detail",
    "StatusError",
    "invalid_error",
    "schema_mismatch_error",
    "status_code",
]

NOT_NEXT_OFFSET: Final = 4002
STREAM_LIFETIME: Final = 6002
SCHEMA_MISMATCH: Final = 8001
_MAX_TEXT: Final = 600  # characters of up to 12 bytes; HTTP/2 headers together hold 8 KB by default
_DOMAIN: Final = "zerobus.databricks.com"


@dataclass(frozen=True, slots=True)
class Detail:
    """The content of a ``google.rpc.ErrorInfo`` that is sent together with the status."""

    reason: str
    metadata: tuple[tuple[str, str], ...]


class StatusError(Exception):
    """Ends the stream with a gRPC status. If ``error_code`` is not None, the message that is sent contains it."""

    def __init__(
        self, code: grpc.StatusCode, message: str, *, error_code: int | None = None, detail: Detail | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.error_code = error_code
        self.detail = detail

    @property
    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """The call's trailing metadata: a ``google.rpc.Status`` that contains ``detail``; () if ``detail`` is None."""
        if self.detail is None:
            return ()
        status = status_pb2.Status(code=self.code.value[0], message=self.text)
        status.details.add().Pack(
            error_details_pb2.ErrorInfo(reason=self.detail.reason, domain=_DOMAIN, metadata=dict(self.detail.metadata))
        )
        return (("grpc-status-details-bin", status.SerializeToString()),)

    @property
    def text(self) -> str:
        """The message to send, with the error code; shortened if it would not fit into the trailers of a call."""
        text = str(self)
        if len(text) > _MAX_TEXT:
            text = f"{text[:_MAX_TEXT]}…"
        return text if self.error_code is None else f"{text} (Error Code: {self.error_code}, Error State: 0)"


class CutError(Exception):
    """Ends the stream without a gRPC status: a fault makes the server close the connection."""


def invalid_error(message: str, *, error_code: int | None = None) -> StatusError:
    """Return an INVALID_ARGUMENT error: the client has to change its request."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message, error_code=error_code)


def schema_mismatch_error(table: str, reason: str) -> StatusError:
    """Return the error for a stream whose schema does not fit the schema of the table."""
    return invalid_error(f"Schema validation failed for table {table}: {reason}", error_code=SCHEMA_MISMATCH)


def status_code(name: str) -> grpc.StatusCode:
    """Return the gRPC status that is called ``name``, for example ``UNAVAILABLE``.

    Raises ValueError if there is no such status; the message lists the valid names.
    """
    try:
        return grpc.StatusCode[name.upper()]
    except KeyError:
        known = ", ".join(code.name for code in grpc.StatusCode)
        raise ValueError(f"{name!r} is not a gRPC status; use one of {known}") from None
