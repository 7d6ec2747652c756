"""Deliver only what is new since the last run: state, slices, and the kinds of source that know what is new.

``hand_over`` is the door.  ``state`` says what the state of a handoff is and which law it keeps; ``handoff`` carries a
run out; ``files``, ``rows`` and ``items`` find what is new.
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
