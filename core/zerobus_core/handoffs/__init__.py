"""Handoffs: deliver only what is new since the last run.

``hand_over`` is the entry point. The module ``state`` defines what a handoff remembers between runs, and the rules by
which this state changes; ``handoff`` runs a handoff; ``files`` finds the new files in a folder, ``rows`` finds the new
rows of a query, and ``items`` finds the new items of an API.
"""

from .files import NewFiles
from .handoff import Handoff
from .items import NewItems
from .lease import Owner
from .rows import NewRows
from .run import hand_over
from .store import FileStateStore, StateConflict, StateStore

__all__ = [
    "FileStateStore",
    "Handoff",
    "NewFiles",
    "NewItems",
    "NewRows",
    "Owner",
    "StateConflict",
    "StateStore",
    "hand_over",
]
