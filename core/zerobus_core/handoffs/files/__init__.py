"""New files in a folder: which were delivered, and which are to be delivered next."""

from .new_files import NewFiles

__all__ = ["NewFiles"]
