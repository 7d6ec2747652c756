"""Runs handoffs in Airflow, and stores their state.

Airflow 3.3 and newer store a state for each asset, and all Dags read and write the same state. This store has no
compare-and-swap, so a run writes the state, waits for a random time and reads the state again: one of two concurrent
runs then usually notices the other. The state must be a file at ``state_uri`` if it is too large for this store, if the
source is ``NewFiles``, or if Airflow is older than 3.3.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from zerobus_core import Checkpoint, ConfigurationError, TransportError

from .checkpoint import attempts_chain
from .compat import AirflowRuntimeError

if TYPE_CHECKING:
    from zerobus_core import CheckpointStore, IngestOptions, Progress, Receipt, Workspace
    from zerobus_core.hosting import StopRequest

    from .checkpoint import Resume
    from .compat import Context

__all__ = [
    "AssetStateStore",
    "HandoffTask",
    "check_handoff",
    "check_on_empty",
    "check_shard",
    "hand_over",
    "is_handoff_source",
]

# Bytes. Airflow's documented limit is 64 KB, of which its own JSON around the state needs some. The run that freezes a
# slice obeys the smaller limit, because the runs that resume and finish the slice write a little more.
_MOST_BYTES = 60_000
_HARD_LIMIT = 63_000
_KEY = "zerobus/handoff/"
# Seconds between writing the state and reading it again, so that a run that writes at the same moment is noticed.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 0.3


class HandoffTask(Protocol):
    """The attributes of a ``ZerobusDeliveryOperator`` that a handoff reads."""

    task_id: str
    table: str
    workspace: Workspace | None
    outlets: Any
    resume: Resume
    checkpoint_uri: str | None
    state_uri: str | None
    handoff_name: str | None
    on_busy: Any
    on_empty: Any

    @property
    def asset_uri(self) -> str:
        """The URI of the table's asset."""


def is_handoff_source(source: Any) -> bool:
    """Return whether ``source`` has the methods of a handoff's source, such as NewFiles, NewRows and NewItems."""
    return all(callable(getattr(source, name, None)) for name in ("identity", "plan", "settled"))


def check_handoff(operator: HandoffTask) -> None:
    """Raise ConfigurationError for parameters that cannot be used in a handoff. Runs when the Dag is parsed."""
    if operator.resume == "never":
        raise ConfigurationError(
            f"task {operator.task_id!r}: resume='never' is not possible in a handoff, because each retry delivers "
            "the rest of the same slice; leave resume out"
        )
    if operator.checkpoint_uri is not None:
        raise ConfigurationError(
            f"task {operator.task_id!r}: a handoff stores its checkpoints with its state; leave checkpoint_uri out"
        )


def check_shard(operator: HandoffTask, source: Any, shard: Any) -> None:
    """Raise ConfigurationError if ``shard`` cannot be used with this ``source`` and the operator's parameters.

    These parameters are ``state_uri`` and ``on_empty``. Runs when the Dag is parsed.
    """
    if shard is None:
        return
    check_on_empty(operator)
    if source is None or (operator.state_uri is not None and not is_handoff_source(source)):
        raise ConfigurationError(
            f"task {operator.task_id!r}: shard needs a source. With state_uri, the source must be NewFiles or "
            "NewRows. For a shard of split_source_task, leave out state_uri; pass the shard as source, or pass it as "
            "shard and the split files as source"
        )
    if operator.state_uri is None and is_handoff_source(source):
        raise ConfigurationError(
            f"task {operator.task_id!r}: shards of a slice need state_uri, because each task reads the slice from it"
        )


def check_on_empty(operator: HandoffTask) -> None:
    """Raise ConfigurationError for the values of ``on_empty`` that cannot be used with a shard."""
    if operator.on_empty in {"skip", "fail"}:
        raise ConfigurationError(
            f"task {operator.task_id!r}: on_empty={operator.on_empty!r} is about a whole source, but this task "
            "delivers one shard. One shard without rows would make the task that merges the receipts skip or fail. "
            "Remove on_empty: if the whole source has no rows, there are no shards, and Airflow skips the tasks that "
            "follow"
        )


class AssetStateStore:
    """A ``StateStore`` that uses the state of an asset. Each read and write is a request to Airflow's supervisor."""

    side_files = None
    most_bytes = _MOST_BYTES
    """The largest size of the state in bytes; a slice whose state would be larger is not frozen."""

    def __init__(
        self,
        store: Any,
        name: str,
        *,
        asset: str,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._store = store
        self._key = _KEY + json.dumps(name)[1:-1]  # ASCII
        self._sleep = sleep
        self._draw = draw
        self.shown = f"the state of asset {asset}, key {self._key}"

    def load(self) -> str | None:
        """See StateStore."""
        value = self._get(self._key)
        return None if value is None else json.dumps(value)

    def save(self, text: str, *, replaces: str | None) -> None:
        """See StateStore."""
        from zerobus_core.hosting import StateConflict

        if len(text) > _HARD_LIMIT:
            raise ConfigurationError(
                f"the handoff's state has {len(text):,} bytes, but Airflow stores at most {_HARD_LIMIT:,} for an "
                "asset: set state_uri to the path or URI of a file"
            )
        if self._get(self._key) != (None if replaces is None else json.loads(replaces)):
            raise StateConflict(self.shown)
        value = json.loads(text)
        self._set(f"{self._key}/begun", True)
        self._set(self._key, value)
        self._sleep(self._draw(_SHORTEST_PAUSE, _LONGEST_PAUSE))
        if self._get(self._key) != value:
            raise StateConflict(self.shown)

    def has_traces(self) -> bool:
        """See StateStore."""
        return self._get(f"{self._key}/begun") is not None

    def checkpoint(self, slice_id: str, epoch: str) -> CheckpointStore:
        """See StateStore."""
        return _SliceCheckpoint(self, f"{self._key}/{slice_id}", epoch)

    def forget(self, slice_id: str) -> None:
        """See StateStore."""
        with _translating("write"):
            self._store.delete(f"{self._key}/{slice_id}")

    def _get(self, key: str) -> Any:
        with _translating("read"):
            return self._store.get(key)

    def _set(self, key: str, value: Any) -> None:
        with _translating("write"):
            self._store.set(key, value)


class _SliceCheckpoint:
    """The checkpoint of a slice, stored next to the handoff's state, so that any later run can resume from it."""

    def __init__(self, kept: AssetStateStore, key: str, epoch: str) -> None:
        self._kept = kept
        self._key = key
        self.epoch = epoch

    def load(self) -> Checkpoint | None:
        value = self._kept._get(self._key)
        return None if value is None else Checkpoint.from_json(json.dumps(value))

    def save(self, checkpoint: Checkpoint) -> None:
        self._kept._set(self._key, json.loads(checkpoint.to_json()))


class _translating:  # noqa: N801 - a context manager
    def __init__(self, verb: str) -> None:
        self._verb = verb

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, AirflowRuntimeError):
            raise TransportError(f"cannot {self._verb} the handoff in Airflow's asset state: {error}") from error


def hand_over(
    operator: HandoffTask,
    context: Context,
    source: Any,
    *,
    options: IngestOptions,
    on_progress: Callable[[Progress], None],
    stop: StopRequest,
) -> Receipt:
    """Deliver what is new in ``source``, with this task instance as the owner of the slice.

    A retry delivers the slice that an earlier attempt froze. If someone clears the task after its slice was delivered,
    the slice is sent again, and the receipt counts the rows of the slice in ``rows_redelivered``. If the operator has
    a shard, nothing is frozen, and only this shard is delivered.
    """
    # Imported here, so that processes that only parse Dags do not load it.
    from zerobus_core import Handoff
    from zerobus_core.hosting import Owner

    shard = getattr(operator, "shard", None)
    if shard is not None:
        return _deliver_shard(operator, source, shard, options=options, on_progress=on_progress, stop=stop)
    ti = context["ti"]
    index = "" if ti.map_index is None or ti.map_index < 0 else f"[{ti.map_index}]"
    name = operator.handoff_name or f"{ti.dag_id}.{ti.task_id}{index}"
    owner = Owner(key=json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index]), chain=attempts_chain(context))
    assert operator.workspace is not None
    handoff = Handoff(
        operator.workspace,
        operator.table,
        source,
        state=operator.state_uri or _asset_store(operator, context, name),
        name=name,
        options=options,
        owner=owner,
        on_progress=on_progress,
        stop=stop,
    )
    return handoff.run(on_busy=operator.on_busy)


def _deliver_shard(
    operator: HandoffTask,
    source: Any,
    shard: Any,
    *,
    options: IngestOptions,
    on_progress: Callable[[Progress], None],
    stop: StopRequest,
) -> Receipt:
    from zerobus_core import Handoff

    assert operator.workspace is not None
    handoff = Handoff(
        operator.workspace,
        operator.table,
        source,
        state=operator.state_uri,
        name=operator.handoff_name,
        options=options,
        on_progress=on_progress,
        stop=stop,
    )
    return handoff.deliver_shard(shard)


def _asset_store(operator: HandoffTask, context: Context, name: str) -> AssetStateStore:
    stores = context.get("asset_state_store")
    asset = next((outlet for outlet in operator.outlets if getattr(outlet, "uri", None) == operator.asset_uri), None)
    if stores is None or asset is None:
        raise ConfigurationError(
            "a handoff needs a place for its state: set state_uri to the path or URI of a file; or, with Airflow "
            "3.3 and newer, make the table's asset an outlet (outlets=[table_asset(workspace_url, table)])"
        )
    return AssetStateStore(stores[asset], name, asset=str(asset.uri))
