"""Rows that the table does not take: what becomes of them, and the file that keeps them until they are mended."""

from .account import BadRows
from .dead_letter import MARKER, DeadLetterFile
from .letter_form import from_letter

__all__ = ["MARKER", "BadRows", "DeadLetterFile", "from_letter"]
