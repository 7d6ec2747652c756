"""What an error says of the rows: how many are durable, and what another attempt will really do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zerobus_core import (
    FileCheckpointStore,
    IngestInterruptedError,
    IngestOptions,
    IngestTimeoutError,
    RecordError,
    StreamManager,
    TransportError,
    ZerobusIngestError,
    ingest,
)
from zerobus_local import LocalZerobus

TABLE = "main.default.t"
ROWS = [{"id": number} for number in range(20)]
SMALL = IngestOptions(batch_rows=5, max_attempts=2, backoff=0.01)


@pytest.fixture
def server(server: LocalZerobus) -> LocalZerobus:
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL)")
    return server


def interrupted(server: LocalZerobus, records: Any, **given: Any) -> ZerobusIngestError:
    """The error of a delivery that is stopped when 10 of its rows are acknowledged."""
    server.faults.add(action="withhold_ack", message=2)
    stop = threading.Event()

    def stop_at_ten(progress: Any) -> None:
        if progress.rows_acked >= 10:
            stop.set()

    with pytest.raises(IngestInterruptedError) as caught:
        ingest(server.workspace, TABLE, records, **{"options": SMALL} | given, stop=stop, on_progress=stop_at_ten)
    assert caught.value.counts.rows_acked == 10
    return caught.value


def test_without_a_checkpoint_an_interrupted_delivery_says_that_all_rows_are_sent_again(server: LocalZerobus) -> None:
    error = interrupted(server, ROWS)
    assert error.next_attempt == (
        "another attempt sends every row again, even the 10 that are durable: no checkpoint was given"
    )
    assert error.next_attempt in str(error)


def test_with_a_checkpoint_it_says_that_the_rest_is_sent_and_so_it_is(server: LocalZerobus, tmp_path: Path) -> None:
    store = FileCheckpointStore(tmp_path / "checkpoint.json")
    error = interrupted(server, ROWS, checkpoint=store)
    assert error.next_attempt == "another attempt with the same checkpoint sends only what is not durable"
    server.faults.clear()
    assert ingest(server.workspace, TABLE, ROWS, options=SMALL, checkpoint=store).rows_skipped == 10


def test_a_source_without_a_fingerprint_says_how_to_resume(server: LocalZerobus, tmp_path: Path) -> None:
    store = FileCheckpointStore(tmp_path / "checkpoint.json")
    error = interrupted(server, iter(ROWS), checkpoint=store)
    assert "the 10 that are durable: the source has no fingerprint; set source_version" in str(error)
    server.faults.clear()
    again = ingest(server.workspace, TABLE, iter(ROWS), options=SMALL, checkpoint=store)
    assert (again.rows_skipped, again.rows_acked) == (0, 20)


def test_an_error_before_anything_is_durable_says_nothing_of_another_attempt(server: LocalZerobus) -> None:
    server.faults.add(action="refuse_open", status="UNAVAILABLE")
    with pytest.raises(TransportError) as caught:
        ingest(server.workspace, TABLE, ROWS, options=SMALL)
    assert caught.value.next_attempt == ""
    assert "0 acknowledged, 0 durable before, " in str(caught.value)


def failing(error: BaseException) -> Iterator[dict[str, int]]:
    yield from ROWS[:10]
    raise error


@pytest.mark.parametrize("error", [ValueError("of the source"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_a_foreign_exception_gets_one_line_about_its_rows(server: LocalZerobus, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        ingest(server.workspace, TABLE, failing(error), options=SMALL)
    (line,) = caught.value.__notes__
    assert line.startswith(f"{TABLE}: of the 10 rows read ")
    durable = server.read(TABLE).num_rows
    if isinstance(error, ValueError):
        assert line.startswith(f"{TABLE}: of the 10 rows read 10 are durable and 0 are not durable")
        assert durable == 10


def test_a_source_that_fails_at_its_first_row_says_that_no_row_was_sent(server: LocalZerobus) -> None:
    def rows() -> Iterator[dict[str, int]]:
        yield from [{"id": 1}][:0]
        raise ValueError("of the source")

    with pytest.raises(ValueError, match="of the source") as caught:
        ingest(server.workspace, TABLE, rows(), options=SMALL)
    assert caught.value.__notes__ == [f"{TABLE}: no row was sent"]


def test_an_exception_in_the_block_of_a_stream_manager_gets_the_line_too(server: LocalZerobus) -> None:
    def deliver() -> None:
        with StreamManager(server.workspace, TABLE) as streams:
            streams.send(ROWS)
            streams.flush()
            raise ValueError("of the user")

    with pytest.raises(ValueError, match="of the user") as caught:
        deliver()
    assert caught.value.__notes__ == [
        f"{TABLE}: of the 20 rows read 20 are durable and 0 are not durable; another attempt sends every row again, "
        "even the 20 that are durable: no checkpoint was given"
    ]


def test_a_timeout_says_how_many_rows_are_durable(server: LocalZerobus) -> None:
    server.faults.add(action="withhold_ack", message=2)
    with pytest.raises(IngestTimeoutError, match=r"20 rows read, 10 acknowledged, 0 durable before, 10 not durable"):
        ingest(server.workspace, TABLE, ROWS, options=IngestOptions(batch_rows=5, timeout=2.0))


def test_dead_letters_that_were_not_written_are_not_counted_as_written(server: LocalZerobus, tmp_path: Path) -> None:
    letters = tmp_path / "letters" / "bad.jsonl"

    def rows() -> Iterator[dict[str, Any]]:
        yield from ROWS[:3]
        yield from [{"id": "x"}, {"id": "y"}, {"id": "z"}]
        letters.parent.rmdir()  # made by the delivery, and gone before the first letter is written
        letters.parent.write_text("a file is in the way")

    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(letters))
    with pytest.raises(ZerobusIngestError) as caught:
        ingest(server.workspace, TABLE, rows(), options=options)
    counts = caught.value.counts
    assert not isinstance(caught.value, RecordError)
    assert (counts.rows_read, counts.rows_acked, counts.rows_dead_lettered, counts.rows_not_durable) == (6, 3, 0, 3)
    assert "3 not durable]" in str(caught.value)
