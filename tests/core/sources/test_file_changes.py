"""Files that change: while they are read, and between two tries."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from zerobus_core import IngestOptions
from zerobus_core.errors import ConfigurationError, TransportError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.files.finding.found import _found

ROWS = 100_000
OPTIONS = IngestOptions(batch_rows=1_000)


def lines(base: int) -> bytes:
    return b"".join(b'{"id": %d}\n' % (base + n) for n in range(ROWS))


def cells(base: int) -> bytes:
    return b"id\n" + b"".join(b"%d\n" % (base + n) for n in range(ROWS))


def ipc(base: int) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"id": range(base, base + ROWS)})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1_000)
    return sink.getvalue()


def parquet(base: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": range(base, base + ROWS)}), sink, row_group_size=1_000)
    return sink.getvalue()


FORMATS: dict[str, Callable[[int], bytes]] = {
    "x.jsonl": lines, "x.csv": cells, "x.arrow": ipc, "x.parquet": parquet,
}  # fmt: skip


def overwritten(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


def appended(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def cut_off(path: Path, content: bytes) -> None:
    os.truncate(path, len(content) // 2)


def removed(path: Path, content: bytes) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [overwritten, appended, cut_off, removed])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_changes_while_it_is_read_is_no_success(
    name: str, change: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(FORMATS[name](1_000_000))
    chunks = source_of(path, OPTIONS).chunks(RowRanges())
    next(chunks)
    _wait_for_the_clock(path)
    change(path, FORMATS[name](5_000_000))
    with pytest.raises(TransportError, match=f"{name} was changed or removed while it was read"):
        list(chunks)


def test_a_file_of_another_file_system_that_changes_while_it_is_read_is_no_success() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("memory://changes/x.jsonl", lines(1_000_000))
    chunks = source_of("memory://changes/x.jsonl", OPTIONS).chunks(RowRanges())
    next(chunks)
    fs.pipe_file("memory://changes/x.jsonl", lines(5_000_000))
    with pytest.raises(TransportError, match="while it was read"):
        list(chunks)


def test_a_file_that_stays_as_it_is_is_read_to_its_end(tmp_path: Path) -> None:
    for name, content in FORMATS.items():
        (tmp_path / name).write_bytes(content(0))
        (tmp_path / f"to-{name}").symlink_to(tmp_path / name)
        for path in (tmp_path / name, tmp_path / f"to-{name}"):
            assert sum(len(chunk.rows) for chunk in source_of(path, OPTIONS).chunks(RowRanges())) == ROWS


def test_a_dataset_whose_file_changes_while_it_is_read_is_no_success(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(parquet(1_000_000))
    chunks = source_of(ds.dataset(path), OPTIONS).chunks(RowRanges())
    next(chunks)
    _wait_for_the_clock(path)
    appended(path, b"more")
    with pytest.raises(TransportError, match=r"x.parquet was changed or removed while it was read"):
        list(chunks)


def test_a_damaged_file_of_a_dataset_is_named_before_it_is_read(tmp_path: Path) -> None:
    for name in ("1.parquet", "2.parquet"):
        pq.write_table(pa.table({"id": [1, 2]}), tmp_path / name)
    (tmp_path / "2.parquet").write_bytes(b"garbage")
    source = source_of(ds.dataset(tmp_path), OPTIONS)
    for ask in (lambda: source.total_rows, lambda: source.fingerprint):
        with pytest.raises(ConfigurationError, match=r"cannot read .*2.parquet"):
            ask()


def test_a_pipe_has_no_fingerprint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jsonl")
    assert source_of(tmp_path / "x.jsonl", OPTIONS).fingerprint is None


def _wait_for_the_clock(path: Path) -> None:
    """File systems keep times in steps of a few milliseconds."""
    probe = path.with_name("probe")
    probe.write_bytes(b"")
    while probe.stat().st_ctime_ns <= path.stat().st_ctime_ns:
        time.sleep(0.001)
        probe.write_bytes(b"")


def _with_times_kept(path: Path, change: Callable[[], None]) -> None:
    status = path.stat()
    _wait_for_the_clock(path)
    change()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_other_content_of_the_same_size_and_time_has_another_fingerprint(tmp_path: Path) -> None:
    path, link = tmp_path / "x.csv", tmp_path / "link.csv"
    link.symlink_to(path)
    for given in (path, link):
        path.write_bytes(b"id\n1\n")
        before = source_of(given, OPTIONS).fingerprint
        assert before == source_of(given, OPTIONS).fingerprint
        _with_times_kept(path, lambda: overwritten(path, b"id\n2\n"))
        assert before != source_of(given, OPTIONS).fingerprint


def test_a_time_that_differs_by_less_than_a_float_tells_is_another(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"id\n1\n")
    found = set()
    for nanoseconds in (0, 50):
        os.utime(path, ns=(0, 1_700_000_000_000_000_000 + nanoseconds))
        found.add(source_of(path, OPTIONS).fingerprint)
    assert len(found) == 2


def test_a_dataset_whose_file_was_replaced_with_its_time_kept_has_another_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": [1, 2]}), path)
    before = source_of(ds.dataset(path), OPTIONS).fingerprint
    assert before == source_of(ds.dataset(path), OPTIONS).fingerprint is not None
    _with_times_kept(path, lambda: pq.write_table(pa.table({"id": [3, 4]}), path))
    assert before != source_of(ds.dataset(path), OPTIONS).fingerprint


def write_tar(path: Path, content: bytes) -> None:
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("x.jsonl")  # of 1970, as programs write that make the same archive each time
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def write_zip(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("x.jsonl"), content)


@pytest.mark.parametrize(("kind", "write"), [("tar", write_tar), ("zip", write_zip)])
def test_a_member_changes_with_its_archive(kind: str, write: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    write(path, b'{"id": 1}\n')
    uri = f"{kind}://x.jsonl::{path}"
    before = source_of(uri, OPTIONS).fingerprint
    assert before == source_of(uri, OPTIONS).fingerprint is not None
    _wait_for_the_clock(path)
    write(path, b'{"id": 2}\n')
    assert before != source_of(uri, OPTIONS).fingerprint


def test_a_member_without_a_time_in_an_archive_without_a_version_has_no_fingerprint() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x.jsonl"))
    sink.seek(0)
    fs = fsspec.filesystem("tar", fo=sink)
    assert _found(fs, fs.info("x.jsonl"), "").version is None


def subset(path: Path, groups: list[int]) -> ds.Dataset:
    dataset = ds.dataset(path)
    (fragment,) = dataset.get_fragments()
    return ds.FileSystemDataset(
        [fragment.subset(row_group_ids=groups)], dataset.schema, dataset.format, dataset.filesystem
    )


def test_other_row_groups_of_the_same_files_are_another_source(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": range(4)}), path, row_group_size=1)
    found = [source_of(subset(path, groups), OPTIONS).fingerprint for groups in ([0, 1], [2, 3], [0, 1, 2, 3])]
    assert len(set(found)) == 3
    assert found[2] == source_of(ds.dataset(path), OPTIONS).fingerprint


def test_row_groups_of_a_file_are_counted_and_skipped_by_themselves(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": range(40)}), path, row_group_size=10)
    source = source_of(subset(path, [2, 3]), OPTIONS)
    assert source.total_rows == 20
    for durable in (0, 5, 20):
        chunks = list(source.chunks(RowRanges([(0, durable)])))
        assert [n for chunk in chunks for n in pa.table(chunk.rows)["id"].to_pylist()] == list(range(20 + durable, 40))


def test_another_way_to_read_the_same_files_is_another_source(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(cells(0))
    formats = [
        ds.CsvFileFormat(),
        ds.CsvFileFormat(read_options=csv.ReadOptions(skip_rows=1, column_names=["id"])),
        ds.CsvFileFormat(read_options=csv.ReadOptions(skip_rows=2, column_names=["id"])),
        ds.CsvFileFormat(parse_options=csv.ParseOptions(delimiter=";")),
        ds.CsvFileFormat(convert_options=csv.ConvertOptions(null_values=["1"])),
    ]
    found = [source_of(ds.dataset(path, format=way), OPTIONS).fingerprint for way in formats]
    assert None not in found
    assert len(set(found)) == len(formats)
    assert found == [source_of(ds.dataset(path, format=way), OPTIONS).fingerprint for way in formats]


def test_a_file_that_only_gets_another_mode_or_name_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"id": {n}}}\n' for n in range(100)))
    chunks = source_of(str(path), IngestOptions(batch_rows=10)).chunks(RowRanges())
    rows = len(next(chunks).rows)
    path.chmod(0o600)
    path.with_name("link.jsonl").hardlink_to(path)
    assert rows + sum(len(chunk.rows) for chunk in chunks) == 100


def test_a_dataset_has_the_same_fingerprint_in_each_process(tmp_path: Path) -> None:
    pq.write_table(pa.table({name: ["x"] for name in "abcdef"}), tmp_path / "rows.parquet")
    script = (
        "import sys, pyarrow.dataset as ds\n"
        "from zerobus_core import IngestOptions\n"
        "from zerobus_core.sources import source_of\n"
        "form = ds.ParquetFileFormat(dictionary_columns=set('abcdef'))\n"
        "print(source_of(ds.dataset(sys.argv[1], format=form), IngestOptions()).fingerprint)\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in "1234"
    }
    assert len(found) == 1
    assert found.pop().startswith("dataset:1:")
