"""Saves the account of a delivery as its checkpoint.

A row is sent only after the stored checkpoint says that it may have been sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import DeliverySupersededError

if TYPE_CHECKING:
    from ..batch import Batch
    from ..checkpoint import CheckpointKeeper
    from .account import Account

__all__ = ["Checkpointing"]

# Seconds between two calls of ``poll`` while a reservation cannot be used yet.
_SLICE = 0.1


class Checkpointing:
    """Saves the account when the CheckpointKeeper says that a save is due, and when rows can be sent only after a save.

    The methods raise DeliverySupersededError if they find that a newer attempt has taken over. But ``save_last`` does
    not raise it, and ``tick`` raises it only if rows wait to be sent.
    """

    def __init__(self, account: Account, keeper: CheckpointKeeper) -> None:
        self._account = account
        self._keeper = keeper
        self._resent_kept = 0  # the rows_resent that was saved last
        self._last_batch: tuple[int, int] | None = None  # the end of the last batch, and its number of rows
        self._announced_at = 0.0  # when the announced position was saved
        self._repeats_at: float | None = None  # when a higher rows_resent was saved; None once that save has settled
        if not keeper.is_active:
            account.reserve()

    def take_over(self) -> None:
        """Replace the checkpoint of an older attempt with one of this attempt, so that the older attempt stops.

        Does nothing if no checkpoint was found, or if the checkpoint does not say which attempt wrote it.
        """
        if self._keeper.past.attempt is not None:
            self.save()

    def reserve(self, batch: Batch, *, poll: Callable[[], None]) -> None:
        """Wait until the store says that the rows of ``batch`` may have been sent; call ``poll`` while waiting.

        After the save, wait for a short time, and then check that this attempt is still the newest. During that time, a
        newer attempt that loaded the previous checkpoint could overwrite the saved one. The newer attempt would not
        know that these rows may have been sent.
        """
        account = self._account
        self._last_batch = (batch.stop_row, batch.rows)
        if account.is_reserved(batch.stop_row):
            return
        is_new = not account.is_announced(batch.stop_row)
        if is_new:
            account.announce(batch.stop_row + self._keeper.rows_to_reserve(batch.rows, is_used_up=True))
            self.save()
            self._announced_at = self._keeper.saved_at
        while (left := self._keeper.settles_in(self._announced_at)) > 0.0:
            time.sleep(min(left, _SLICE))
            poll()
        self._look()
        account.confirm()
        if is_new:
            self._keeper.begin_reservation()

    def tick(self, now: float) -> bool:
        """Save the account if necessary, and return whether sending is allowed.

        A save is necessary if it is due, or if more rows count as resent than in the last checkpoint. ``now`` is a
        reading of the keeper's clock.
        """
        is_due = self._keeper.is_due(now)
        is_repeat = self._keeper.is_active and self._account.rows_resent_ahead > self._resent_kept
        try:
            if is_repeat or is_due:
                self._save_in_time(is_repeat=is_repeat, is_due=is_due)
            return self._may_repeat()
        except DeliverySupersededError:
            if self._account.is_sending:
                raise
            # No row waits to be sent: if the rows in flight become durable, this attempt succeeds too.
            self._account.withdraw_reservation()
            return False

    def _save_in_time(self, *, is_repeat: bool, is_due: bool) -> None:
        is_extended = is_due and self._extend_reservation()
        self.save()
        if is_extended:
            self._announced_at = self._keeper.saved_at
        if is_repeat:
            self._repeats_at = self._keeper.saved_at

    def _may_repeat(self) -> bool:
        """Return whether sending rows again is allowed.

        It is allowed once a saved checkpoint counts the rows as sent again, and a short time has passed since that
        save. During that time, a newer attempt that loaded the previous checkpoint could overwrite the saved one.
        """
        if self._repeats_at is None:
            return True
        if self._keeper.settles_in(self._repeats_at) > 0.0:
            return False
        self._look()
        self._repeats_at = None
        return True

    def _extend_reservation(self) -> bool:
        """Reserve more rows just before a save that is due anyway, so that this save also writes the reservation.

        Does nothing if an earlier reservation is still unconfirmed. Returns whether more rows were reserved.
        """
        account = self._account
        if self._last_batch is None or account.is_unconfirmed:
            return False
        stop_row, rows = self._last_batch
        account.announce(stop_row + self._keeper.rows_to_reserve(rows))
        return account.is_unconfirmed

    def _look(self) -> None:
        """Load the stored checkpoint. If an older attempt has written it, record what that attempt may have sent.

        Raises DeliverySupersededError if a newer attempt has written the checkpoint.
        """
        self._account.admit(*self._keeper.check())

    def save(self) -> None:
        """Check which attempt wrote the stored checkpoint, then save the account.

        Call this while rows can still be sent.
        """
        self._look()
        kept = self._account.kept()
        self._resent_kept = kept.counts.rows_resent
        self._keeper.save(kept)

    def save_last(self, *, has_source_changed: bool = False) -> bool:
        """Save the account when nothing more will be sent, but never replace the checkpoint of a newer attempt.

        Returns whether this is still the newest attempt.
        """
        try:
            self._look()
        except DeliverySupersededError:
            return False
        account = self._account
        self._keeper.save(account.kept_without_durable() if has_source_changed else account.kept(is_end=True))
        return True
