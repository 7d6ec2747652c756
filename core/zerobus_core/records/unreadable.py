"""Objects that replace values and records that could not be read, and the text that shows a value in a message."""

from __future__ import annotations

from typing import Any

__all__ = ["UnfitError", "UnfitValue", "UnreadableRecord", "UnreadableRow", "short_repr"]

_REPR_CHARS = 80


class UnfitError(Exception):
    """A value does not fit its column, or a record cannot be read; the text is the reason, as a clause."""


class UnfitValue:
    """Replaces a value that its source could not read with certainty; an UnfitValue fits no column."""

    __slots__ = ("reason", "value")

    def __init__(self, value: Any, reason: str) -> None:
        self.value = value
        self.reason = reason
        """Why the value could not be read, as a clause."""

    def __repr__(self) -> str:
        return repr(self.value)


class UnreadableRecord(str):
    """Replaces a record that could not be read; ``reason`` says why. An UnreadableRecord fits no table."""

    reason: str = "could not be read"


class UnreadableRow(UnreadableRecord):
    """Text that shows a row that could not be read; ``reason`` says why, as a clause."""

    def __new__(cls, text: str, reason: str) -> UnreadableRow:  # noqa: D102  # text is immutable, and has no __init__
        row = super().__new__(cls, text)
        row.reason = reason
        return row


def short_repr(value: Any) -> str:
    """Return about the first 80 characters of ``repr(value)``; if ``repr`` raises, return text that names the error."""
    value = getattr(value, "contents", value) if type(value).__name__ == "Fragment" else value  # it holds JSON text
    try:
        # Long text is cut first, so that no huge repr is built only to be cut.
        text = repr(value[:_REPR_CHARS] if isinstance(value, str | bytes) else value)
    except Exception as error:  # noqa: BLE001  # a user's __repr__ can raise anything, and we are reporting an error
        return f"<no repr: {type(error).__name__}>"
    return text if len(text) <= _REPR_CHARS else f"{text[: _REPR_CHARS - 1]}…"
