"""Decides whether rows that do not fit the table fail the delivery, or become dead letters up to a limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import RecordError, RejectedRecordError
from ..wording import plural

if TYPE_CHECKING:
    from ..batch import BadRow, Batch, Encoder
    from ..errors import ZerobusIngestError
    from ..options import IngestOptions
    from ..schema import TableSchema
    from .dead_letter import DeadLetterFile

__all__ = ["BadRowPolicy"]

# A share is meaningful only for many rows.
_SHARE_FROM = 10_000
_SHOWN = 10
# A delivery that fails because of refused rows stops its search for more of them at this many.
_MOST_REFUSED = 20


class BadRowPolicy:
    """Collects the bad rows of one delivery: those that do not fit the schema and those that the service refused.

    Without a dead-letter file, it collects only refused rows.
    """

    def __init__(
        self,
        schema: TableSchema,
        encoder: Encoder,
        options: IngestOptions,
        *,
        source_fingerprint: str | None,
        locate: Callable[[int], str] | None = None,
    ) -> None:
        self._encoder = encoder
        self._limit = options.max_bad_records
        self._refused: list[tuple[int, ZerobusIngestError]] = []
        self._letters: DeadLetterFile | None = None
        self.unfit = 0
        """The number of rows that did not fit the schema and became dead letters; they were never given to a stream."""
        if options.dead_letter_uri is not None:
            from .dead_letter import DeadLetterFile

            self._letters = DeadLetterFile(
                options.dead_letter_uri,
                schema=schema,
                options=options,
                source_fingerprint=source_fingerprint,
                leave_out=options.filled_columns,
                locate=locate,
            )

    @property
    def dead_lettered(self) -> int:
        """The number of rows that became dead letters, including dead letters that are not in the file yet."""
        return self._letters.rows if self._letters else 0

    @property
    def rows_written(self) -> int:
        """The number of rows whose dead letter is already in the file."""
        return self._letters.rows_written if self._letters else 0

    @property
    def are_allowed(self) -> bool:
        """Whether a bad row becomes a dead letter instead of an error."""
        return self._letters is not None

    @property
    def has_refused(self) -> bool:
        """Whether the service has refused rows; always False for a delivery that has a dead-letter file."""
        return bool(self._refused)

    @property
    def are_too_many_refused(self) -> bool:
        """Whether the search for refused rows can stop because enough of them have been found."""
        return len(self._refused) >= _MOST_REFUSED

    def add_unfit(self, bad: BadRow) -> None:
        """Add a row that does not fit the schema; must be called only if ``are_allowed`` is True."""
        assert self._letters is not None
        self._letters.add(bad)
        self.unfit += 1

    def add_refused(self, batch: Batch, error: ZerobusIngestError) -> None:
        """Add a row that the service refused; it must be the only row of ``batch``."""
        if self._letters is None:
            self._refused.append((batch.first_row, error))
        else:
            self._letters.add_refused(batch.first_row, self._encoder.decode(batch, 0), error.message)

    def check(self, rows_read: int, *, is_end: bool = False) -> None:
        """Raise RecordError if there are more bad rows than ``max_bad_records`` allows.

        If ``max_bad_records`` is a share, the limit is this share of ``rows_read``, the number of rows read so far.
        Until the source has ended (``is_end``), a ``rows_read`` below 10,000 is treated as 10,000, so that a few bad
        rows near the start do not fail the delivery.
        """
        if self._limit is None or not self.dead_lettered:
            return
        allowed: float = self._limit
        if isinstance(self._limit, float):
            allowed = self._limit * (rows_read if is_end else max(rows_read, _SHARE_FROM))
        if self.dead_lettered > allowed:
            bad, read = plural(self.dead_lettered, "row"), plural(rows_read, "row")
            raise RecordError(
                f"{self.dead_lettered} bad {bad}, but max_bad_records={self._limit} allows only {int(allowed)} of "
                f"the {rows_read} {read} read; look up the reasons in the dead-letter file"
            )

    def flush(self) -> None:
        """Write all dead letters to the file; raises the errors of DeadLetterFile."""
        if self._letters:
            self._letters.flush()

    def refusal_error(self) -> RejectedRecordError:
        """Return an error that contains the numbers of the rows that the service refused."""
        self._refused.sort(key=lambda refused: refused[0])
        rows = tuple(row for row, _ in self._refused)
        shown = ", ".join(map(str, rows[:_SHOWN])) + (", …" if len(rows) > _SHOWN else "")
        first = self._refused[0][1]
        more = ", and there may be more" if self.are_too_many_refused else ""
        error = RejectedRecordError(
            f"the service refused {plural(len(rows), 'row')} {shown}{more}: {first.message}", rows=rows
        )
        error.__cause__ = first
        return error
