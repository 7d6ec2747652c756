"""How many rows may be in flight together after the service refused a batch, without saying which.

A search by groups: a group is sent, and the next one only when all of it is acknowledged.  The first group holds the
prime suspect, the next ones 1, 2, 4, … rows and at least a batch, so that a refusal inside a group leaves about half
of the suspects: ``O(log n)`` streams are lost for a bad row, wherever it is.  The groups soon exceed what fits into
the bound on bytes, and then the window no longer limits anything.
"""

from __future__ import annotations

__all__ = ["RefusalWindow"]


class RefusalWindow:
    """Without bound until the first ``restart``.  Pure bookkeeping."""

    def __init__(self) -> None:
        self._is_bound = False
        self._left = 0
        self._groups = (0, 0)  # rows of the next two

    def __repr__(self) -> str:
        return (
            f"<RefusalWindow {self._left} rows left of this group, then {self._groups}>" if self._is_bound else "<open>"
        )

    def restart(self, first_group: int = 1) -> None:
        """A batch was refused: let nothing follow until all in flight is settled, and then ``first_group`` rows."""
        self._is_bound = True
        self._left = 0
        self._groups = (first_group, 1)

    def on_lost(self) -> None:
        """A stream was lost with batches in flight: what waits now is not a group that was chosen."""
        if self._is_bound:
            self.restart()

    def take(self, rows: int, *, is_settled: bool) -> bool:
        """Whether a batch of ``rows`` may go now, and then it counts; ``is_settled`` says that none is in flight."""
        if not self._is_bound:
            return True
        if self._left <= 0:
            if not is_settled:
                return False
            self._left, following = self._groups
            self._groups = (following, 2 * following)
        self._left -= rows
        return True
