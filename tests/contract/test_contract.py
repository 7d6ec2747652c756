"""What the core takes for granted about the service, held against the local server always, and against a real workspace
where one is named: then it shows that the local one is like it.

A real workspace is one that ``Workspace.from_env`` finds, with a table in ``ZEROBUS_CONTRACT_TABLE`` that was made by::

    CREATE TABLE catalog.schema.table (
      id BIGINT NOT NULL, name STRING, price DECIMAL(10, 2), at TIMESTAMP, day DATE, tags ARRAY<STRING>,
      place STRUCT<city: STRING, zip: INT>)

and on which the service principal has MODIFY and SELECT.  The suite adds a few dozen rows to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest

from zerobus_core import ClientCredentials, IngestOptions, StreamManager, TableSchema, Workspace, ingest
from zerobus_core.doctor import diagnose
from zerobus_core.errors import AuthenticationError, RecordError, SchemaError, TableNotFoundError
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.matrix

Format = Literal["protobuf", "json", "arrow"]

COLUMNS = (
    "id BIGINT NOT NULL, name STRING, price DECIMAL(10, 2), at TIMESTAMP, day DATE, tags ARRAY<STRING>, "
    "place STRUCT<city: STRING, zip: INT>"
)
FORMATS: list[Format] = ["protobuf", "json", "arrow"]
PEERS = ["local", *(["real"] if os.environ.get("ZEROBUS_CONTRACT_TABLE") else [])]


@dataclass(frozen=True)
class Peer:
    """A service and a table of it; ``read`` is None if only a warehouse could read it back."""

    workspace: Workspace
    table: str
    read: Callable[[], pa.Table] | None


@pytest.fixture(scope="module", params=PEERS)
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    if request.param == "real":
        yield Peer(Workspace.from_env(), os.environ["ZEROBUS_CONTRACT_TABLE"], None)
        return
    data: Path = tmp_path_factory.mktemp("contract")
    with LocalZerobus.start(data) as server:
        table = "main.default.contract"
        server.create_table(f"CREATE TABLE {table} ({COLUMNS})")
        yield Peer(server.workspace, table, lambda: server.read(table))


def rows(first: int, count: int = 10) -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "name": f"row {i}",
            "price": Decimal(i).scaleb(-2),
            "at": datetime(2026, 1, 1, 12, 30, 0, i, tzinfo=UTC),
            "day": date(2026, 1, 1 + i % 28),
            "tags": ["a", "ü"],
            "place": {"city": "Paris", "zip": 75_000 + i},
        }
        for i in range(first, first + count)
    ]


def test_unity_catalog_describes_the_table(peer: Peer) -> None:
    schema = TableSchema.fetch(peer.workspace, peer.table)
    assert [column.name for column in schema.columns] == ["id", "name", "price", "at", "day", "tags", "place"]
    assert [column.nullable for column in schema.columns] == [False, True, True, True, True, True, True]


@pytest.mark.parametrize("number", range(len(FORMATS)), ids=FORMATS)
def test_rows_are_acknowledged_in_every_format(peer: Peer, number: int) -> None:
    given = rows(1_000 * number)
    options = IngestOptions(record_format=FORMATS[number], batch_rows=4)
    receipt = ingest(peer.workspace, peer.table, given, options=options)
    assert (receipt.rows_read, receipt.rows_acked, receipt.rows_resent, receipt.reconnects) == (10, 10, 0, 0)
    if peer.read is not None:
        landed = {row["id"]: row for row in peer.read().to_pylist()}
        assert [landed[row["id"]] for row in given] == given


def test_nulls_and_columns_that_are_left_out_are_taken(peer: Peer) -> None:
    given = [{"id": 5_000}, {"id": 5_001, "name": None, "tags": [], "place": {"city": None}}]
    assert ingest(peer.workspace, peer.table, given).rows_acked == 2


def test_streams_share_a_delivery(peer: Peer) -> None:
    receipt = ingest(peer.workspace, peer.table, rows(6_000, 20), options=IngestOptions(streams=2, batch_rows=5))
    assert (receipt.rows_acked, receipt.rows_resent) == (20, 0)
    assert receipt.streams == 2


def test_rows_sent_as_they_come_are_durable_after_a_flush(peer: Peer) -> None:
    with StreamManager(peer.workspace, peer.table) as streams:
        streams.send(rows(7_000))
        streams.flush()
        assert (progress := streams.progress()) is not None
        assert progress.rows_acked == 10
        streams.send(rows(7_100))
    assert streams.receipt.rows_acked == 20


def test_a_row_that_does_not_fit_is_refused_before_anything_is_sent(peer: Peer) -> None:
    with pytest.raises(RecordError, match="surprise"):
        ingest(peer.workspace, peer.table, [*rows(8_000), {"id": 8_999, "surprise": 1}])


def test_a_table_that_is_not_there_is_named(peer: Peer) -> None:
    catalog, schema, _ = peer.table.split(".")
    with pytest.raises((TableNotFoundError, SchemaError), match="no_such_table"):
        ingest(peer.workspace, f"{catalog}.{schema}.no_such_table", rows(0))


def test_a_wrong_secret_is_an_authentication_error_that_does_not_tell_it(peer: Peer) -> None:
    known = peer.workspace.credentials
    assert isinstance(known, ClientCredentials)
    stranger = replace(peer.workspace, credentials=replace(known, client_secret="no-secret-of-anyone"))
    with pytest.raises(AuthenticationError) as refused:
        ingest(stranger, peer.table, rows(0))
    assert "no-secret-of-anyone" not in str(refused.value)


def test_the_doctor_finds_nothing(peer: Peer) -> None:
    failed = [step for step in diagnose(peer.table, workspace=peer.workspace) if step.status == "failed"]
    assert failed == []
