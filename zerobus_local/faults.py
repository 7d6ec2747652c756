"""Injects faults. A rule says what goes wrong, for which streams and when; a log lists the faults that happened.

A rule is plain data, the same in Python, JSON, the command line and HTTP::

    {"action": "cut", "at": "after_commit", "table": "main.default.t", "stream": 1, "message": [3, 7]}
    {"action": "delay_ack", "seconds": 0.5, "probability": 0.1, "seed": 42, "times": 3}

Actions, with their parameters (``seconds`` is a float, ``status`` is the name of a gRPC status, and ``text`` is sent
with that status). "This message" and "the message" are the client's message at which the rule triggers:

* ``refuse_open`` (status, text): refuse a request to open a stream.
* ``delay_open`` (seconds): answer a request to open a stream only after ``seconds``.
* ``hang_open``: leave a request to open a stream unanswered until the client gives up.
* ``delay_ack`` (seconds): commit the rows, but delay the acknowledgement.
* ``withhold_ack``: commit the rows, but acknowledge neither this message nor later ones.
* ``cut`` (at): break the TCP connection. ``at`` says when: ``before_commit`` (the message is lost), ``during_commit``
  (without waiting for the commit of the rows, which still happens), ``after_commit`` (the rows are committed, but the
  acknowledgement is lost) or ``mid_message`` (before the message is read, so that a client is interrupted while it is
  sending the message).
* ``fail`` (at, status, text): end the stream with a status. ``at`` is the same as for ``cut``, except that
  ``mid_message`` is not allowed.
* ``throttle`` (text): the same as ``fail`` at ``before_commit`` with the status RESOURCE_EXHAUSTED.
* ``close_signal`` (seconds): ask the client to close the stream, and end the stream with code 6002 after ``seconds``.
* ``refuse_records`` (predicate): refuse a batch that contains a row for which the SQL condition ``predicate`` is true.
  If the condition does not fit the table, nothing is refused, and the server's log and ``Streams.errors`` say why.
* ``stop_reading`` (seconds): read neither this message nor later ones for ``seconds``; 0 means forever.
* ``duplicate_commit``: commit the rows twice, which at-least-once delivery allows.
* ``token_status`` (http_status): answer a request for a token with this HTTP status.
* ``token_delay`` (seconds): answer a request for a token only after ``seconds``.
* ``token_garbage``: answer a request for a token with a text that is not JSON.
* ``token_cut``: break the connection in the middle of the answer to a request for a token.
* ``token_expire`` (seconds): issue a token that expires after ``seconds``.

Parameters that choose streams and messages:

* ``table``: the full name of a table, or a glob. The default is every table.
* ``stream``: a number or a list of numbers. The default is every stream. The streams of each table are counted from 1,
  starting when the rule is added.
* ``message``: an offset or a list of offsets, counted from 0 in each stream. The default is every message.
* ``probability`` and ``seed``: trigger at random. The outcome depends only on the seed, the table, the number of the
  stream and the number of the message; it does not depend on timing. Token requests and REST inserts belong to no
  stream. Each rule counts these requests for each table, and uses the count instead of the number of the message.
* ``times``: trigger at most this many times.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Final

import grpc

from .limits import LONGEST
from .status import status_code
from .storage.conditions import ConditionError, check_condition

__all__ = ["ACTIONS", "Faults", "Injection", "Rule"]

# action -> its parameters, without those that choose streams and messages; the module's docstring explains them
ACTIONS: Final[dict[str, frozenset[str]]] = {
    "refuse_open": frozenset({"status", "text"}),
    "delay_open": frozenset({"seconds"}),
    "hang_open": frozenset(),
    "delay_ack": frozenset({"seconds"}),
    "withhold_ack": frozenset(),
    "cut": frozenset({"at"}),
    "fail": frozenset({"at", "status", "text"}),
    "throttle": frozenset({"text"}),
    "close_signal": frozenset({"seconds"}),
    "refuse_records": frozenset({"predicate"}),
    "stop_reading": frozenset({"seconds"}),
    "duplicate_commit": frozenset(),
    "token_status": frozenset({"http_status"}),
    "token_delay": frozenset({"seconds"}),
    "token_garbage": frozenset(),
    "token_cut": frozenset(),
    "token_expire": frozenset({"seconds"}),
}
_KINDS: Final[dict[str, Any]] = {
    "table": str,
    "probability": int | float,
    "seed": int,
    "times": int | None,
    "status": str,
    "text": str,
    "seconds": int | float,
    "predicate": str,
    "http_status": int,
}
_LEAST_HTTP: Final = 200  # a status below this is not a final answer
_MOST_HTTP: Final = 599
POINTS: Final = ("before_commit", "during_commit", "after_commit", "mid_message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fault. The constructor raises ValueError if the action or status is unknown or a parameter is invalid."""

    action: str
    table: str = "*"
    stream: tuple[int, ...] | None = None
    message: tuple[int, ...] | None = None
    probability: float = 1.0
    seed: int = 0
    times: int | None = None
    status: str = "UNAVAILABLE"
    text: str = "injected fault"
    seconds: float = 0.0
    at: str = "before_commit"
    predicate: str = ""
    http_status: int = 503

    def __post_init__(self) -> None:
        if not isinstance(self.action, str) or self.action not in ACTIONS:
            raise _unknown_action_error(self.action)
        for name in ("stream", "message"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _numbers(name, value))
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ValueError(f"{name} {value!r} has the wrong type: {type(value).__name__}")  # noqa: TRY004  # data, not code
        self._check_values()
        self._check_predicate()

    def _check_values(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability {self.probability} is not between 0 and 1")
        if not 0 <= self.seconds <= LONGEST:
            raise ValueError(f"seconds {self.seconds} is not between 0 and {LONGEST:g}")
        points = POINTS[:-1] if self.action == "fail" else POINTS
        if self.at not in points:
            raise ValueError(f"'at' cannot be {self.at!r} for {self.action}; use one of {', '.join(points)}")
        if status_code(self.status) is grpc.StatusCode.OK:
            raise ValueError(f"status {self.status} does not refuse anything: use another one")
        if not _LEAST_HTTP <= self.http_status <= _MOST_HTTP:
            raise ValueError(f"http_status {self.http_status} is not a valid status: use {_LEAST_HTTP} to {_MOST_HTTP}")

    def _check_predicate(self) -> None:
        if self.action != "refuse_records":
            return
        if not self.predicate.strip():
            raise ValueError('refuse_records needs a predicate, e.g. "price < 0"')
        try:
            check_condition(self.predicate)
        except ConditionError as error:
            raise ValueError(f"predicate {error}") from error

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rule:
        """Build a rule from plain data; raise ValueError if the action is missing, or if the data is invalid."""
        action = data.get("action")
        if action is None:
            raise ValueError(f"a fault needs an action, one of {', '.join(sorted(ACTIONS))}")
        conditions = {"action", "table", "stream", "message", "probability", "seed", "times"}
        if str(action) not in ACTIONS:
            raise _unknown_action_error(action)
        allowed = conditions | ACTIONS[str(action)]
        unknown = sorted(map(str, set(data) - allowed))
        if unknown:
            raise ValueError(
                f"fault {action} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(allowed))}"
            )
        return cls(**data)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: the action, and all parameters that differ from the defaults."""
        data = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}


def _unknown_action_error(action: object) -> ValueError:
    return ValueError(f"unknown fault {action!r}; known faults are {', '.join(sorted(ACTIONS))}")


def _numbers(name: str, value: Any) -> tuple[int, ...]:
    items = [value] if isinstance(value, int) else value
    if not isinstance(items, Iterable) or isinstance(items, str):
        raise ValueError(f"{name} {value!r} is neither a number nor a list of numbers")  # noqa: TRY004  # data, not code
    numbers = tuple(items)
    if not all(isinstance(item, int) and not isinstance(item, bool) for item in numbers):
        raise ValueError(f"{name} {value!r} contains something that is not a whole number")
    return numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One fault that happened: the number of its rule, the stream and message, and the time (seconds since 1970)."""

    rule: int
    action: str
    table: str
    stream: int | None
    message: int | None
    at: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return asdict(self)


@dataclass
class _Active:
    rule: Rule
    base: Counter[str]
    triggered: int = 0
    requests: Counter[str] = field(default_factory=Counter)  # those that belong to no stream, by table


@dataclass
class _State:
    next_id: int = 1
    active: dict[int, _Active] = field(default_factory=dict)
    opened: Counter[str] = field(default_factory=Counter)
    log: list[Injection] = field(default_factory=list)


class Faults:
    """The active rules, and the log of the faults that happened. Thread-safe."""

    def __init__(self, rules: Iterable[Rule | Mapping[str, Any]] = ()) -> None:
        self._lock = threading.Lock()
        self._state = _State()  # guarded by _lock
        # Whether any rule is active. Read without the lock, so that a server without faults only reads one attribute.
        self.any = False
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule | Mapping[str, Any] | None = None, /, **parameters: Any) -> int:
        """Switch on a fault and return its number.

        Takes either a rule or the parameters of a new rule, as in ``add(action="cut", message=3)``.
        """
        if rule is None:
            rule = parameters
        elif parameters:
            raise TypeError(f"add takes either a rule or its parameters, not both: {rule!r} and {parameters!r}")
        if not isinstance(rule, Rule):
            if not isinstance(rule, Mapping):
                raise ValueError(f"the fault {rule!r} is neither a Rule nor a dict")  # noqa: TRY004  # data, not code
            rule = Rule.from_dict(rule)
        with self._lock:
            number = self._state.next_id
            self._state.next_id += 1
            self._state.active[number] = _Active(rule, Counter(self._state.opened))
            self.any = True
        return number

    def remove(self, number: int) -> bool:
        """Switch off one fault; return whether it was on."""
        with self._lock:
            found = self._state.active.pop(number, None) is not None
            self.any = bool(self._state.active)
        return found

    def clear(self) -> None:
        """Switch off all faults; the log is kept."""
        with self._lock:
            self._state.active.clear()
            self.any = False

    def list(self) -> dict[int, Rule]:
        """Return a dict of the active rules, with their numbers as keys."""
        with self._lock:
            return {number: active.rule for number, active in self._state.active.items()}

    def log(self) -> tuple[Injection, ...]:
        """Return the faults that have happened since the server started, in order."""
        with self._lock:
            return tuple(self._state.log)

    def count_stream(self, table: str) -> int:
        """Count a request to open a stream into ``table``; return the stream's number, to be passed to ``trigger``."""
        with self._lock:
            self._state.opened[table] += 1
            return self._state.opened[table]

    def trigger(
        self, action: str, table: str, stream: int | None = None, message: int | None = None, at: str | None = None
    ) -> Rule | None:
        """Return the first rule that makes ``action`` happen at this point; None if there is no such rule.

        If a rule is returned, the fault is added to the log, and it counts towards the rule's limit ``times``.
        """
        if not self.any:
            return None
        with self._lock:
            for number, active in self._state.active.items():
                if (
                    active.rule.action == action
                    and at in {None, active.rule.at}
                    and _meets(active, table, stream, message)
                ):
                    active.triggered += 1
                    self._state.log.append(
                        Injection(
                            rule=number, action=action, table=table, stream=stream, message=message, at=time.time()
                        )
                    )
                    return active.rule
        return None

    def peek(self, action: str, table: str, stream: int | None = None, message: int | None = None) -> Rule | None:
        """Return the first rule that makes ``action`` happen at this point, without logging or counting the fault."""
        with self._lock:
            for active in self._state.active.values():
                if active.rule.action == action and _meets(active, table, stream, message):
                    return active.rule
        return None


def _meets(active: _Active, table: str, stream: int | None, message: int | None) -> bool:
    rule = active.rule
    if rule.times is not None and active.triggered >= rule.times:
        return False
    if not fnmatchcase(table, rule.table):
        return False
    nth = None if stream is None else stream - active.base[table]
    if rule.stream is not None and nth not in rule.stream:
        return False
    if rule.message is not None and message not in rule.message:
        return False
    if rule.probability >= 1:
        return True
    if stream is None:
        active.requests[table] += 1
        message = active.requests[table]
    # The same string seeds the same random numbers in every process. The hash of a tuple differs between processes.
    chance = random.Random(f"{rule.seed}/{table}/{nth}/{message}")  # noqa: S311  # chance, not secrets
    return chance.random() < rule.probability
