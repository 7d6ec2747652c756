"""Finds the new files in a folder, and remembers which files were delivered."""

from .new_files import NewFiles

__all__ = ["NewFiles"]
