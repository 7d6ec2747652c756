"""New files in a folder: which files were delivered, and which come next."""

from .new_files import NewFiles

__all__ = ["NewFiles"]
