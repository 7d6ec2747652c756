"""Rows that do not fit the table: what happens to them, and the file that keeps them so that they can be corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .codec import from_letter
    from .dead_letter import MARKER, DeadLetterFile
    from .letters import letters_of, lines_of_letters, tables_of_letters
    from .policy import BadRowPolicy

__all__ = [
    "MARKER",
    "BadRowPolicy",
    "DeadLetterFile",
    "from_letter",
    "letters_of",
    "lines_of_letters",
    "tables_of_letters",
]

__getattr__ = lazy_names(
    __name__,
    {
        "MARKER": "dead_letter",
        "BadRowPolicy": "policy",
        "DeadLetterFile": "dead_letter",
        "from_letter": "codec",
        "letters_of": "letters",
        "lines_of_letters": "letters",
        "tables_of_letters": "letters",
    },
)
