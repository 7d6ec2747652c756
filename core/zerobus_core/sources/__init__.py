"""Sources: objects that yield rows in ordered chunks. Each row has a stable position.

A source can also have a fingerprint, which identifies its content. ``source_of`` is the entry point: it returns the
Source that reads the object that the user passed, or raises ConfigurationError if no source can read this object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .files.source import FileSource
    from .protocol.source import Shaping, Source, SourceLike
    from .recognize import options_for, source_of

__all__ = ["FileSource", "Shaping", "Source", "SourceLike", "options_for", "source_of"]

__getattr__ = lazy_names(
    __name__,
    {
        "FileSource": "files.source",
        "Shaping": "protocol.source",
        "Source": "protocol.source",
        "SourceLike": "protocol.source",
        "options_for": "recognize",
        "source_of": "recognize",
    },
)
