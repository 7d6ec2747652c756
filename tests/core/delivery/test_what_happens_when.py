"""docs/what_happens_when.md, row by row where no other test shows it; and that the pages hold together."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import duckdb
import pytest
import sqlglot

from tests.cli_runner import cli_runner
from zerobus_core import FileCheckpointStore, IngestOptions, Receipt, ZerobusIngestError, ingest
from zerobus_core.cli import main
from zerobus_core.dedup import dedup_view_sql
from zerobus_core.errors import RecordError, RejectedRecordError, SchemaError
from zerobus_local import LocalZerobus

TABLE = "main.default.t"
DOCS = Path(__file__).parents[3] / "docs"
FAST = IngestOptions(batch_rows=10, backoff=0.01)


@pytest.fixture
def source(server: LocalZerobus, tmp_path: Path) -> Path:
    """A file of 100 rows and the table for it."""
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL)")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"id": {n}}}\n' for n in range(100)))
    return path


def deliver(server: LocalZerobus, source: Path, *, epoch: str | None = None, options: IngestOptions = FAST) -> Receipt:
    store = FileCheckpointStore(source.with_name("checkpoint.json"), epoch=epoch)
    receipt = ingest(server.workspace, TABLE, str(source), options=options, checkpoint=store)
    assert receipt.rows_read == receipt.rows_acked + receipt.rows_skipped + receipt.rows_dead_lettered
    return receipt


def test_a_retry_sends_what_is_not_durable(server: LocalZerobus, source: Path) -> None:
    server.faults.add(action="fail", status="INTERNAL", message=3)
    with pytest.raises(ZerobusIngestError) as failed:
        deliver(server, source, options=IngestOptions(batch_rows=10, backoff=0.01, max_attempts=1))
    durable = failed.value.counts.rows_acked
    assert 0 < durable < 100
    server.faults.clear()
    retry = deliver(server, source)
    assert (retry.rows_skipped, retry.rows_acked) == (durable, 100 - durable)
    ids = server.read(TABLE)["id"].to_pylist()
    assert set(ids) == set(range(100))
    assert len(ids) - 100 <= retry.rows_resent


def test_a_cleared_delivery_sends_every_row(server: LocalZerobus, source: Path) -> None:
    deliver(server, source, epoch="1")
    assert deliver(server, source, epoch="1").rows_acked == 0
    assert deliver(server, source, epoch="2").rows_acked == 100


def test_a_changed_source_sends_every_row_and_says_why(
    server: LocalZerobus, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(server, source)
    source.write_text(source.read_text().replace('{"id": 0}', '{"id": 7}'))
    with caplog.at_level(logging.WARNING, "zerobus_core"):
        assert deliver(server, source).rows_acked == 100
    assert "starting at the first row: the source has changed" in caplog.text


def test_a_table_with_one_column_more_gets_every_row_and_the_log_says_why(
    server: LocalZerobus, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(server, source)
    server.sql(f"ALTER TABLE {TABLE} ADD COLUMN name STRING")
    with caplog.at_level(logging.WARNING, "zerobus_core"):
        receipt = deliver(server, source)
    assert (receipt.rows_acked, receipt.rows_resent, receipt.resumed_from) == (100, 100, None)
    assert "starting at the first row: the table's schema has changed" in caplog.text


def test_a_table_that_was_replaced_gets_every_row_and_the_log_says_why(
    server: LocalZerobus, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(server, source)
    server.sql(f"CREATE OR REPLACE TABLE {TABLE} (id BIGINT NOT NULL)")
    with caplog.at_level(logging.WARNING, "zerobus_core"):
        assert deliver(server, source).rows_acked == 100
    assert "starting at the first row: the checkpoint belongs to another table of this name" in caplog.text
    assert server.read(TABLE).num_rows == 100


def test_a_table_of_the_same_name_in_another_workspace_gets_every_row(
    server: LocalZerobus, source: Path, tmp_path: Path
) -> None:
    deliver(server, source)
    with LocalZerobus.start(tmp_path / "other") as other:
        other.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL)")
        assert deliver(other, source).rows_acked == 100
        assert other.read(TABLE).num_rows == 100


def test_a_column_that_is_gone_ends_the_delivery_without_a_retry(server: LocalZerobus, source: Path) -> None:
    ingest(server.workspace, TABLE, str(source), options=FAST)
    server.sql(f"DROP TABLE {TABLE}")
    server.create_table(f"CREATE TABLE {TABLE} (number BIGINT)")
    with pytest.raises((SchemaError, RejectedRecordError)) as failed:  # with the schema of the seconds before
        ingest(server.workspace, TABLE, str(source), options=FAST)
    assert not failed.value.retryable
    with pytest.raises(RecordError, match="id"):  # with what the table is now
        ingest(server.workspace, TABLE, str(source), options=FAST)


def test_equal_rows_of_deliveries_with_names_of_their_own_are_no_duplicates(server: LocalZerobus) -> None:
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT, delivery STRING, number BIGINT)")
    columns = {"delivery_id": "delivery", "row_number": "number"}
    for name in ("north", "south", "south"):  # the last one is sent once more
        options = IngestOptions(delivery_columns=columns, delivery_name=name, source_version="2026-01-01")
        ingest(server.workspace, TABLE, ({"id": n} for n in range(5)), options=options)
    rows = server.read(TABLE).select(["delivery", "number"]).to_pylist()
    assert len(rows) == 15
    assert len({tuple(row.values()) for row in rows}) == 10


def test_a_table_that_was_mended_takes_what_it_refused(server: LocalZerobus, source: Path) -> None:
    source.write_text('{"id": 1, "name": "a"}\n')
    with pytest.raises(RecordError, match="name"):
        deliver(server, source)
    server.sql(f"ALTER TABLE {TABLE} ADD COLUMN name STRING")
    assert deliver(server, source).rows_acked == 1


def test_a_bad_row_is_found_again_and_not_written_twice(server: LocalZerobus, source: Path) -> None:
    source.write_text(source.read_text() + '{"id": "x"}\n')
    letters = source.with_name("bad.jsonl")
    options = IngestOptions(batch_rows=10, on_bad_record="dead_letter", dead_letter_uri=str(letters))
    first, second = deliver(server, source, options=options), deliver(server, source, options=options)
    assert (first.rows_acked, first.rows_dead_lettered) == (100, 1)
    assert (second.rows_acked, second.rows_skipped, second.rows_dead_lettered) == (0, 100, 1)
    (letter,) = map(json.loads, letters.read_text().splitlines())
    assert (letter["row"], letter["record"]) == (100, {"id": "x"})
    letters.write_text(json.dumps(letter | {"record": {"id": 100}}))
    assert ingest(server.workspace, TABLE, str(letters)).rows_acked == 1
    assert sorted(server.read(TABLE)["id"].to_pylist()) == list(range(101))


def test_duplicates_are_counted_and_the_printed_sql_takes_them_out(server: LocalZerobus, source: Path) -> None:
    server.sql(f"ALTER TABLE {TABLE} ADD COLUMNS (delivery_id STRING, row_number BIGINT)")
    server.faults.add(action="cut", at="after_commit", stream=1, message=4)
    columns = {"delivery_id": "delivery_id", "row_number": "row_number"}
    receipt = deliver(server, source, options=IngestOptions(batch_rows=10, backoff=0.01, delivery_columns=columns))
    stored = server.read(TABLE)
    assert 0 < stored.num_rows - 100 <= receipt.rows_resent
    statement = sqlglot.parse_one(dedup_view_sql(TABLE, ["delivery_id", "row_number"]), read="databricks")
    query = statement.expression.sql("duckdb").replace('"main"."default"."t"', "stored")
    with duckdb.connect() as database:
        database.register("stored", stored)
        rows = database.sql(query).to_arrow_table()
    assert sorted(rows["id"].to_pylist()) == list(range(100))


def test_every_link_and_anchor_of_the_pages_leads_somewhere() -> None:
    pages = {path: path.read_text() for path in DOCS.rglob("*.md")}
    anchors = {
        path: {
            re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)
        }
        for path, text in pages.items()
    }
    missing = []
    for path, text in pages.items():
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            name, _, anchor = target.partition("#")
            page = (path.parent / name).resolve() if name else path
            if not page.exists() or (anchor and anchor not in anchors[page]):
                missing.append(f"{path.name}: {target}")
    assert missing == []


def test_every_flag_and_command_that_the_page_names_is_there() -> None:
    text = (DOCS / "cli.md").read_text()
    runner = cli_runner()
    commands = {name: runner.invoke(main, [name, "--help"]).stdout for name in main.commands}
    for name, group in main.commands.items():
        for inner in getattr(group, "commands", ()):
            commands[name] += runner.invoke(main, [name, inner, "--help"]).stdout
    assert set(re.findall(r"zerobus-ingest ([a-z][\w-]*)", text)) == set(commands)
    flags = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text))
    assert {flag for flag in flags if not any(flag in help_text for help_text in commands.values())} == set()
