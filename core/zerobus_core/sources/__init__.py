"""Sources: objects that yield rows in ordered chunks, with stable positions and a fingerprint.

``source_of`` is the entry point: it returns the Source for what the user passed, or raises ConfigurationError if no
source can read it.
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
