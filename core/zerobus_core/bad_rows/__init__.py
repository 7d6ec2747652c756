"""Rows that do not fit the table: what happens to them, and the file that keeps them so that they can be corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .codec import from_letter
    from .dead_letter import MARKER, DeadLetterFile
    from .letters import letter_rows, letters_of, tables_of_letters
    from .policy import BadRowPolicy

__all__ = ["MARKER", "BadRowPolicy", "DeadLetterFile", "from_letter", "letter_rows", "letters_of", "tables_of_letters"]

__getattr__ = lazy_names(
    __name__,
    {
        "MARKER": "dead_letter",
        "BadRowPolicy": "policy",
        "DeadLetterFile": "dead_letter",
        "from_letter": "codec",
        "letter_rows": "letters",
        "letters_of": "letters",
        "tables_of_letters": "letters",
    },
)
