"""Handoffs with other options: one test for each line of the table in the guide."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from zerobus_core import ConfigurationError, Handoff, IngestOptions, NewFiles, NewItems, NewRows, hand_over, ingest
from zerobus_core.handoffs import Owner
from zerobus_local import LocalZerobus


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def write(folder: Path, name: str, *rows: dict[str, Any]) -> None:
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_a_slice_whose_bad_rows_are_dead_letters_is_done_and_their_replay_leaves_the_state_alone(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, landing: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL)")
    letters = tmp_path / "letters.jsonl"
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(letters))

    def run() -> Any:
        return hand_over(
            zerobus.workspace, table_name, NewFiles(landing), state=tmp_path / "s.json", options=options
        )  # fmt: skip

    write(landing, "a.jsonl", {"id": 1}, {"id": "bad"}, {"id": 2})
    receipt = run()
    assert (receipt.rows_acked, receipt.rows_dead_lettered) == (2, 1)
    assert run().rows_read == 0
    before = (tmp_path / "s.json").read_bytes()
    fixed = [{**json.loads(line)["record"], "id": 3} for line in letters.read_text().splitlines()]
    assert ingest(zerobus.workspace, table_name, fixed).rows_acked == 1
    assert (tmp_path / "s.json").read_bytes() == before
    assert sorted(zerobus.read(table_name).column("id").to_pylist()) == [1, 2, 3]


def test_delivery_columns_are_the_same_when_a_slice_is_sent_again(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, landing: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, delivery STRING, row BIGINT)")
    options = IngestOptions(delivery_columns={"delivery_id": "delivery", "row_number": "row"})

    def run(chain: str, run: str = "run") -> Any:
        return Handoff(
            zerobus.workspace, table_name, NewFiles(landing), state=tmp_path / "s.json", options=options,
            owner=Owner(key=run, chain=chain),
        ).run()  # fmt: skip

    write(landing, "a.jsonl", {"id": 1}, {"id": 2})
    run("1")
    assert run("2").rows_redelivered == 2
    write(landing, "b.jsonl", {"id": 3}, {"id": 4})
    run("1", "another")
    rows = zerobus.read(table_name).to_pylist()
    keys = {(row["delivery"], row["row"]) for row in rows}
    assert (len(rows), len(keys)) == (6, 4)
    assert len({delivery for delivery, _ in keys}) == 2


def test_a_schema_change_in_an_open_slice_starts_the_slice_over_and_counts_that(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, landing: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, note STRING)")
    write(landing, "a.jsonl", *({"id": number} for number in range(20)))
    handoff = Handoff(zerobus.workspace, table_name, NewFiles(landing), state=tmp_path / "s.json")
    handoff.freeze()
    handoff.deliver()
    handoff._forget_work()  # as if its process had ended
    zerobus.sql(f"ALTER TABLE {table_name} ADD COLUMN later STRING")
    receipt = hand_over(zerobus.workspace, table_name, NewFiles(landing), state=tmp_path / "s.json")
    assert (receipt.rows_acked, receipt.rows_skipped, receipt.rows_resent) == (20, 0, 20)
    assert zerobus.read(table_name).num_rows == 40


def test_items_that_cannot_be_repeated_are_sent_again_and_counted(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    attempts = 0

    def fetch(since: Any, upto: Any) -> tuple[Any, int]:
        nonlocal attempts
        attempts += 1
        return ({"id": 100 * attempts + number} for number in range(10)), 10

    def handoff() -> Handoff:
        return Handoff(
            zerobus.workspace, table_name, NewItems(fetch, repeatable=False), state=tmp_path / "s.json",
            owner=Owner(key="run"),
        )  # fmt: skip

    first = handoff()
    first.freeze()
    first.deliver()
    receipt = handoff().run()
    assert (receipt.rows_acked, receipt.rows_skipped, receipt.rows_resent) == (10, 0, 10)
    assert zerobus.read(table_name).num_rows == 20


def test_rows_that_have_changed_start_the_slice_over_and_are_counted(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, version BIGINT)")
    file = tmp_path / "x.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE o (id INTEGER, version INTEGER)")
    connection.executemany("INSERT INTO o VALUES (?, 1)", [(number,) for number in range(30)])
    connection.commit()

    def handoff() -> Handoff:
        source = NewRows(lambda: sqlite3.connect(file), "SELECT * FROM o", column="version", key="id", lag_rows=0)
        return Handoff(zerobus.workspace, table_name, source, state=tmp_path / "s.json", owner=Owner(key="run"))

    first = handoff()
    first.freeze()
    first.deliver()
    connection.execute("UPDATE o SET version = 2 WHERE id < 5")
    connection.commit()
    receipt = handoff().run()
    assert (receipt.rows_acked, receipt.rows_resent) == (25, 25)
    source = NewRows(lambda: sqlite3.connect(file), "SELECT * FROM o", column="version", key="id", lag_rows=0)
    assert hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json").rows_acked == 5
    connection.close()
    stored = {(row["id"], row["version"]) for row in zerobus.read(table_name).to_pylist()}
    assert {(number, 2 if number < 5 else 1) for number in range(30)} <= stored


def test_other_items_on_a_retry_start_the_slice_over_and_are_counted(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    first_id = 0

    def fetch(since: Any, upto: Any) -> tuple[Any, int]:
        return ([{"id": number} for number in range(first_id, first_id + 1_500)], 1_500)

    def handoff() -> Handoff:
        return Handoff(
            zerobus.workspace, table_name, NewItems(fetch), state=tmp_path / "s.json", owner=Owner(key="run")
        )

    first = handoff()
    first.freeze()
    first.deliver()
    first_id = 100
    receipt = handoff().run()
    assert (receipt.rows_acked, receipt.rows_skipped, receipt.rows_resent) == (1_500, 0, 1_500)
    assert zerobus.read(table_name).num_rows == 3_000
    assert set(range(1_600)) == set(zerobus.read(table_name).column("id").to_pylist())


@pytest.mark.parametrize("options", [{"delivery_name": "mine"}, {"source_version": "1"}])
def test_names_of_deliveries_are_the_handoffs_own(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, landing: Path, options: Any
) -> None:
    with pytest.raises(ConfigurationError, match="leave both options out"):
        Handoff(zerobus.workspace, table_name, NewFiles(landing), state=tmp_path / "s.json", options=options)
