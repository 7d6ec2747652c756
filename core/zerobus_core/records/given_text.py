"""Text that is never parsed, whatever the options say."""

from __future__ import annotations

__all__ = ["GivenText"]


class GivenText(str):
    """Text of a row that was delivered without ``parse_text`` or ``parse_json``: it is never converted.

    A dead letter is sent again with ``parse_text``, because it holds dates as text. Text that the delivery refused for
    a column of numbers or dates must then be refused again.
    """

    __slots__ = ()
