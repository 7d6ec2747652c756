"""Shards of pyarrow datasets: whole files and row groups, read with the dataset where they are delivered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fast import examples
from zerobus_core import ConfigurationError, IngestOptions, read_shard, split_source
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of


def ids_of(dataset: Any, shard: dict[str, Any]) -> list[int]:
    source = source_of(read_shard(dataset, json.loads(json.dumps(shard))), IngestOptions())
    return [row for chunk in source.chunks(RowRanges()) for row in chunk.rows.column("id").to_pylist()]


def written(folder: Path, sizes: list[int]) -> int:
    folder.mkdir(exist_ok=True)
    first = 0
    for number, size in enumerate(sizes):
        table = pa.table({"id": pa.array(range(first, first + size), pa.int64())})
        pq.write_table(table, folder / f"{number:03d}.parquet", row_group_size=40)
        first += size
    return first


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=8), st.integers(1, 7))
def test_shards_of_a_dataset_hold_every_row_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], n: int
) -> None:
    folder = tmp_path_factory.mktemp("dataset")
    total = written(folder, sizes)
    dataset = ds.dataset(folder)
    shards = split_source(dataset, n)
    assert sorted(row for shard in shards for row in ids_of(dataset, shard)) == list(range(total))
    assert len(shards) <= n
    assert len({shard["fingerprint"] for shard in shards}) == len(shards)


def test_one_large_file_is_cut_and_its_shards_are_balanced(tmp_path: Path) -> None:
    table = pa.table({"id": range(20_000), "note": [f"note {row % 977}" for row in range(20_000)]})
    pq.write_table(table, tmp_path / "one.parquet", row_group_size=250)
    dataset = ds.dataset(tmp_path)
    parts = [ids_of(dataset, shard) for shard in split_source(dataset, 4)]
    assert max(map(len, parts)) <= 1.2 * 5_000
    assert sorted(row for part in parts for row in part) == list(range(20_000))


def test_partitions_of_a_dataset_are_columns_of_its_shards(tmp_path: Path) -> None:
    for month in range(4):
        written(tmp_path / f"month={month}", [100])
    dataset = ds.dataset(tmp_path, partitioning="hive")
    sources = [source_of(read_shard(dataset, shard), IngestOptions()) for shard in split_source(dataset, 2)]
    months = [row for one in sources for chunk in one.chunks(RowRanges()) for row in chunk.rows["month"].to_pylist()]
    assert sorted(months) == sorted([0, 1, 2, 3] * 100)


def test_a_dataset_that_changed_since_the_split_is_refused(tmp_path: Path) -> None:
    written(tmp_path, [100, 100])
    shard = split_source(ds.dataset(tmp_path), 2)[0]
    written(tmp_path, [100, 120])
    with pytest.raises(ConfigurationError, match="not the one that was split"):
        source_of(read_shard(ds.dataset(tmp_path), shard), IngestOptions())


def test_datasets_that_have_no_files_of_their_own_are_refused(tmp_path: Path) -> None:
    written(tmp_path, [100])
    for dataset in (ds.dataset(pa.table({"id": [1]})), ds.dataset(tmp_path).filter(ds.field("id") > 3)):
        with pytest.raises(ConfigurationError, match="only a dataset of whole files"):
            split_source(dataset, 2)
    with pytest.raises(ConfigurationError, match=r"read_shard\(dataset, shard\)"):
        source_of(split_source(ds.dataset(tmp_path), 2)[0], IngestOptions())
