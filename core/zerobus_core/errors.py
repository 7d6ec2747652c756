"""All errors that a delivery can raise.

The headings at the first level of the tree say where the cause of an error is:

    ZerobusIngestError
    ├── your side: change something before another attempt
    │   ├── ConfigurationError        an invalid endpoint, option, credential or source
    │   ├── SchemaError               a table that Zerobus cannot write to, or columns that do not fit it
    │   └── RecordError               rows that do not fit the table; the error lists bad fields
    ├── the service's answer
    │   ├── AuthenticationError       the credentials are not accepted
    │   ├── PermissionDeniedError     credentials without the grants on this table
    │   ├── TableNotFoundError        no such table
    │   ├── RejectedRecordError       the service refused rows that fit the schema
    │   └── ThrottledError            a quota or rate limit was exceeded              (retryable)
    ├── the wire
    │   ├── TransportError            a connection broke or could not be opened       (retryable)
    │   └── IngestTimeoutError        a deadline passed                               (retryable)
    ├── a handoff
    │   ├── HandoffBusyError          another run delivers the open slice             (retryable)
    │   ├── ShardsMissingError        shards that have no receipt yet                 (retryable)
    │   ├── HandoffStateError         a state that is lost, damaged or of another handoff
    │   ├── SliceForgottenError       a slice that the state no longer contains
    │   ├── WatermarkPrecisionError   a column whose values the database driver changes
    │   ├── DeliveredFileChangedError a delivered file that has other content now
    │   └── FrozenFileError           a file of the open slice that is gone or has changed
    ├── SourceChangedError            delivered rows have changed in the source       (retryable)
    ├── IngestInterruptedError        someone asked the delivery to stop              (retryable)
    └── DeliverySupersededError       a newer attempt at the same delivery has replaced this one

The last three errors have no heading. SourceChangedError and IngestInterruptedError require only another attempt.
DeliverySupersededError needs no action at all: the newer attempt has taken over.

``retryable`` is a property of the class. It is True if another attempt with the same input can succeed. Adapters use
this property to decide whether to retry, unless the user sets another rule (in Airflow: ``retry_permanent_errors`` or a
retry policy).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from .wording import plural

__all__ = [
    "AuthenticationError",
    "BadField",
    "ConfigurationError",
    "Counts",
    "DeliveredFileChangedError",
    "DeliverySupersededError",
    "ForeignError",
    "FrozenFileError",
    "HandoffBusyError",
    "HandoffStateError",
    "IngestInterruptedError",
    "IngestTimeoutError",
    "PermissionDeniedError",
    "RecordError",
    "RejectedRecordError",
    "SchemaError",
    "ShardsMissingError",
    "SliceForgottenError",
    "SourceChangedError",
    "TableNotFoundError",
    "ThrottledError",
    "TransportError",
    "WatermarkPrecisionError",
    "ZerobusIngestError",
    "naming_table",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many rows of a delivery were read, acknowledged, skipped and so on, at one moment."""

    rows_read: int = 0
    rows_acked: int = 0
    rows_skipped: int = 0
    rows_dead_lettered: int = 0
    rows_resent: int = 0
    rows_filtered: int = 0
    """The number of rows that ``IngestOptions.transform`` left out."""

    @property
    def rows_not_durable(self) -> int:
        """The number of rows that were read, minus those that were acknowledged, skipped, dead-lettered or filtered."""
        settled = self.rows_acked + self.rows_skipped + self.rows_dead_lettered + self.rows_filtered
        return self.rows_read - settled


@dataclass(frozen=True, slots=True, kw_only=True)
class BadField:
    """A field that does not fit the table: its row, path and value, the type that was expected, and the reason.

    ``value_repr`` is a short form of the value for error messages and dead letters; it never goes into a receipt or a
    checkpoint.
    """

    row: int
    path: str
    value_type: str
    value_repr: str
    expected: str
    reason: str
    place: str = ""
    """Where the row is in its file, such as "line 3"; empty if that is not known."""

    def __str__(self) -> str:
        got = f"{self.value_type} {self.value_repr}".rstrip()
        place = f" ({self.place})" if self.place else ""
        return f"row {self.row}{place}, field {self.path}: {self.reason} (expected {self.expected}, got {got})"


class ZerobusIngestError(Exception):
    """The base of all errors that a delivery raises.

    ``table`` is the full name of the table, or None if the error was raised before the table was known. ``counts``
    holds the numbers of rows at the time of the error. ``next_attempt`` is the part of the error's text that says
    whether another attempt sends the durable rows again; it is empty if no row is durable, or if the error is not
    retryable.

    If a handoff's run had delivered slices before the error ended it, ``delivered`` is the receipt for these slices, as
    a dict. Otherwise, ``delivered`` is None.

    If a handoff was sending a slice again when the error was raised, ``redelivered_slice`` is the id of this slice, and
    the rows that ``counts`` reports as acknowledged are in the table twice. Otherwise, ``redelivered_slice`` is None.

    A subclass must not require any argument but the message: unpickling calls the class with the message alone and then
    restores the attributes.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, table: str | None = None, counts: Counts | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.table = table
        self.counts = counts or Counts()
        self.next_attempt = ""
        self.delivered: dict[str, Any] | None = None
        self.redelivered_slice: str | None = None

    def __str__(self) -> str:
        text = f"{self.table}: {self.message}" if self.table else self.message
        if self.next_attempt:
            text = f"{text}; {self.next_attempt}"
        if self.delivered is not None:
            text = f"{text}; before that, this run delivered {_summary_of(self.delivered)}"
        if self.redelivered_slice is not None and self.counts.rows_acked:
            text = (
                f"{text}; slice {self.redelivered_slice} was being sent again: "
                "its acknowledged rows are in the table twice"
            )
        if self.counts == Counts():
            return text
        dead = f"{self.counts.rows_dead_lettered} dead-lettered, " if self.counts.rows_dead_lettered else ""
        filtered = f"{self.counts.rows_filtered} filtered, " if self.counts.rows_filtered else ""
        return (
            f"{text} [{self.counts.rows_read} {plural(self.counts.rows_read, 'row')} read, "
            f"{self.counts.rows_acked} acknowledged, {self.counts.rows_skipped} durable before, "
            f"{dead}{filtered}{self.counts.rows_not_durable} not durable]"
        )

    def with_facts(self, *, table: str | None, counts: Counts, next_attempt: str = "") -> ZerobusIngestError:
        """Set ``counts`` and ``next_attempt``, and also ``table`` if it is None; return this error."""
        self.table = self.table or table
        self.counts = counts
        self.next_attempt = next_attempt
        return self


def _summary_of(receipt: dict[str, Any]) -> str:
    slices = ", ".join(receipt["handoff"].get("slices") or [receipt["handoff"]["slice"]])
    acked, resent = receipt["rows_acked"], receipt["rows_resent"]
    return f"{slices} ({acked} {plural(acked, 'row')} acknowledged, {resent} sent again in all attempts)"


class ForeignError(Exception):
    """Replaces a library's error in a chain of causes if the text of that error held a secret.

    The message names the class of the replaced error, and quotes the text of that error with the secret masked.
    """


@contextmanager
def naming_table(table: str) -> Generator[None]:
    """If the ``with`` block raises a ZerobusIngestError whose ``table`` is not set, set it to the argument ``table``.

    If the block raises RuntimeError because the process is ending and cannot start more threads, raise
    ConfigurationError instead.
    """
    try:
        yield
    except ZerobusIngestError as error:
        error.table = error.table or table
        raise
    except RuntimeError as error:
        if str(error) not in _AT_SHUTDOWN:
            raise
        raise ConfigurationError(
            "this Python process is ending and starts no more threads; deliver before the main thread ends, not from "
            "an atexit function",
            table=table,
        ) from error


# Python's messages if a thread is started, or a module that uses threads is imported, once the main thread has ended.
_AT_SHUTDOWN = frozenset(
    {
        "can't register atexit after shutdown",
        "can't create new thread at interpreter shutdown",
        "can't start new thread at interpreter shutdown",
        "cannot schedule new futures after interpreter shutdown",
    }
)


class ConfigurationError(ZerobusIngestError):
    """An endpoint, an option, a credential or a source is invalid; raised before any work if possible."""


class SchemaError(ZerobusIngestError):
    """Zerobus does not support the table, or the columns of the source do not fit it."""


class RecordError(ZerobusIngestError):
    """Rows do not fit the table's schema; ``fields`` holds the invalid fields that are listed in the message."""

    def __init__(
        self,
        message: str,
        *,
        fields: tuple[BadField, ...] = (),
        table: str | None = None,
        counts: Counts | None = None,
    ) -> None:
        super().__init__(message, table=table, counts=counts)
        self.fields = fields


class DeliverySupersededError(ZerobusIngestError):
    """A newer attempt with the same checkpoint has replaced this one, which sends no more rows."""


class AuthenticationError(ZerobusIngestError):
    """The workspace does not accept the credentials."""


class PermissionDeniedError(ZerobusIngestError):
    """The credentials are valid, but lack grants: USE CATALOG, USE SCHEMA, and MODIFY + SELECT on the table itself."""


class TableNotFoundError(ZerobusIngestError):
    """Unity Catalog has no table of this name, or hides it from these credentials."""


class RejectedRecordError(ZerobusIngestError):
    """The service refused rows that fit the schema; ``rows`` are their positions in the source (from 0), if known."""

    def __init__(
        self,
        message: str,
        *,
        rows: tuple[int, ...] = (),
        table: str | None = None,
        counts: Counts | None = None,
    ) -> None:
        super().__init__(message, table=table, counts=counts)
        self.rows = rows


class ThrottledError(ZerobusIngestError):
    """A limit of the service was exceeded (RESOURCE_EXHAUSTED or HTTP 429), and no attempts are left."""

    retryable = True


class TransportError(ZerobusIngestError):
    """A connection broke or could not be opened, and no attempts are left."""

    retryable = True


class IngestTimeoutError(ZerobusIngestError):
    """A time limit was exceeded, such as the limit for opening a stream, for an acknowledgement or for the delivery."""

    retryable = True


class SourceChangedError(ZerobusIngestError):
    """Rows that an earlier attempt delivered have changed in the source; the next attempt starts over.

    The checkpoint no longer counts any row as durable, but still says which rows may have been sent.
    """

    retryable = True


class IngestInterruptedError(ZerobusIngestError):
    """Someone asked the delivery to stop; the rows that were acknowledged before it stopped are durable."""

    retryable = True


class HandoffBusyError(ZerobusIngestError):
    """Another run is delivering the open slice of the handoff, and its lease has not expired."""

    retryable = True


class ShardsMissingError(ZerobusIngestError):
    """Some shards of a source, or of a handoff's slice, have no receipt, so nothing was merged or finished.

    Deliver the missing shards, and merge or finish again.
    """

    retryable = True


class HandoffStateError(ConfigurationError):
    """The state of a handoff, or a file that belongs to it, is missing, damaged or otherwise unusable."""


class SliceForgottenError(ConfigurationError):
    """The state no longer contains the slice that was asked for; no other slice is delivered instead."""


class WatermarkPrecisionError(ConfigurationError):
    """The driver changes the values of a column: the database finds no row with the value that the driver returned."""


class DeliveredFileChangedError(ConfigurationError):
    """The content of delivered files has changed; see ``NewFiles(on_changed=…)``."""


class FrozenFileError(ConfigurationError):
    """A file of the open slice was removed or changed after the slice was frozen; no row was skipped."""
