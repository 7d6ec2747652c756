"""Converts the state of a handoff to a JSON document and back, without I/O.

HandoffStateError is raised for a document that is damaged, has another version, or is not a state; nothing is repaired.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, TypeVar, cast

from ..errors import HandoffStateError
from .lease import Lease, Owner
from .state import OpenSlice, PastSlice, Redelivery, State

__all__ = ["MAX_BYTES", "VERSION", "from_json", "to_json"]

VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
_FORMAT = "zerobus-handoff"
_OUTCOMES = {"delivered", "skipped", "abandoned", "released", "rewound"}

_T = TypeVar("_T")


def to_json(state: State) -> str:
    """Return the state as a JSON object on one line; raise HandoffStateError for a state over 64 MiB."""
    plain = {"format": _FORMAT, "version": VERSION, **asdict(state)}
    text = json.dumps(plain, allow_nan=False)
    if len(text) > MAX_BYTES:
        raise HandoffStateError(
            f"the state of handoff {state.name!r} is over 64 MiB; make slices smaller with max_files"
        )
    return text


def from_json(text: str | bytes, where: str) -> State:
    """Return the State that ``to_json`` wrote as ``text``; raise HandoffStateError if ``text`` is not a valid state.

    ``where`` is the location of the text, for the error message.
    """
    try:
        return _state(_object_of(text))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise HandoffStateError(
            f"the state at {where} cannot be used: {error}. Nothing was delivered. Restore the file from a backup; or "
            "start over by deleting it and the files next to it. To send only new data after that, set `initial` "
            "(rows) or use an empty folder (files)"
        ) from error


def _object_of(text: str | bytes) -> dict[str, Any]:
    if len(text) > MAX_BYTES:
        raise ValueError("it is over 64 MiB")
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is not valid JSON ({error})") from error
    if not isinstance(plain, dict) or plain.get("format") != _FORMAT:
        raise ValueError("it is not the state of a handoff")
    if plain.get("version") != VERSION or isinstance(plain["version"], bool):
        raise ValueError(f"it has version {plain.get('version')!r}, but this release reads version {VERSION}")
    return cast("dict[str, Any]", plain)


def _state(plain: dict[str, Any]) -> State:
    _check_keys(plain, State, extra={"format", "version"})
    return State(
        name=_text(plain, "name"),
        table=_text(plain, "table"),
        kind=_text(plain, "kind"),
        source=_mapping(plain, "source"),
        revision=_count(plain, "revision"),
        opened=_count(plain, "opened"),
        done=plain["done"],
        open=None if plain["open"] is None else _open_slice(_mapping(plain, "open")),
        history=_tuple(plain, "history", lambda one: _past_slice(_mapping({"history": one}, "history"))),
        former=_tuple(plain, "former", lambda one: _text({"former": one}, "former")),
        written_at=_time(plain, "written_at"),
    )


def _open_slice(plain: dict[str, Any]) -> OpenSlice:
    _check_keys(plain, OpenSlice)
    lease = _mapping(plain, "lease")
    _check_keys(lease, Lease)
    return OpenSlice(
        id=_text(plain, "id"),
        start=plain["start"],
        end=plain["end"],
        facts=_mapping(plain, "facts"),
        opened_at=_time(plain, "opened_at"),
        opened_by=_text(plain, "opened_by"),
        chain=_any_text(plain, "chain"),
        lease=Lease(owner=_owner(_mapping(lease, "owner")), taken_at=_time(lease, "taken_at")),
    )


def _owner(plain: dict[str, Any]) -> Owner:
    _check_keys(plain, Owner)
    return Owner(
        key=_text(plain, "key"),
        chain=_any_text(plain, "chain"),
        host=_any_text(plain, "host"),
        pid=_count(plain, "pid"),
        process_start=_any_text(plain, "process_start"),
        attempt=_any_text(plain, "attempt"),
    )


def _past_slice(plain: dict[str, Any]) -> PastSlice:
    _check_keys(plain, PastSlice)
    if plain["outcome"] not in _OUTCOMES:
        raise ValueError(f"outcome is {plain['outcome']!r}, not a known outcome")
    counts = _mapping(plain, "counts")
    return PastSlice(
        id=_text(plain, "id"),
        start=plain["start"],
        end=plain["end"],
        facts=_mapping(plain, "facts"),
        outcome=plain["outcome"],
        opened_by=_any_text(plain, "opened_by"),
        chain=_any_text(plain, "chain"),
        finished_by=_any_text(plain, "finished_by"),
        finished_at=_time(plain, "finished_at"),
        counts={name: _count(counts, name) for name in counts},
        redeliveries=_tuple(plain, "redeliveries", lambda one: _redelivery(_mapping({"one": one}, "one"))),
    )


def _redelivery(plain: dict[str, Any]) -> Redelivery:
    _check_keys(plain, Redelivery)
    return Redelivery(chain=_any_text(plain, "chain"), rows=_count(plain, "rows"), at=_time(plain, "at"))


def _check_keys(plain: Mapping[str, Any], kind: type, *, extra: set[str] | None = None) -> None:
    known = {field.name for field in fields(kind)} | (extra or set())
    if set(plain) != known:
        raise ValueError(
            f"{kind.__name__} lacks fields of version {VERSION} or has unknown ones: {sorted(known ^ set(plain))}"
        )


def _text(plain: Mapping[str, Any], key: str) -> str:
    value = _any_text(plain, key)
    if not value:
        raise ValueError(f"{key} is empty")
    return value


def _any_text(plain: Mapping[str, Any], key: str) -> str:
    value = plain[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is {value!r}, not text")
    return value


def _time(plain: Mapping[str, Any], key: str) -> str:
    text = _text(plain, key)
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{key} is {text!r}, a time without time zone")
    return text


def _count(plain: Mapping[str, Any], key: str) -> int:
    value = plain[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{key} is {value!r}, not a count")
    return value


def _mapping(plain: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = plain[key]
    if not isinstance(value, dict):
        raise TypeError(f"{key} is {value!r}, not an object")
    return cast("dict[str, Any]", value)


def _tuple(plain: Mapping[str, Any], key: str, read: Callable[[Any], _T]) -> tuple[_T, ...]:
    value = plain[key]
    if not isinstance(value, list):
        raise TypeError(f"{key} is {value!r}, not a list")
    return tuple(map(read, value))
