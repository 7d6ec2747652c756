"""The receipt and the progress of a delivery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .wording import plural

if TYPE_CHECKING:
    from .errors import Counts

__all__ = ["AckLatency", "Progress", "ProgressLog", "Receipt", "notes_on"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AckLatency:
    """The seconds between the moment a stream gets a batch and the moment the SDK reports the batch's acknowledgement.

    ``p50`` and ``p95`` are estimated from a random sample of up to 4,096 batches; ``max`` is the longest time of all
    acknowledged batches. The acknowledgement is timed in the thread that gets it from the SDK, so a busy caller does
    not increase the times. A batch that was sent again is timed from its last send.
    """

    p50: float = 0.0
    p95: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The result of a delivery that succeeded; contains no rows and no secrets.

    ``rows_read == rows_acked + rows_skipped + rows_dead_lettered + rows_filtered`` in every receipt.
    """

    table: str
    rows_read: int
    rows_acked: int
    rows_skipped: int
    """The number of rows that are durable from an earlier attempt and were not sent again."""
    rows_dead_lettered: int
    rows_resent: int
    """An upper bound on the duplicates in the table: the number of rows sent again because a stream, or an earlier
    attempt that this one resumed, died before the rows were known to be acknowledged. It includes the rows that the
    earlier attempts sent again."""
    bytes_sent: int
    """The payload bytes handed to streams, including those sent again."""
    batches: int
    """The number of acknowledged batches."""
    streams: int
    """The largest number of streams that were open at once."""
    stream_ids: tuple[str, ...]
    """The service's ids of the streams, if the SDK exposes them (1.10 does not)."""
    reconnects: int
    """The number of streams opened after another one died or could not be opened; routine rotations are not counted."""
    ack_latency_s: AckLatency
    duration_s: float
    rows_per_s: float
    started_at: str
    """When the delivery started (ISO 8601, UTC)."""
    finished_at: str
    schema_fingerprint: str
    source_fingerprint: str | None
    resumed_from: str | None
    """When the checkpoint from which this delivery resumed was written (ISO 8601, UTC); None if it did not resume."""
    started_over: str | None = None
    """Why this delivery sent every row although there was a checkpoint; None if it skipped rows, or if there was no
    checkpoint."""
    record_format: str
    record_format_reason: str
    """Why this record format was used."""
    notes: tuple[str, ...] = ()
    """Warnings about a successful delivery, such as that every row was skipped or none was read."""

    rows_filtered: int = 0
    """The number of rows that ``IngestOptions.transform`` left out."""
    columns_dropped: tuple[str, ...] = ()
    """The names of the row fields that ``extra_columns="drop"`` left out because the table lacks them; at most 100."""
    rows_redelivered: int = 0
    """The number of durable rows of a handoff's slice that were sent again because a person asked for it."""
    handoff: dict[str, Any] | None = None
    """What a handoff delivered, as JSON-compatible values, such as name, slice, from, to and remaining; None for other
    deliveries."""
    shard: dict[str, Any] | None = None
    """For a shard of ``split_source``: the id of the ``split``, the ``index`` of the shard, and the number of shards in
    the split (``of``). None for other deliveries."""
    shards: int = 1
    """The number of deliveries in this receipt; more than one after ``merge_receipts``."""
    slowest_shard_s: float | None = None
    """The duration in seconds of the slowest of several shards; None if receipts were not merged."""

    def as_dict(self) -> dict[str, Any]:
        """Return the receipt as a dict of JSON-compatible values only: str, int, float, bool, None, list, dict."""
        plain = asdict(self)
        for name in ("stream_ids", "notes", "columns_dropped"):
            plain[name] = list(plain[name])
        return plain


def notes_on(counts: Counts, *, why_empty: str | None = None) -> tuple[str, ...]:
    """Return one note if no row was read, or if all rows were filtered or skipped; otherwise an empty tuple.

    If the source had no rows, the note is ``why_empty``, or a general text if ``why_empty`` is None.
    """
    if not counts.rows_read:
        return (why_empty or "the source had no rows, so nothing was sent",)
    if counts.rows_filtered == counts.rows_read:
        rows = f"all {counts.rows_read:,} rows" if counts.rows_read > 1 else "the only row"
        return (f"transform left out {rows}, so nothing was sent",)
    if counts.rows_skipped == counts.rows_read:
        rows = f"all {counts.rows_read:,} rows were" if counts.rows_read > 1 else "the only row was"
        return (
            f"{rows} durable from an earlier attempt, so nothing was sent; if these rows are new, pass another "
            "source_version or another checkpoint",
        )
    if counts.rows_filtered + counts.rows_skipped == counts.rows_read:
        return (
            f"transform left out {counts.rows_filtered:,} of {counts.rows_read:,} rows, and the others were durable "
            "from an earlier attempt, so nothing was sent",
        )
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a delivery.

    ``on_progress`` is called with this object, in the caller's thread: at most every 0.5 s, and once more if the
    delivery succeeds.
    """

    table: str
    rows_read: int
    rows_acked: int
    rows_skipped: int
    rows_dead_lettered: int
    total_rows: int | None
    """The number of rows in the source; None if the number is unknown before all of them are read."""
    unacked_rows: int
    unacked_bytes: int
    streams: int
    """The number of streams that are open now."""
    rows_per_s: float
    """The number of acknowledged rows per second since the start."""
    oldest_unacked_s: float
    """The age in seconds of the oldest batch that was sent but not acknowledged; 0.0 if there is none."""
    elapsed_s: float
    reconnects: int = 0
    """The number of streams opened after another one died or could not be opened."""
    rows_filtered: int = 0
    """The number of rows that ``IngestOptions.transform`` left out."""
    last_error: str | None = None
    """Why a stream was lost or could not be opened, until a later stream in its place gets an acknowledgement; and what
    the next stream waits for. None if there is neither."""

    @property
    def is_connecting(self) -> bool:
        """Whether no stream is open and no row was acknowledged so far, for example while the first stream opens."""
        return self.streams == 0 and self.rows_acked == 0


class ProgressLog:
    """An ``on_progress`` function that writes a line every ``interval`` seconds of the delivery.

    ``write`` is called like a logger's method: with a format string and its arguments. Exceptions that ``write``
    raises are passed on to the delivery, which logs them.
    """

    def __init__(self, write: Callable[..., object], *, interval: float) -> None:
        self._write = write
        self._interval = interval
        self._next = interval

    def __call__(self, progress: Progress) -> None:
        """Write a line if it is due."""
        if progress.elapsed_s < self._next:
            return
        self._next = progress.elapsed_s + self._interval
        trouble = f"; trying again after: {progress.last_error}" if progress.last_error else ""
        if progress.is_connecting:
            self._write("%s: connecting%s", progress.table, trouble)
            return
        durable = progress.rows_acked + progress.rows_skipped
        self._write(
            "%s: %d%s %s durable (%.0f rows/s); %d in flight on %d %s, the oldest for %.1f s%s",
            progress.table,
            durable,
            "" if progress.total_rows is None else f" of {progress.total_rows}",
            plural(durable if progress.total_rows is None else progress.total_rows, "row"),
            progress.rows_per_s,
            progress.unacked_rows,
            progress.streams,
            plural(progress.streams, "stream"),
            progress.oldest_unacked_s,
            trouble,
        )
