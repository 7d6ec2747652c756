"""``NewItems``: the records of an API that are new since the token that the previous run saved."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..errors import ConfigurationError
from .source import Bounds, Context, IntervalSource, Plan

if TYPE_CHECKING:
    from ..options import IngestOptions
    from .state import PastSlice, Position

__all__ = ["NewItems"]

_log = logging.getLogger("zerobus_core")

# A token is kept in the state and in its history.
_MAX_TOKEN_BYTES = 16_384

Fetch = Callable[[Any, Any], tuple[Any, Any]]


class NewItems(IntervalSource):
    """The new records of an API, which the user's function ``fetch(since, upto)`` returns.

    A token marks a position in the API's records. The first attempt of a slice calls ``fetch(since, None)``, which
    returns ``(records, upto)``: all records after the token ``since``, and the token at which these records end. In the
    first run, ``since`` is ``initial``. If ``upto`` equals ``since`` or is None, nothing is new. ``upto`` is written to
    the state before the first record is sent. Every later attempt of the slice calls ``fetch(since, upto)`` and must
    get the same records and the same ``upto``. A digest shows whether the records equal those that are already durable.
    If they differ, the slice is sent from its beginning: by the same attempt if the records can be read again,
    otherwise by the next attempt. Tokens are JSON values; records can have any form that ``ingest`` takes.

    ``repeatable=False`` states that the API cannot return the same records again. Every attempt then sends the whole
    slice, and ``rows_resent`` in the receipt counts the repeated rows. ``commit(upto)`` is called when every record is
    durable and the state has been saved. If it is not certain that ``commit`` was called, the next run calls it again.
    """

    kind = "items"

    def __init__(
        self,
        fetch: Fetch,
        *,
        initial: Any = None,
        repeatable: bool = True,
        commit: Callable[[Any], None] | None = None,
        source_name: str | None = None,
    ) -> None:
        """Build the source.

        ``initial`` is the value of ``since`` in the first run. ``source_name`` defaults to the name of ``fetch``.
        """
        if not callable(fetch) or (commit is not None and not callable(commit)):
            raise ConfigurationError("fetch must be a function fetch(since, upto), and commit a function commit(upto)")
        self._fetch = fetch
        self._initial = _checked_token("initial", initial)
        self._repeatable = repeatable
        self._commit = commit
        self._name = source_name or getattr(fetch, "__qualname__", type(fetch).__qualname__)
        # The records that the first attempt fetched when it froze the slice, and their ``upto``.
        self._fetched: tuple[Any, Any] | None = None

    def __repr__(self) -> str:
        return f"NewItems({self._name})"

    def identity(self) -> dict[str, Any]:
        """See HandoffSource."""
        return {"fetch": self._name}

    def prepare(self, context: Context) -> None:
        """See HandoffSource."""

    def plan(
        self,
        done: Position,
        last: PastSlice | None,
        context: Context,
    ) -> tuple[Plan | None, dict[str, Any]]:
        """See HandoffSource."""
        since = self._since(done)
        records, upto = self._fetched_from(since, None)
        if upto is None or upto == since:
            return None, {}
        self._fetched = (records, upto)
        return Plan(end={"upto": upto, "committed": self._commit is None}), {}

    @contextmanager
    def open(
        self,
        bounds: Bounds,
        options: IngestOptions,
        context: Context,
    ) -> Generator[Any]:
        """See HandoffSource."""
        upto = bounds.end["upto"]
        fetched, self._fetched = self._fetched, None
        if fetched is not None and fetched[1] == upto:
            yield fetched[0]
            return
        records, again = self._fetched_from(self._since(bounds.start), upto)
        if again != upto:
            raise ConfigurationError(
                f"fetch(since, {upto!r}) returned records up to {again!r}: every attempt of a slice must return the "
                "same records. Return the `upto` that fetch was called with"
            )
        yield records

    def options(self, bounds: Bounds, options: IngestOptions) -> IngestOptions:
        """See HandoffSource."""
        # If the records are not repeatable, each attempt gets its own source_version, so that no row is skipped.
        attempt = "" if self._repeatable else f" {uuid4().hex}"
        return replace(options, source_version=f"{bounds.id}{attempt}")

    def settled(self, bounds: Bounds, context: Context) -> Position:
        """See HandoffSource."""
        return bounds.end

    def after_finish(self, done: Position) -> Position | None:
        """See HandoffSource."""
        if self._commit is None or done is None or done["committed"]:
            return None
        self._commit(done["upto"])
        return {**done, "committed": True}

    def parsed(self, value: Any) -> Position:
        """See HandoffSource."""
        if value is None:
            return None
        token = value
        if isinstance(value, str):
            try:
                token = json.loads(value)
            except ValueError:
                token = value  # a token that is text need not be quoted
        return {"upto": _checked_token("token", token), "committed": True}

    def between(self, start: Position, end: Position, context: Context) -> Plan:
        """See HandoffSource."""
        if end is None:
            raise ConfigurationError("an explicit slice needs an end")
        return Plan(end=end)

    def shown(self, position: Position, *, values: bool = True) -> Any:
        """See HandoffSource."""
        token = self._since(position)
        return token if values or isinstance(token, int | float | None) else "(a token)"

    def nothing_new(self, done: Position) -> str:
        """See HandoffSource."""
        since = self.shown(done, values=False)
        return "no item is there yet" if since is None else f"no item is new since {since}"

    def _since(self, position: Position) -> Any:
        return self._initial if position is None else position["upto"]

    def _fetched_from(self, since: Any, upto: Any) -> tuple[Any, Any]:
        answer = self._fetch(since, upto)
        if not isinstance(answer, tuple) or len(answer) != 2:  # noqa: PLR2004 - a pair
            raise ConfigurationError(
                f"fetch returned {type(answer).__name__}; it must return (records, upto), even when nothing is new: "
                "([], since)"
            )
        records, token = answer
        return records, _checked_token("upto", token)


def _checked_token(what: str, token: Any) -> Any:
    try:
        text = json.dumps(token, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{what} must be a JSON value (text, number, list, object), not {token!r}") from error
    if len(text) > _MAX_TOKEN_BYTES:
        raise ConfigurationError(f"{what} has {len(text)} bytes; a token can have at most {_MAX_TOKEN_BYTES} bytes")
    if json.loads(text) != token:
        raise ConfigurationError(
            f"{what} is not the same after it is written as JSON and read back: {token!r}; use text, numbers, lists, "
            "and dicts whose keys are text"
        )
    return token
