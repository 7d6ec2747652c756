"""Limits the rows in flight after the service has refused a batch without saying which batch it refused.

From then on, rows are sent in groups. A group is sent only when no rows of the previous group are in flight. The first
group is the batch that the service most probably refused. The smallest sizes of the next groups are 1, 2, 4, … rows; a
group ends with the batch that makes the group at least this large.

With these sizes, the search for one bad row among ``n`` rows costs ``O(log n)`` lost streams. The groups soon become
larger than the limit on the bytes in flight; from then on, only that limit has an effect.
"""

from __future__ import annotations

__all__ = ["RefusalWindow"]


class RefusalWindow:
    """A limit on the rows in flight, which applies after the first call of ``restart``. Counts rows; sends nothing."""

    def __init__(self) -> None:
        self._is_bound = False
        self._left = 0
        self._groups = (0, 0)  # the numbers of rows in the next two groups

    def __repr__(self) -> str:
        return (
            f"<RefusalWindow {self._left} rows left of this group, then {self._groups}>" if self._is_bound else "<open>"
        )

    def restart(self, first_group: int = 1) -> None:
        """Record that a batch was refused.

        After this, ``take`` returns False while anything is in flight, and then allows a group of ``first_group`` rows.
        """
        self._is_bound = True
        self._left = 0
        self._groups = (first_group, 1)

    def on_lost(self) -> None:
        """Record that a stream died with batches in flight.

        If the limit applies, the groups start again with one row, because these batches must be sent again.
        """
        if self._is_bound:
            self.restart()

    def take(self, rows: int, *, is_settled: bool) -> bool:
        """Return whether a batch of ``rows`` rows can be sent now; if so, count its rows in the current group.

        ``is_settled`` is True if nothing is in flight.
        """
        if not self._is_bound:
            return True
        if self._left <= 0:
            if not is_settled:
                return False
            self._left, following = self._groups
            self._groups = (following, 2 * following)
        self._left -= rows
        return True
