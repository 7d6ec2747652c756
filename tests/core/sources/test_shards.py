"""Shards of files: disjoint, complete, balanced, and refused once the files have changed."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import guarded_files  # noqa: F401 - registers a file system
from tests.fast import examples
from zerobus_core import (
    ConfigurationError,
    IngestInterruptedError,
    IngestOptions,
    ingest,
    read_shard,
    split_source,
)
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.shards.balance import balanced
from zerobus_core.sources.shards.form import start_delay
from zerobus_local import LocalZerobus


def ids_of(shard: dict) -> list[int]:
    """The ids in a shard that went through JSON, as through a host's storage."""
    source = source_of(json.loads(json.dumps(shard)), IngestOptions())
    rows = [chunk.rows for chunk in source.chunks(RowRanges())]
    return [row["id"] for part in rows for row in (part.to_pylist() if hasattr(part, "to_pylist") else part)]


def files_in(folder: Path, sizes: list[int]) -> int:
    first = 0
    for number, size in enumerate(sizes):
        lines = "".join(f'{{"id": {row}}}\n' for row in range(first, first + size))
        (folder / f"{number:04d}.jsonl").write_text(lines)
        first += size
    return first


@settings(max_examples=examples(200))
@given(st.lists(st.integers(0, 1_000), max_size=60), st.integers(1, 12))
def test_units_are_spread_without_a_gap_or_an_overlap(sizes: list[int], shards: int) -> None:
    groups = balanced(sizes, shards)
    assert sorted(index for group in groups for index in group) == list(range(len(sizes)))
    assert len(groups) == min(shards, len(sizes))
    assert all(groups)


def test_the_largest_of_eight_shards_of_skewed_files_is_close_to_the_mean() -> None:
    sizes = [int(1_000 * 1.006**number) for number in range(1_000)]
    loads = [sum(sizes[index] for index in group) for group in balanced(sizes, 8)]
    assert max(loads) <= 1.2 * sum(loads) / len(loads)


@pytest.mark.parametrize("n", [1, 3, 8, 50])
def test_shards_of_files_hold_every_row_once(tmp_path: Path, n: int) -> None:
    total = files_in(tmp_path, [1, 50, 3, 700, 20, 20, 5, 9])
    shards = split_source(str(tmp_path), n)
    assert len(shards) == min(n, 8)
    assert sorted(row for shard in shards for row in ids_of(shard)) == list(range(total))
    assert all(len(json.dumps(shard)) < 600 for shard in shards)
    assert split_source(str(tmp_path), n) == shards


@pytest.mark.parametrize("n", [2, 5])
def test_one_large_parquet_file_is_cut_between_its_row_groups(tmp_path: Path, n: int) -> None:
    table = pa.table({"id": range(20_000), "note": [f"note {row % 977}" for row in range(20_000)]})
    pq.write_table(table, tmp_path / "one.parquet", row_group_size=500)
    shards = split_source(tmp_path / "one.parquet", n)
    parts = [ids_of(shard) for shard in shards]
    assert len(parts) == n
    assert sorted(row for part in parts for row in part) == list(range(20_000))
    assert max(map(len, parts)) <= 1.2 * 20_000 / n
    source = source_of(shards[-1], IngestOptions())
    assert source.total_rows == len(parts[-1])
    skipped = RowRanges([(0, 700)])
    rest = [row for chunk in source.chunks(skipped) for row in chunk.rows.column("id").to_pylist()]
    assert rest == parts[-1][700:]


def test_a_shard_names_the_row_in_its_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": range(1_000)}), tmp_path / "one.parquet", row_group_size=100)
    shard = split_source(tmp_path / "one.parquet", 2)[1]
    source = source_of(shard, IngestOptions())
    first = next(iter(source.chunks(RowRanges()))).rows.column("id")[0].as_py()
    assert source.locate(0).endswith(f"one.parquet, row {first}")


def test_shards_of_one_source_have_fingerprints_of_their_own(tmp_path: Path) -> None:
    files_in(tmp_path, [5] * 6)
    prints = {source_of(shard, IngestOptions()).fingerprint for shard in split_source(str(tmp_path), 3)}
    assert len(prints) == 3


@pytest.mark.parametrize("change", ["added", "removed", "changed"])
def test_a_shard_of_files_that_changed_since_the_split_is_refused(tmp_path: Path, change: str) -> None:
    files_in(tmp_path, [5] * 4)
    shard = split_source(str(tmp_path), 2)[0]
    if change == "added":
        (tmp_path / "0009.jsonl").write_text('{"id": 99}\n')
    elif change == "removed":
        (tmp_path / "0003.jsonl").unlink()
    else:
        (tmp_path / "0003.jsonl").write_text('{"id": 99}\n')
    with pytest.raises(ConfigurationError, match="not those that were split"):
        source_of(shard, IngestOptions())


def test_shards_hold_no_secret_of_the_uri_that_was_split_and_are_read_with_it(tmp_path: Path) -> None:
    total = files_in(tmp_path, [5] * 4)
    source = f"guarded://me:S3CR3T@host{tmp_path}/*.jsonl?sig=S3CR3T"
    shards = split_source(source, 2)
    assert "S3CR3T" not in json.dumps(shards)
    with pytest.raises(ConfigurationError, match=r"holds a secret.*read_shard\(source, shard\)"):
        source_of(shards[0], IngestOptions())
    kept = json.loads(json.dumps(shards))
    read = [source_of(read_shard(source, shard), IngestOptions()) for shard in kept]
    rows = [row["id"] for one in read for chunk in one.chunks(RowRanges()) for row in chunk.rows]
    assert sorted(rows) == list(range(total))


def test_an_empty_list_of_files_has_no_shards() -> None:
    assert split_source([], 2) == []


def test_an_empty_glob_has_no_shards(tmp_path: Path) -> None:
    assert split_source(f"{tmp_path}/*.parquet", 4) == []


@pytest.mark.parametrize("n", [0, -1, True, 2.0, "3", 10_001])
def test_a_number_of_shards_that_is_not_possible_is_refused(tmp_path: Path, n: object) -> None:
    with pytest.raises(ConfigurationError, match="n must be a whole number"):
        split_source(str(tmp_path), n)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [[{"id": 1}], 5, None, "no such thing"])
def test_a_source_that_is_not_files_is_refused(source: object) -> None:
    with pytest.raises(ConfigurationError, match="source must be a path or URI of files"):
        split_source(source, 2)


def test_a_long_list_of_paths_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give their directory or a glob"):
        split_source([f"{tmp_path}/{number}.jsonl" for number in range(500)], 2)


def test_a_shard_of_another_release_is_refused(tmp_path: Path) -> None:
    files_in(tmp_path, [5] * 4)
    shard = split_source(str(tmp_path), 2)[0] | {"zerobus_shard": 1}
    with pytest.raises(ConfigurationError, match="split the source again"):
        source_of(shard, IngestOptions())


def test_a_hundred_thousand_small_files_are_split_evenly() -> None:
    sizes = [1_000 + 7 * number % 300 for number in range(100_000)]
    loads = [sum(sizes[index] for index in group) for group in balanced(sizes, 32)]
    assert sum(loads) == sum(sizes)
    assert max(loads) <= 1.001 * sum(loads) / len(loads)


def test_shards_of_many_streams_begin_at_different_times() -> None:
    shard = {"of": 40}
    assert start_delay({"of": 1}, streams=64) == 0.0
    assert start_delay(shard, streams=1, draw=lambda low, high: high) == 0.5
    assert start_delay(shard, streams=4, draw=lambda low, high: high) == 120.0


def test_a_shard_that_waits_for_its_turn_can_be_stopped(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL)")
    files_in(tmp_path, [5] * 4)
    given = split_source(str(tmp_path), 2)[0]
    source = source_of(given, IngestOptions())
    source.start_delay = 600.0
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(IngestInterruptedError):
        ingest(zerobus.workspace, table_name, source, stop=stop)
    assert zerobus.read(table_name).num_rows == 0
