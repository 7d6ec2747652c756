"""Arrow data whose memory is changed once it was handed over, as callers and generators that keep one buffer do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from zerobus_core import IngestOptions, StreamManager, ingest
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.arrow.arrow import copy_batch
from zerobus_local import LocalZerobus

ROWS, PIECES = 1_000, 20


def frames() -> Iterator[pd.DataFrame]:
    frame = pd.DataFrame({"id": np.arange(ROWS)})
    for _ in range(PIECES):
        yield frame
        frame.loc[:, "id"] += ROWS


def tables() -> Iterator[pa.Table]:
    numbers = np.arange(ROWS)
    for _ in range(PIECES):
        yield pa.table({"id": numbers})
        numbers += ROWS


def batches() -> Iterator[pa.RecordBatch]:
    numbers = np.arange(ROWS)
    for _ in range(PIECES):
        yield pa.record_batch({"id": numbers})
        numbers += ROWS


@pytest.mark.parametrize("make", [frames, tables, batches])
@pytest.mark.parametrize("batch_rows", [100, ROWS, 5 * ROWS])
def test_a_generator_may_change_what_it_yielded_once_the_next_is_asked_for(
    make: Callable[[], Iterator[Any]], batch_rows: int
) -> None:
    chunks = list(source_of(make(), IngestOptions(batch_rows=batch_rows)).chunks(RowRanges()))
    assert [row["id"] for chunk in chunks for row in chunk.rows.to_pylist()] == list(range(ROWS * PIECES))  # type: ignore[union-attr]


@pytest.mark.parametrize("make", [frames, tables])
def test_rows_that_are_sent_again_are_those_that_were_yielded(
    make: Callable[[], Iterator[Any]], zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    zerobus.faults.add({"action": "cut", "at": "before_commit", "table": table_name, "message": 2, "times": 1})
    ingest(zerobus.workspace, table_name, make(), options=IngestOptions(batch_rows=ROWS))
    assert set(zerobus.read(table_name)["id"].to_pylist()) == set(range(ROWS * PIECES))


def test_what_was_given_to_send_may_be_changed_after_it(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    zerobus.faults.add({"action": "cut", "at": "before_commit", "table": table_name, "message": 1, "times": 1})
    frame, numbers = pd.DataFrame({"id": np.arange(ROWS)}), np.arange(ROWS, 2 * ROWS)
    with StreamManager(zerobus.workspace, table_name) as streams:
        for _ in range(PIECES // 2):
            streams.send(frame)
            frame.loc[:, "id"] += 2 * ROWS
            streams.send(pa.table({"id": numbers}))
            numbers += 2 * ROWS
    assert set(zerobus.read(table_name)["id"].to_pylist()) == set(range(ROWS * PIECES))


def test_a_copy_of_a_slice_holds_the_slice_alone() -> None:
    whole = {
        "n": np.arange(100_000),
        "s": pa.array([f"word {n}" for n in range(100_000)]),
        "l": pa.array([[n] for n in range(100_000)]),
        "d": pa.repeat("x", 100_000).dictionary_encode(),
    }
    batch = pa.record_batch(whole).slice(50_000, 10)
    copy = copy_batch(batch)
    assert copy.equals(batch)
    assert copy.get_total_buffer_size() < 10_000
    empty = pa.table({"n": [1, 2, 3]}).select([]).to_batches()[0]
    assert len(copy_batch(empty)) == len(empty)


def test_a_dictionary_of_a_dictionary_is_copied_as_well() -> None:
    names = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", "b"]))
    batch = pa.RecordBatch.from_arrays([pa.DictionaryArray.from_arrays(pa.array([1, 0]), names)], ["name"])
    assert copy_batch(batch)["name"].to_pylist() == ["b", "a"]
