"""Every error that a delivery can end in.

The first split says whose move it is:

    ZerobusIngestError
    ├── your side: another try needs a change
    │   ├── ConfigurationError        an endpoint, an option, a credential that cannot be right
    │   ├── SchemaError               a table that Zerobus cannot take, or rows of another shape
    │   ├── RecordError               rows that do not fit the table; each bad field is named
    │   └── DeliverySupersededError   a newer attempt at the same delivery has taken over
    ├── the service's answer
    │   ├── AuthenticationError       the credentials are not accepted
    │   ├── PermissionDeniedError     accepted, but without the grants on this table
    │   ├── TableNotFoundError        no such table
    │   ├── RejectedRecordError       the service refused rows that fitted the schema
    │   └── ThrottledError            too much, too fast                              (retryable)
    ├── the wire
    │   ├── TransportError            a connection that broke or never came to be     (retryable)
    │   └── IngestTimeoutError        a deadline passed                               (retryable)
    ├── a handoff
    │   ├── HandoffBusyError          another run delivers the open slice             (retryable)
    │   ├── ShardsMissingError        shards of a slice that are not durable yet      (retryable)
    │   ├── HandoffStateError         a state that is lost, damaged or of something else
    │   ├── SliceForgottenError       a slice that the state does not hold any more
    │   ├── WatermarkPrecisionError   a column whose values do not survive the driver
    │   ├── DeliveredFileChangedError a delivered file that has other content now
    │   └── FrozenFileError           a file of the open slice that is gone or has changed
    ├── SourceChangedError            rows that are durable have changed in the source    (retryable)
    └── IngestInterruptedError        a stop that someone asked for                   (retryable)

``retryable`` is a property of the class: another try with the same input can succeed.  Adapters
decide by it and by nothing else.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

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
    """Where the rows of a delivery were at one moment; all are numbers of rows."""

    rows_read: int = 0
    rows_acked: int = 0
    rows_skipped: int = 0
    rows_dead_lettered: int = 0
    rows_resent: int = 0
    rows_filtered: int = 0
    """Left out by ``IngestOptions.transform``."""

    @property
    def rows_not_durable(self) -> int:
        """Rows that were read and are neither acknowledged, nor durable before, nor dead-lettered, nor filtered."""
        settled = self.rows_acked + self.rows_skipped + self.rows_dead_lettered + self.rows_filtered
        return self.rows_read - settled


@dataclass(frozen=True, slots=True, kw_only=True)
class BadField:
    """One field that does not fit: where it is, what it is, and why it was refused.

    ``value_repr`` is short and belongs in an error message; it never goes into a receipt or a checkpoint.
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

    ``table`` is the full name of the table, or None if the error came before a table was named.
    ``counts`` says where the rows were when the error was raised, and ``next_attempt`` what another attempt will do
    about those that are durable; it is empty if nothing is.  ``delivered`` is the receipt (``as_dict``) of what a
    handoff's run had delivered before it failed, or None.  ``redelivered_slice`` is the id of the slice of a handoff
    that was being sent again when the error came, or None: its rows that ``counts`` calls acknowledged are in the table
    twice.  Only the message may be a required argument of a subclass: unpickling calls the class with it alone, and
    then restores the attributes.
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
            text = f"{text}; slice {self.redelivered_slice} was being sent again: its acknowledged rows are there twice"
        if self.counts == Counts():
            return text
        dead = f"{self.counts.rows_dead_lettered} dead-lettered, " if self.counts.rows_dead_lettered else ""
        filtered = f"{self.counts.rows_filtered} filtered, " if self.counts.rows_filtered else ""
        return (
            f"{text} [{self.counts.rows_read} rows read, {self.counts.rows_acked} acknowledged, "
            f"{self.counts.rows_skipped} durable before, {dead}{filtered}{self.counts.rows_not_durable} not durable]"
        )

    def with_facts(self, *, table: str | None, counts: Counts, next_attempt: str = "") -> ZerobusIngestError:
        """The same error, with the table, the counts and the outlook that its raiser did not know."""
        self.table = self.table or table
        self.counts = counts
        self.next_attempt = next_attempt
        return self


def _summary_of(receipt: dict[str, Any]) -> str:
    slices = ", ".join(receipt["handoff"].get("slices") or [receipt["handoff"]["slice"]])
    return f"{slices} ({receipt['rows_acked']} rows acknowledged, {receipt['rows_resent']} sent again in all attempts)"


class ForeignError(Exception):
    """Takes the place, in a chain of causes, of a library's error that held a secret: its type and its masked text."""


@contextmanager
def naming_table(table: str) -> Generator[None]:
    """Name the table in what is raised inside, where the raiser did not know it."""
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


# What Python says when a thread is started, or a module of threads imported, after the main thread has ended.
_AT_SHUTDOWN = frozenset(
    {
        "can't register atexit after shutdown",
        "can't create new thread at interpreter shutdown",
        "can't start new thread at interpreter shutdown",
        "cannot schedule new futures after interpreter shutdown",
    }
)


class ConfigurationError(ZerobusIngestError):
    """An endpoint, an option, a credential or a source that cannot be right; found before any work, where it can be."""


class SchemaError(ZerobusIngestError):
    """The table is of a kind that Zerobus does not take, or the rows are of another shape."""


class RecordError(ZerobusIngestError):
    """Rows that do not fit the table's schema; found before anything of their batch was sent."""

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
    """A newer attempt with the same checkpoint has taken over; this one sends and writes nothing more."""


class AuthenticationError(ZerobusIngestError):
    """The workspace does not accept the credentials."""


class PermissionDeniedError(ZerobusIngestError):
    """The credentials are good, but lack grants: USE CATALOG, USE SCHEMA, and MODIFY + SELECT on the table itself."""


class TableNotFoundError(ZerobusIngestError):
    """Unity Catalog knows no table of this name, or does not show it to these credentials."""


class RejectedRecordError(ZerobusIngestError):
    """The service refused rows that fitted the schema; ``rows`` are their numbers in the source, 0-based."""

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
    """The service asked for less: a quota, RESOURCE_EXHAUSTED or HTTP 429, for longer than the attempts lasted."""

    retryable = True


class TransportError(ZerobusIngestError):
    """The connection broke, or never came to be, for longer than the attempts lasted."""

    retryable = True


class IngestTimeoutError(ZerobusIngestError):
    """A deadline passed: opening a stream, ACK progress, or the delivery as a whole."""

    retryable = True


class SourceChangedError(ZerobusIngestError):
    """The rows that an earlier attempt delivered are not those that the source has now; the next attempt starts over.

    Its checkpoint calls no row durable any more, and still says how far rows may have been sent.
    """

    retryable = True


class IngestInterruptedError(ZerobusIngestError):
    """Someone asked the delivery to stop; what was acknowledged until then is durable."""

    retryable = True


class HandoffBusyError(ZerobusIngestError):
    """Another run holds the open slice of the handoff, and its lease has not expired."""

    retryable = True


class ShardsMissingError(ZerobusIngestError):
    """Shards of a handoff's slice are not durable, so the state did not move on; deliver them, and finish again."""

    retryable = True


class HandoffStateError(ConfigurationError):
    """The state of a handoff is damaged, of another version, or lost although its store holds what belongs to it."""


class SliceForgottenError(ConfigurationError):
    """A slice is asked for that the state does not hold any more; nothing else is delivered instead."""


class WatermarkPrecisionError(ConfigurationError):
    """The driver changes values of the column: the database finds no row for a value that it has just returned."""


class DeliveredFileChangedError(ConfigurationError):
    """Files that were delivered have other content now; see ``NewFiles(on_changed=…)``."""


class FrozenFileError(ConfigurationError):
    """A file of the open slice is gone or has changed since the slice was frozen; nothing was skipped."""
