"""Stores a delivery's checkpoint where the next attempt of the same task instance finds it.

Airflow 3.3 and newer give each task instance a state that survives automatic retries (``task_state_store``). XComs do
not survive them, because each attempt starts by deleting the XComs of its task. Before 3.3, or if the task sets
``checkpoint_uri``, the checkpoint is a file below the directory ``checkpoint_uri``. Both the state and a file also
survive when someone clears the task, but a cleared task must send all rows again. So each checkpoint has an epoch: an
id that changes when the task is cleared (unless ``resume`` is "always").
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from zerobus_core import Checkpoint, FileCheckpointStore, TransportError

from .compat import AirflowRuntimeError, conf

if TYPE_CHECKING:
    from zerobus_core import CheckpointStore

    from .compat import Context

__all__ = ["Resume", "TaskStateCheckpointStore", "attempts_chain", "checkpoint_store", "delivery_name"]

Resume: TypeAlias = Literal["retry", "always", "never"]

# Never rename this key or change the meaning of its value: a retry after an upgrade reads what the old release wrote.
_KEY = "zerobus/checkpoint"
# Longer than any chain of retries; Airflow deletes the state together with its Dag run anyway.
_RETENTION = timedelta(days=365)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.=-]")

_log = logging.getLogger(__name__)


class TaskStateStore(Protocol):
    """The part of Airflow's ``task_state_store`` that this module uses."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the JSON value under ``key``, or ``default``."""

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        """Store a JSON value under ``key``."""


class TaskStateCheckpointStore:
    """A CheckpointStore that uses the state of one task instance.

    Each ``load`` and each ``save`` is a request to Airflow's supervisor that takes a few milliseconds; call them in the
    main thread. They raise TransportError if Airflow's API answers with an error.
    """

    def __init__(self, store: TaskStateStore, epoch: str) -> None:
        self._store = store
        self._epoch = epoch

    @property
    def epoch(self) -> str:
        """The id that an attempt and its automatic retries share; see the module docstring."""
        return self._epoch

    def load(self) -> Checkpoint | None:
        """See CheckpointStore."""
        try:
            value = self._store.get(_KEY)
        except AirflowRuntimeError as error:
            raise _unavailable_error("read", error) from error
        # Stored as a JSON object rather than as text, so that people can read it on the task's page.
        return None if value is None else Checkpoint.from_json(json.dumps(value))

    def save(self, checkpoint: Checkpoint) -> None:
        """See CheckpointStore."""
        try:
            self._store.set(_KEY, json.loads(checkpoint.to_json()), retention=_RETENTION)
        except AirflowRuntimeError as error:
            raise _unavailable_error("write", error) from error


def checkpoint_store(context: Context, resume: Resume, *, table: str, uri: str | None = None) -> CheckpointStore | None:
    """Return the checkpoint store of the running task instance; None if no checkpoints are kept.

    ``uri`` is a directory for checkpoint files. If ``uri`` is None, Airflow 3.3 and newer store the checkpoint
    in the task's state. With older versions of Airflow, the checkpoint is a file below the directory that is set in
    Airflow's configuration (section ``zerobus``, option ``checkpoint_uri``).

    The result is None if ``resume`` is "never". The result is also None if there is neither a directory nor a state; a
    line in the log then explains this.
    """
    if resume == "never":
        return None
    epoch = _epoch(context, resume)
    state = context.get("task_state_store")
    root = uri or (None if state is not None else conf.get("zerobus", "checkpoint_uri", fallback=None))
    if root:
        return FileCheckpointStore(_file_of(context, root, table), epoch)
    if state is None:
        _log.info(
            "Airflow keeps no task state before 3.3, and no checkpoint_uri is set: every attempt of this task sends "
            "all rows"
        )
        return None
    return TaskStateCheckpointStore(state, epoch)


def delivery_name(context: Context, resume: Resume) -> str:
    """Return the default of the option ``delivery_name``.

    All automatic retries of the task instance get the same name. Clearing the task changes the name. With
    ``resume="always"``, however, the name always stays the same, and the next attempt continues the delivery.
    """
    ti = context["ti"]
    chain = _epoch(context, resume)
    return json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index, chain])


def attempts_chain(context: Context) -> str:
    """Return an id that stays the same over automatic retries, and changes when someone clears the task."""
    return _epoch(context, "retry")


def _epoch(context: Context, resume: Resume) -> str:
    if resume == "always":
        return "always"
    # max_tries is constant over automatic retries and changes when the task is cleared; clear_number counts the
    # clearings in the run, and is the only one to change when a running task is cleared.
    clear_number = getattr(context["dag_run"], "clear_number", None)
    return f"tries-{context['ti'].max_tries}-clears-{clear_number}"


def _file_of(context: Context, root: str, table: str) -> str:
    ti = context["ti"]
    index = "" if ti.map_index is None or ti.map_index < 0 else f".{ti.map_index}"
    names = [ti.dag_id, ti.run_id, f"{ti.task_id}{index}", f"{table}.json"]
    return "/".join([root.rstrip("/"), *map(_file_name, names)])


def _file_name(name: str) -> str:
    safe = _UNSAFE.sub("_", name)
    # Run ids contain colons and plus signs, which some storages refuse. The hash keeps the names of two ids different.
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _unavailable_error(verb: str, error: Exception) -> TransportError:
    return TransportError(f"cannot {verb} the checkpoint in Airflow's task state store: {error}")
