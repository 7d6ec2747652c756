"""Rows that only the service can tell are bad: found, named or put aside, with all others delivered."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import ConfigurationError, RecordError, RejectedRecordError
from zerobus_local import LocalZerobus

TABLE = "main.default.t"


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": i, "name": f"row {i}"} for i in range(count)]


@pytest.fixture
def poisoned(server: LocalZerobus) -> LocalZerobus:
    """A table whose constraint the client cannot see: every 997th row is refused."""
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL, name STRING)")
    server.sql(f"ALTER TABLE {TABLE} ADD CONSTRAINT taste CHECK (id % 997 <> 500)")
    return server


def poison(count: int) -> list[int]:
    return [i for i in range(count) if i % 997 == 500]


def ids(server: LocalZerobus) -> list[int]:
    found: list[int] = server.read(TABLE).column("id").to_pylist()
    return found


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
def test_dead_letters_hold_exactly_the_rows_that_the_service_refused(
    poisoned: LocalZerobus, tmp_path: Path, record_format: Any
) -> None:
    letters = tmp_path / "letters.jsonl"
    receipt = ingest(
        poisoned.workspace,
        TABLE,
        rows(4000),
        options=IngestOptions(
            record_format=record_format,
            batch_rows=400,
            on_bad_record="dead_letter",
            dead_letter_uri=str(letters),
        ),
    )
    held = [json.loads(line) for line in letters.read_text().splitlines()]
    assert sorted(letter["row"] for letter in held) == poison(4000)
    assert [letter["record"]["id"] for letter in held] == [letter["row"] for letter in held]
    assert sorted(set(ids(poisoned))) == sorted(set(range(4000)) - set(poison(4000)))
    assert receipt.rows_dead_lettered == len(poison(4000)) == 4
    assert receipt.rows_read == receipt.rows_acked + receipt.rows_dead_lettered == 4000
    opens = poisoned.faults.count_stream(TABLE) - 1
    assert opens <= 4 * 5


@pytest.mark.parametrize("streams", [1, 4])
def test_a_refusal_that_follows_no_acknowledgement_condemns_no_good_row(
    poisoned: LocalZerobus, tmp_path: Path, streams: int
) -> None:
    """The service may end a stream before it acknowledged what it stored: then the first suspect is innocent."""
    poisoned.faults.add(
        action="fail", status="INVALID_ARGUMENT", text="Invalid record", at="after_commit", message=3, stream=[1, 2]
    )
    poisoned.faults.add(action="withhold_ack", message=0, stream=6)
    letters = tmp_path / "letters.jsonl"
    receipt = ingest(
        poisoned.workspace,
        TABLE,
        rows(3000),
        options=IngestOptions(
            batch_rows=100,
            streams=streams,
            ack_timeout=2.0,
            on_bad_record="dead_letter",
            dead_letter_uri=str(letters),
        ),
    )
    assert sorted(json.loads(line)["row"] for line in letters.read_text().splitlines()) == poison(3000)
    found = ids(poisoned)
    assert set(found) == set(range(3000)) - set(poison(3000))
    assert len(found) - len(set(found)) <= receipt.rows_resent


def test_fail_mode_names_the_rows_after_the_rest_is_durable(poisoned: LocalZerobus) -> None:
    with pytest.raises(RejectedRecordError, match="taste") as caught:
        ingest(poisoned.workspace, TABLE, rows(1200), options=IngestOptions(batch_rows=300))
    assert caught.value.rows[0] == 500
    counts = caught.value.counts
    assert counts.rows_acked == len(set(ids(poisoned)))
    assert set(ids(poisoned)) >= set(range(500))
    assert counts.rows_not_durable == len(caught.value.rows) + (
        counts.rows_read - counts.rows_acked - len(caught.value.rows)
    )


def test_more_bad_rows_than_allowed_fail_the_delivery(poisoned: LocalZerobus, tmp_path: Path) -> None:
    options = IngestOptions(
        batch_rows=100,
        on_bad_record="dead_letter",
        dead_letter_uri=str(tmp_path / "letters.jsonl"),
        max_bad_records=2,
    )
    with pytest.raises(RecordError, match="max_bad_records=2"):
        ingest(poisoned.workspace, TABLE, rows(6000), options=options)


@pytest.mark.parametrize("on_bad_record", ["dead_letter", "fail"])
def test_a_table_that_refuses_everything_is_given_up_after_a_few_rows(
    server: LocalZerobus, tmp_path: Path, on_bad_record: Any
) -> None:
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL, name STRING)")
    server.sql(f"ALTER TABLE {TABLE} ADD CONSTRAINT never CHECK (id < 0)")
    letters = {"dead_letter_uri": str(tmp_path / "letters.jsonl")} if on_bad_record == "dead_letter" else {}
    options = IngestOptions(on_bad_record=on_bad_record, max_bad_records=2, **letters)  # type: ignore[arg-type]
    with pytest.raises((RecordError, RejectedRecordError)) as caught:
        ingest(server.workspace, TABLE, rows(5000), options=options)
    if isinstance(caught.value, RejectedRecordError):
        assert caught.value.rows == tuple(range(20))
        assert "and there may be more" in caught.value.message
    else:
        assert "max_bad_records=2 allows only 2" in caught.value.message
    assert server.faults.count_stream(TABLE) < 40
    assert caught.value.counts.rows_acked == 0


def test_a_refused_row_is_named_beside_one_that_does_not_fit(poisoned: LocalZerobus) -> None:
    def source() -> Iterator[dict[str, Any]]:
        yield from rows(600)
        yield {"id": 600, "name": 7}

    with pytest.raises(RecordError, match=r"row 600, field name(.|\n)*the service refused row 500"):
        ingest(poisoned.workspace, TABLE, source(), options=IngestOptions(batch_rows=200))


def test_rows_that_do_not_fit_and_rows_that_are_refused_end_in_one_file(poisoned: LocalZerobus, tmp_path: Path) -> None:
    letters = tmp_path / "letters.jsonl"
    records = rows(1000)
    records[7]["name"] = 7
    records[8]["surprise"] = True
    receipt = ingest(
        poisoned.workspace,
        TABLE,
        records,
        options=IngestOptions(batch_rows=200, on_bad_record="dead_letter", dead_letter_uri=str(letters)),
    )
    held = {json.loads(line)["row"]: json.loads(line) for line in letters.read_text().splitlines()}
    assert sorted(held) == [7, 8, 500]
    assert "surprise" in held[8]["error"]
    assert receipt.rows_dead_lettered == 3
    assert receipt.rows_acked == 997


def test_a_mended_file_of_letters_is_sent_again(poisoned: LocalZerobus, tmp_path: Path) -> None:
    letters = tmp_path / "letters.jsonl"
    options = IngestOptions(batch_rows=200, on_bad_record="dead_letter", dead_letter_uri=str(letters))
    ingest(poisoned.workspace, TABLE, rows(1000), options=options)
    poisoned.sql(f"ALTER TABLE {TABLE} DROP CONSTRAINT taste")
    receipt = ingest(poisoned.workspace, TABLE, str(letters))
    assert receipt.rows_acked == 1
    assert sorted(ids(poisoned)) == list(range(1000))


def test_a_dead_letter_file_that_cannot_be_written_is_refused_before_anything_is_sent(
    poisoned: LocalZerobus, tmp_path: Path
) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(ConfigurationError, match=r"folder\.jsonl"):
        ingest(
            poisoned.workspace,
            TABLE,
            rows(10),
            options=IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(tmp_path / "folder.jsonl")),
        )
    assert ids(poisoned) == []


@pytest.mark.slow
def test_few_poison_rows_among_many_cost_few_opens(server: LocalZerobus, tmp_path: Path) -> None:
    """POISON_ROWS=200000 makes it 37 bad rows, which takes minutes, since opens are bounded per minute."""
    count = int(os.environ.get("POISON_ROWS", "27000"))
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL, name STRING)")
    server.sql(f"ALTER TABLE {TABLE} ADD CONSTRAINT taste CHECK (id % 5405 <> 17)")
    bad = [i for i in range(count) if i % 5405 == 17]
    letters = tmp_path / "letters.jsonl"
    started = time.monotonic()
    receipt = ingest(
        server.workspace,
        TABLE,
        rows(count),
        options=IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(letters)),
    )
    opens = server.faults.count_stream(TABLE) - 1
    print(
        f"{len(bad)} of {count} rows refused: {opens} stream opens, {receipt.rows_resent} rows resent, "
        f"{time.monotonic() - started:.0f} s"
    )
    assert sorted(json.loads(line)["row"] for line in letters.read_text().splitlines()) == bad
    assert receipt.rows_acked == count - len(bad)
    assert set(ids(server)) == set(range(count)) - set(bad)
    assert opens < len(bad) * 20
