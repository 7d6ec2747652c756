"""Files that end early are refused wherever their format can tell, and linked directories never just left out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather

from tests.fast import every
from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import ConfigurationError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd,
}  # fmt: skip


def rows_of(path: Path, content: bytes) -> int:
    path.write_bytes(content)
    return sum(len(chunk.rows) for chunk in source_of(path, IngestOptions()).chunks(RowRanges()))


@pytest.mark.parametrize("ending", COMPRESSORS)
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.arrow", "x.parquet", "x.avro"])
def test_a_compressed_file_of_no_bytes_is_refused(ending: str, name: str, tmp_path: Path) -> None:
    # The readers of Parquet and Avro have words of their own for it.
    reason = "the file is empty" if name in {"x.csv", "x.jsonl", "x.arrow"} else ""
    with pytest.raises(ConfigurationError, match=f"cannot read .*{reason}"):
        rows_of(tmp_path / f"{name}.{ending}", b"")


@pytest.mark.parametrize("ending", COMPRESSORS)
def test_an_empty_compressed_file_fails_a_delivery(
    ending: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (a INT)")
    (tmp_path / f"x.csv.{ending}").touch()
    with pytest.raises(ConfigurationError, match="the file is empty"):
        ingest(zerobus.workspace, table_name, tmp_path / f"x.csv.{ending}")


@pytest.mark.parametrize("ending", COMPRESSORS)
def test_a_compressed_file_is_read_with_all_of_its_streams_or_refused(ending: str, tmp_path: Path) -> None:
    compress, path = COMPRESSORS[ending], tmp_path / f"x.csv.{ending}"
    one, two = compress(b"a\n1\n2\n"), compress(b"3\n")
    assert rows_of(path, compress(b"")) == 0
    assert rows_of(path, one + compress(b"") + two) == 3
    for cut in range(1, len(one + two), every(1)):
        if cut != len(one):  # where a shorter file would also end
            with pytest.raises(ConfigurationError):
                rows_of(path, (one + two)[:cut])
    with pytest.raises(ConfigurationError):
        rows_of(path, one + b"garbage")


def arrow_stream(*, rows: int = 8, legacy: bool = False, compression: str | None = None) -> bytes:
    table = pa.table({"a": pa.array(range(rows), pa.int64()), "s": ["x"] * rows})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(use_legacy_format=legacy, compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
        stream.write_table(table, max_chunksize=2)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "options", [{}, {"legacy": True}, {"compression": "zstd"}, {"rows": 0}], ids=["new", "legacy", "zstd", "no rows"]
)
@pytest.mark.parametrize("name", ["x.arrows", "x.arrow.gz"])
def test_an_arrow_stream_is_read_to_its_end_mark_or_refused(name: str, options: Any, tmp_path: Path) -> None:
    written = arrow_stream(**options)
    pack = gzip.compress if name.endswith(".gz") else bytes
    assert rows_of(tmp_path / name, pack(written)) == options.get("rows", 8)
    for cut in range(0, len(written), every(1 if pack is bytes else 8)):
        with pytest.raises(ConfigurationError):
            rows_of(tmp_path / name, pack(written[:cut]))
    mark = 4 if "legacy" in options else 8
    with pytest.raises(ConfigurationError, match="without an end mark"):
        rows_of(tmp_path / name, pack(written[:-mark]))
    with pytest.raises(ConfigurationError, match="more bytes after the end"):
        rows_of(tmp_path / name, pack(written * 2))


@pytest.mark.parametrize("form", ["{}", "{}/**", "{}/**/*.csv", "{}/*", "{}/*/*.csv"])
def test_a_linked_directory_is_read_or_refused_and_never_left_out(form: str, tmp_path: Path) -> None:
    for folder in ("in", "elsewhere"):
        (tmp_path / folder / "deep").mkdir(parents=True)
        (tmp_path / folder / "deep" / "x.csv").write_text("a\n1\n")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "x.csv").write_text("a\n1\n")
    (tmp_path / "elsewhere" / "x.csv").write_text("a\n1\n")
    given = form.format(tmp_path / "in")
    rows = {"{}/*": 1, "{}/*/*.csv": 2}.get(form)
    if rows is None:
        with pytest.raises(ConfigurationError, match="in/link is a link to a directory"):
            source_of(given, IngestOptions())
    else:
        assert sum(len(chunk.rows) for chunk in source_of(given, IngestOptions()).chunks(RowRanges())) == rows


def test_a_hidden_linked_directory_is_left_out_as_hidden_ones_are(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    (tmp_path / "_staging").symlink_to(tmp_path)
    (tmp_path / ".cache").symlink_to(tmp_path)
    for form in ("{}", "{}/**", "{}/**/*.csv"):
        source = source_of(form.format(tmp_path), IngestOptions())
        assert sum(len(chunk.rows) for chunk in source.chunks(RowRanges())) == 1


@pytest.mark.parametrize("form", ["{}", "{}/*.csv", "{}/**"])
def test_a_pipe_among_files_is_refused_and_not_waited_for(form: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    os.mkfifo(tmp_path / "b.csv")
    with pytest.raises(ConfigurationError, match=r"b\.csv is not a regular file"):
        source_of(form.format(tmp_path), IngestOptions())


def arrow_file(
    rows: int = 5, *, dictionary: bool = False, legacy: bool = False, compression: str | None = None
) -> bytes:
    column = pa.array([str(number) for number in range(rows)])
    table = pa.table({"a": column.dictionary_encode() if dictionary else column})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(use_legacy_format=legacy, compression=compression)
    with pa.ipc.new_file(sink, table.schema, options=options) as stream:
        stream.write_table(table, max_chunksize=2)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("options", [{}, {"dictionary": True}, {"legacy": True}, {"compression": "zstd"}])
@pytest.mark.parametrize(("first", "second"), [(5, 5), (0, 5), (5, 0), (1, 4), (0, 0), (100, 1)])
@pytest.mark.parametrize("name", ["x.arrow", "x.feather.gz"])
def test_arrow_files_that_were_joined_together_are_refused(
    name: str, first: int, second: int, options: Any, tmp_path: Path
) -> None:
    one, two = arrow_file(first, **options), arrow_file(second, **options)
    pack = gzip.compress if name.endswith(".gz") else bytes
    for whole, rows in ((one, first), (two, second)):
        assert rows_of(tmp_path / name, pack(whole)) == rows
    for joined in (one + two, one + two + one, one + bytes(64) + two):
        with pytest.raises(ConfigurationError, match="joined together"):
            rows_of(tmp_path / name, pack(joined))


def test_files_of_other_writers_are_not_taken_for_joined_ones(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": list(range(1_000)), "l": [[1, None]] * 1_000})
    frame.write_ipc(tmp_path / "a.arrow")
    frame.write_ipc(tmp_path / "b.arrow", compression="lz4")
    feather.write_feather(frame.to_arrow(), tmp_path / "c.feather")
    source = source_of([tmp_path / name for name in ("a.arrow", "b.arrow", "c.feather")], IngestOptions())
    assert sum(len(chunk.rows) for chunk in source.chunks(RowRanges())) == 3_000


def test_what_a_format_cannot_tell_is_a_whole_file_of_fewer_rows(tmp_path: Path) -> None:
    """docs/sources.md lists these under one heading."""
    for ending, compress in COMPRESSORS.items():
        assert rows_of(tmp_path / f"x.csv.{ending}", compress(b"a\n1\n")) == 1  # of a file that went on
    assert rows_of(tmp_path / "x.arrow", arrow_file(5)) == 5  # the first of two
    whole, ends = avro_blocks()
    counts = []
    for stop in range(len(whole) + 1):
        try:
            counts.append((stop, rows_of(tmp_path / "x.avro", whole[:stop])))
        except ConfigurationError:
            continue
    assert [stop for stop, _ in counts] == ends
    assert [rows for _, rows in counts] == [2 * number for number in range(len(ends))]


def avro_blocks() -> tuple[bytes, list[int]]:
    """A file of three blocks of two rows, and where its header and each of its blocks end."""
    schema = fastavro.parse_schema({"type": "record", "name": "r", "fields": [{"name": "a", "type": "long"}]})
    sink = io.BytesIO()
    writer = fastavro.write.Writer(sink, schema, sync_interval=10**6)
    writer.flush()
    ends = [sink.tell()]
    for number in range(3):
        for row in range(2):
            writer.write({"a": number * 2 + row})
        writer.flush()
        ends.append(sink.tell())
    return sink.getvalue(), ends


def test_a_range_index_in_the_metadata_counts_in_the_order_of_the_rows_as_pandas_reads_it() -> None:
    frame = pd.DataFrame({"x": [3, 1, 2]}, index=pd.RangeIndex(10, 13, name="id"))
    table = pa.Table.from_pandas(frame).sort_by("x")
    (chunk,) = source_of(table, IngestOptions()).chunks(RowRanges())
    assert chunk.rows.to_pydict() == {"x": [1, 2, 3], "id": [10, 11, 12]}
    assert table.to_pandas().reset_index()[["x", "id"]].to_dict("list") == chunk.rows.to_pydict()
    (chunk,) = source_of(pa.Table.from_pandas(frame.reset_index()).sort_by("x"), IngestOptions()).chunks(RowRanges())
    assert chunk.rows.to_pydict() == {"id": [11, 12, 10], "x": [1, 2, 3]}
