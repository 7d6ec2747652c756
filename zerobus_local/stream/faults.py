"""Applies injected faults to one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from ..status import CutError, StatusError, status_code

if TYPE_CHECKING:
    from ..faults import Faults, Rule

__all__ = ["StreamFaults"]


class StreamFaults:
    """The faults for one stream; ``number`` is the stream's number among the streams of its table."""

    def __init__(self, faults: Faults, table: str, number: int) -> None:
        self._faults = faults
        self._table = table
        self._number = number

    def trigger(self, action: str, message: int, at: str | None = None) -> Rule | None:
        """Return the rule for ``action`` that triggers at this message, and log the fault.

        If no rule triggers, return None and log nothing.
        """
        if not self._faults.any:
            return None
        return self._faults.trigger(action, self._table, self._number, message, at)

    @property
    def any(self) -> bool:
        """Whether any fault is on, even if it cannot affect this stream."""
        return self._faults.any

    def peek(self, action: str, message: int) -> Rule | None:
        """Return the rule for ``action`` that would trigger at this message, but do not trigger the rule.

        Return None if no rule would trigger.
        """
        if not self._faults.any:
            return None
        return self._faults.peek(action, self._table, self._number, message)

    def break_off(self, message: int, at: str) -> None:
        """Raise CutError or StatusError if a fault ends the stream at this message, at the point ``at``.

        ``at`` is a step in the processing of the message, for example ``"after_commit"``.
        """
        if not self._faults.any:
            return
        if self.trigger("cut", message, at):
            raise CutError
        rule = self.trigger("fail", message, at)
        if rule:
            raise StatusError(status_code(rule.status), rule.text)
        if at == "before_commit":
            rule = self.trigger("throttle", message)
            if rule:
                raise StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, rule.text)

    def acknowledgement_delay(self, message: int) -> float | None:
        """Return the delay of this message's ACK, in seconds. None means: withhold this ACK and all later ones."""
        if not self._faults.any:
            return 0.0
        if self.trigger("withhold_ack", message):
            return None
        rule = self.trigger("delay_ack", message)
        return rule.seconds if rule else 0.0
