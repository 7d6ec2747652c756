"""The files stored next to the state: the frozen list of each slice, and the ledger of delivered files."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import HandoffStateError
from .frozen import FrozenList, from_list
from .ledger import InvalidLedgerError, Ledger

if TYPE_CHECKING:
    from ..source import Bounds, Context
    from ..state import PastSlice
    from ..store import SideFiles

__all__ = ["list_name", "read_ledger", "read_list", "side_files", "write_ledger"]


def side_files(context: Context) -> SideFiles:
    """Return the files next to the state; ``NewFiles.prepare`` has checked that the store supports them."""
    assert context.side_files is not None  # prepare() has checked this
    return context.side_files


def list_name(one: Bounds | PastSlice) -> str:
    """Return the name of the file that holds the frozen list of a slice."""
    return str(one.facts.get("_list") or f"{one.id}.files.json")


def read_list(one: Bounds | PastSlice, context: Context) -> FrozenList:
    """Return the frozen list of a slice; raise HandoffStateError if it is missing or damaged."""
    data = side_files(context).read(list_name(one))
    if data is None:
        raise HandoffStateError(
            f"the list of files of slice {one.id} was not found in the folder next to {context.shown}"
        )
    try:
        return from_list(data)
    except (ValueError, KeyError, TypeError) as error:
        raise HandoffStateError(
            f"the list of files of slice {one.id} next to {context.shown} is damaged: {error}"
        ) from error


def read_ledger(done: Mapping[str, Any], context: Context) -> Ledger:
    """Return the ledger to which the position ``done`` refers; raise HandoffStateError if it is missing or damaged."""
    name = done["ledger"]
    if name is None:
        return Ledger()
    data = side_files(context).read(name)
    if data is None:
        raise HandoffStateError(
            f"the ledger of delivered files ({name}) was not found in the folder next to {context.shown}. Without the "
            "ledger, every file would be sent again. Restore the ledger from a backup, or rewind the handoff to "
            "send every file again"
        )
    try:
        return Ledger.from_bytes(data)
    except InvalidLedgerError as error:
        raise HandoffStateError(
            f"the ledger of delivered files ({name}) next to {context.shown} cannot be used: {error}"
        ) from error


def write_ledger(ledger: Ledger, slice_id: str, context: Context) -> str:
    """Write a ledger to a new file next to the state, and return the name of this file."""
    name = f"{slice_id}.{secrets.token_hex(4)}.ledger"
    side_files(context).write(name, ledger.to_bytes())
    return name
