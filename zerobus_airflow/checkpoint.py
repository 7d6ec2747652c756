"""Keeps a delivery's checkpoint where Airflow's next try of the same task instance finds it.

Airflow 3.3 gives each task instance a state of its own that survives automatic retries (``task_state_store``).  XCom
does not: a try starts by deleting its own.  In 3.3 that state survives clearing as well, and resuming after someone
cleared a task would skip rows that were asked for again; so a checkpoint is bound to an epoch that clearing changes.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from uuid import uuid4

from airflow.sdk.exceptions import AirflowRuntimeError

from zerobus_core import Checkpoint, TransportError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["Resume", "TaskStateCheckpointStore", "checkpoint_store", "delivery_name"]

Resume: TypeAlias = Literal["retry", "always", "never"]

# A renamed key, or another meaning under the same one, would break tries that are under way during an upgrade.
_KEY = "zerobus/checkpoint"
# Longer than any chain of retries; the rows of the state go with their Dag run anyway.
_RETENTION = timedelta(days=365)

_log = logging.getLogger(__name__)


class TaskStateStore(Protocol):
    """The part of Airflow's accessor that is used here."""

    def get(self, key: str, default: Any = None) -> Any:
        """The JSON value under ``key``."""

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        """Keep a JSON value."""


class TaskStateCheckpointStore:
    """A CheckpointStore in the state of one task instance.

    Each call is a request to Airflow's supervisor, a few milliseconds long, and belongs in the main thread.
    Raises TransportError when Airflow's API does not answer as it should.
    """

    def __init__(self, store: TaskStateStore, epoch: str) -> None:
        self._store = store
        self._epoch = epoch

    @property
    def epoch(self) -> str:
        """Which chain of tries this is."""
        return self._epoch

    def load(self) -> Checkpoint | None:
        """See CheckpointStore."""
        try:
            value = self._store.get(_KEY)
        except AirflowRuntimeError as error:
            raise _unavailable("read", error) from error
        # As JSON, and not as its text, the checkpoint can be read on the task's page.
        return None if value is None else Checkpoint.from_json(json.dumps(value))

    def save(self, checkpoint: Checkpoint) -> None:
        """See CheckpointStore."""
        try:
            self._store.set(_KEY, json.loads(checkpoint.to_json()), retention=_RETENTION)
        except AirflowRuntimeError as error:
            raise _unavailable("write", error) from error


def checkpoint_store(context: Context, resume: Resume) -> TaskStateCheckpointStore | None:
    """The store of the running task instance, or None, with a line in the log, before Airflow 3.3."""
    store = context.get("task_state_store")
    if store is None:
        _log.info("Airflow keeps no task state before 3.3: every try of this task sends all rows")
        return None
    return TaskStateCheckpointStore(store, _epoch(context, resume))


def delivery_name(context: Context, resume: Resume) -> str:
    """What goes into the key of ``delivery_columns``: one name for the tries of a task instance until it is cleared.

    With ``resume="always"`` for those after it was cleared, too, since they go on with the same delivery.
    """
    ti = context["ti"]
    chain = _epoch(context, "always" if resume == "always" else "retry")
    return json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index, chain])


def _epoch(context: Context, resume: Resume) -> str:
    if resume == "always":
        return "always"
    if resume == "never":
        return f"never-{uuid4()}"
    # max_tries is constant over automatic retries and changes when the task is cleared; clear_number counts the
    # clearings in the run, and is the only one to change when a running task is cleared.
    clear_number = getattr(context["dag_run"], "clear_number", None)
    return f"tries-{context['ti'].max_tries}-clears-{clear_number}"


def _unavailable(verb: str, error: AirflowRuntimeError) -> TransportError:
    return TransportError(f"cannot {verb} the checkpoint in Airflow's task state store: {error}")
