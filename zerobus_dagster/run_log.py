"""Stores facts in the log of a run, where people see them on the run's page but not among an asset's events.

The facts are stored as an engine event with metadata. Dagster itself uses such events to store facts for later
processes, for example the handle of an external process (``dagster/_core/pipes/reattach.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from .step import Attempt

__all__ = ["facts_in_log", "write_to_log"]


def write_to_log(attempt: Attempt, message: str, facts: Mapping[str, str]) -> None:
    """Write an event of the attempt's step to the log of the run, and return when the event is stored."""
    from dagster._core.events import EngineEventData  # which dagster does not export

    attempt.instance.report_engine_event(message, attempt.run, EngineEventData(facts), step_key=attempt.step_key)


def facts_in_log(instance: DagsterInstance, run_id: str, step_key: str) -> Iterator[Mapping[str, dg.MetadataValue]]:
    """Yield the metadata of each engine event that a step has in the log of a run, newest first."""
    for entry in reversed(instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)):
        event = entry.dagster_event
        if event is not None and event.step_key == step_key:
            yield event.engine_event_data.metadata
