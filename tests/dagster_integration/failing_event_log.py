"""An event log whose database is out of reach while a file says so, named in an instance's ``event_log_storage``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData


class FailingEventLogStorage(SqliteEventLogStorage):
    """SQLite files, as Dagster has them without configuration; ``outage`` is the path of the file."""

    def __init__(self, base_dir: str, outage: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._outage = Path(outage)

    @classmethod
    def config_type(cls) -> Any:
        return {"base_dir": dg.StringSource, "outage": dg.StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "FailingEventLogStorage":
        return cls(inst_data=inst_data, **config_value)

    def store_event(self, event: EventLogEntry) -> None:
        if self._outage.exists():
            raise ConnectionError("the database of the event log is out of reach")
        super().store_event(event)
