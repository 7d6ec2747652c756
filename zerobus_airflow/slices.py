"""Tasks before and after the mapped delivery of a handoff's slice: the first freezes the slice, the last finishes it.

These two tasks and the mapped task must have the same ``table``, ``source``, ``state_uri`` and ``handoff_name``. The
owner of the slice is the Dag run, not one of its tasks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from zerobus_core import ConfigurationError, ZerobusIngestError

from .checkpoint import attempts_chain
from .compat import AirflowFailException, get_current_context
from .fan_out import attach_receipt
from .handoff import is_handoff_source
from .hook import ZerobusHook
from .masking import masking_task

if TYPE_CHECKING:
    from zerobus_core import Handoff

__all__ = ["finish_slice_task", "freeze_slice_task"]

_T = TypeVar("_T")


@masking_task(task_id="freeze_slice")
def freeze_slice_task(  # noqa: PLR0913 - what a handoff is, everything by name
    source: Any,
    n: int,
    *,
    table: str,
    state_uri: str,
    handoff_name: str | None = None,
    options: Mapping[str, Any] | None = None,
    zerobus_conn_id: str = ZerobusHook.default_conn_name,
) -> list[dict[str, Any]]:
    """Freeze a slice of what is new in ``source``, and return the shards of the slice.

    Pass the shards to ``ZerobusIngestOperator.partial(source=…, state_uri=…).expand(shard=…)``. See
    ``zerobus_core.Handoff.split``. If nothing is left to deliver, the list is empty, and Airflow skips the tasks
    that follow. If another run is delivering a slice, the task fails, so that Airflow retries the task.
    """
    handoff = _handoff(source, table, state_uri, handoff_name, options, zerobus_conn_id)
    return _routed(lambda: handoff.split(n))


@masking_task(task_id="finish_slice")
def finish_slice_task(
    receipts: Sequence[Mapping[str, Any]],
    *,
    source: Any,
    table: str,
    state_uri: str,
    handoff_name: str | None = None,
    zerobus_conn_id: str = ZerobusHook.default_conn_name,
) -> dict[str, Any]:
    """Advance the state if all shards were delivered; return one receipt for all of them.

    ``receipts`` is the ``output`` of the mapped deliveries. If some shards have no complete receipt, the task fails,
    and the error lists these shards. If the table's asset is an outlet of this task, the asset's event also contains
    the receipt.
    """
    handoff = _handoff(source, table, state_uri, handoff_name, None, zerobus_conn_id)
    receipt = _routed(lambda: handoff.finish_shards(list(receipts))).as_dict()
    attach_receipt(get_current_context(), receipt)
    return receipt


def _handoff(
    source: Any,
    table: str,
    state_uri: str,
    name: str | None,
    options: Mapping[str, Any] | None,
    conn_id: str,
) -> Handoff:
    # Imported here, so that processes that only parse Dags do not load it.
    from zerobus_core import Handoff
    from zerobus_core.hosting import Owner, shown_uri

    if not is_handoff_source(source):
        raise ConfigurationError(f"source is of type {type(source).__name__}; pass NewFiles or NewRows")
    context = get_current_context()
    ti = context["ti"]
    owner = Owner(key=json.dumps([ti.dag_id, ti.run_id, shown_uri(state_uri)]), chain=attempts_chain(context))
    workspace = ZerobusHook(conn_id).get_workspace()
    return Handoff(workspace, table, source, state=state_uri, name=name, options=options, owner=owner)


def _routed(work: Callable[[], _T]) -> _T:
    """Return the result of ``work``. An error that a retry cannot fix becomes an AirflowFailException."""
    try:
        return work()
    except ZerobusIngestError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error
