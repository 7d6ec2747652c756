"""Stores the rows of one REST insert request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..decode.decoder import MAX_RECORDS, TableShape
from ..decode.json import JsonDecoder
from ..decode.refusal import RefusedRecordError
from ..errors import InvalidRequest
from .conditions import Conditions

if TYPE_CHECKING:
    import pyarrow as pa

    from ..model.objects import Table
    from .storage import Storage

__all__ = ["insert_json_rows"]


def insert_json_rows(storage: Storage, table: Table, rows: list[Any], *, timeout: float = 60.0) -> int:
    """Store all ``rows`` (parsed JSON objects) or none, wait for the commit, and return the commit's version.

    Raises InvalidRequest if there are too many rows, or if a row does not fit the table. Raises UnknownTable if the
    table was just dropped. If the commit fails, raises the commit's error. Raises TimeoutError if the commit takes
    longer than ``timeout`` seconds; then it is unknown whether the rows will be stored.
    """
    if len(rows) > MAX_RECORDS:
        raise InvalidRequest(f"{len(rows)} rows; a request can have at most {MAX_RECORDS}")
    try:
        batch = JsonDecoder(TableShape.of(table)).decode_objects(rows)
        _check_constraints(table, batch)
    except RefusedRecordError as error:
        raise InvalidRequest(
            f"Invalid record for table {table.full_name}: {error}. None of the rows are stored"
        ) from error
    return storage.append_and_wait(table, batch, timeout=timeout)


def _check_constraints(table: Table, batch: pa.RecordBatch) -> None:
    if not table.checks:
        return
    conditions = Conditions()
    try:
        conditions.refuse_broken(batch, table.checks)
    finally:
        conditions.close()
