"""Rows that do not fit the table: what happens to them, and the file that keeps them so that they can be corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .dead_letter import DeadLetterFile
    from .letter_reader import from_letter, letter_text, row_of_letter
    from .letters import letters_of, lines_of_letters, tables_of_letters
    from .markers import LETTER_KEY
    from .policy import BadRowPolicy

__all__ = [
    "LETTER_KEY",
    "BadRowPolicy",
    "DeadLetterFile",
    "from_letter",
    "letter_text",
    "letters_of",
    "lines_of_letters",
    "row_of_letter",
    "tables_of_letters",
]

__getattr__ = lazy_names(
    __name__,
    {
        "LETTER_KEY": "markers",
        "BadRowPolicy": "policy",
        "DeadLetterFile": "dead_letter",
        "from_letter": "letter_reader",
        "letter_text": "letter_reader",
        "row_of_letter": "letter_reader",
        "letters_of": "letters",
        "lines_of_letters": "letters",
        "tables_of_letters": "letters",
    },
)
