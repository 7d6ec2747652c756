"""The parts of a running service, for ``LocalZerobus`` and the HTTP handlers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .catalog.catalog import Catalog
    from .catalog.tokens import Tokens
    from .faults import Faults
    from .observer import Observer
    from .storage.storage import Storage
    from .stream.statistics import Streams

__all__ = ["Service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of one running service, and its addresses."""

    catalog: Catalog
    tokens: Tokens
    storage: Storage
    faults: Faults
    streams: Streams
    observer: Observer
    endpoint: str
    workspace_url: str
    tls_endpoint: str | None = None
