"""What the doors of the server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .catalog import Catalog
    from .faults import Faults
    from .page import Observer
    from .storage import Storage
    from .stream_statistics import Streams
    from .tokens import Tokens

__all__ = ["Service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One running service: its parts, and its two addresses."""

    catalog: Catalog
    tokens: Tokens
    storage: Storage
    faults: Faults
    streams: Streams
    observer: Observer
    endpoint: str
    workspace_url: str
