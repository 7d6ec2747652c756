"""The interface for adapters: what a host needs in addition to the public API of ``zerobus_core``.

Adapters (Airflow, Dagster, others) import only ``zerobus_core`` and this module. The names in this module can change
between minor releases; the names that users need are in ``zerobus_core``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy_names import lazy_names

if TYPE_CHECKING:
    from .aio import LoopBridge, async_records, run_in_thread
    from .checkpoint import InvalidCheckpointError
    from .deprecations import warn_deprecated
    from .doctor import diagnose
    from .handoffs import Owner, StateConflict
    from .process.interruption import StopRequest
    from .process.signals import is_of_signal
    from .receipt import ProgressLog
    from .replaying import letters_source, replay_options
    from .schema.table import check_table_name
    from .sources.files.finding.found import holds_no_files
    from .sources.rows.cursor import sql_fingerprint
    from .sources.rows.cursor_thread import CursorThread
    from .sources.rows.drivers import execute_on_server
    from .sources.shards import is_shard
    from .sources.shards.form import shard_facts
    from .storage.filesystem import UriWithFilesystem
    from .storage.uris import secrets_in, shown_uri
    from .wording import plural

__all__ = [
    "CursorThread",
    "InvalidCheckpointError",
    "LoopBridge",
    "Owner",
    "ProgressLog",
    "StateConflict",
    "StopRequest",
    "UriWithFilesystem",
    "async_records",
    "check_table_name",
    "diagnose",
    "execute_on_server",
    "holds_no_files",
    "is_of_signal",
    "is_shard",
    "letters_source",
    "plural",
    "replay_options",
    "run_in_thread",
    "secrets_in",
    "shard_facts",
    "shown_uri",
    "sql_fingerprint",
    "warn_deprecated",
]

# Hosts import adapters in every process that parses a Dag or loads definitions, so each name loads when it is used.
_HOMES = {
    "CursorThread": "sources.rows.cursor_thread",
    "InvalidCheckpointError": "checkpoint",
    "LoopBridge": "aio",
    "Owner": "handoffs",
    "ProgressLog": "receipt",
    "StateConflict": "handoffs",
    "StopRequest": "process.interruption",
    "UriWithFilesystem": "storage.filesystem",
    "async_records": "aio",
    "check_table_name": "schema.table",
    "diagnose": "doctor",
    "execute_on_server": "sources.rows.drivers",
    "holds_no_files": "sources.files.finding.found",
    "is_of_signal": "process.signals",
    "is_shard": "sources.shards",
    "letters_source": "replaying",
    "plural": "wording",
    "replay_options": "replaying",
    "run_in_thread": "aio",
    "secrets_in": "storage.uris",
    "shard_facts": "sources.shards.form",
    "shown_uri": "storage.uris",
    "sql_fingerprint": "sources.rows.cursor",
    "warn_deprecated": "deprecations",
}


__getattr__ = lazy_names(__name__, _HOMES, package=__package__)
