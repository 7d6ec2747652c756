"""Rows that do not fit the table: what happens to them, and the file that keeps them until they are corrected."""

from .codec import from_letter
from .dead_letter import MARKER, DeadLetterFile
from .letters import letter_rows, letters_of, tables_of_letters
from .policy import BadRowPolicy

__all__ = ["MARKER", "BadRowPolicy", "DeadLetterFile", "from_letter", "letter_rows", "letters_of", "tables_of_letters"]
