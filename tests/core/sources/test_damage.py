"""Damaged files are errors of ours that name the file; what users and signals raise stays as it is."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fastavro
import fsspec
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from zerobus_core import IngestOptions, TableSchema, ingest
from zerobus_core.errors import ConfigurationError, TransportError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.files.formats.json_lines import JsonLinesFormat
from zerobus_core.sources.files.source import files_source
from zerobus_local import LocalZerobus

FIVES = IngestOptions(batch_rows=5)
LINES = b"".join(b'{"n": %d}\n' % (n * 7_919 % 100_003) for n in range(50_000))
CSV = b"n\n" + b"".join(b"%d\n" % (n * 7_919 % 100_003) for n in range(50_000))


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return packed


def count(path: Path) -> int:
    return sum(len(chunk.rows) for chunk in source_of(path, IngestOptions()).chunks(RowRanges()))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd,
}  # fmt: skip


@pytest.mark.parametrize("extension", PACKERS)
@pytest.mark.parametrize(("name", "content"), [("x.csv", CSV), ("x.jsonl", LINES)])
def test_compressed_files_are_read_to_the_end_of_their_last_part(
    extension: str, name: str, content: bytes, tmp_path: Path
) -> None:
    half = content.index(b"\n", len(content) // 2) + 1
    pack = PACKERS[extension]
    assert count(written(tmp_path / f"{name}.{extension}", pack(content))) == 50_000
    assert count(written(tmp_path / f"2-{name}.{extension}", pack(content[:half]) + pack(content[half:]))) == 50_000


DAMAGES = [
    (extension, damage)
    for extension in PACKERS
    for damage in ("cut off", "cut off near the end", "overwritten", "no such format")
    # Zstandard's frames need not have a checksum; one without does not show bytes that were overwritten.
    if (extension, damage) != ("zst", "overwritten")
]


@pytest.mark.parametrize(("extension", "damage"), DAMAGES)
@pytest.mark.parametrize(("name", "content"), [("x.csv", CSV), ("x.jsonl", LINES)])
def test_a_damaged_compressed_file_is_named(
    extension: str, name: str, content: bytes, damage: str, tmp_path: Path
) -> None:
    packed = PACKERS[extension](content)
    half = len(packed) // 2
    damaged = {
        "cut off": packed[:half],
        "cut off near the end": packed[:-6],
        "overwritten": packed[:half] + b"\xff" * 100 + packed[half + 100 :],
        "no such format": b"garbage" * 10,
    }[damage]
    path = written(tmp_path / f"{name}.{extension}", damaged)
    with pytest.raises(ConfigurationError, match=f"cannot read .*{path.name}"):
        count(path)


@pytest.mark.parametrize("extension", PACKERS)
@pytest.mark.parametrize("place", ["first byte", "header", "body", "end"])
def test_a_damaged_later_part_of_a_compressed_file_is_never_left_out(
    extension: str, place: str, tmp_path: Path
) -> None:
    half = LINES.index(b"\n", len(LINES) // 2) + 1
    first, second = PACKERS[extension](LINES[:half]), bytearray(PACKERS[extension](LINES[half:]))
    at = {"first byte": 0, "header": 1, "body": len(second) // 2, "end": len(second) - 1}[place]
    second[at] ^= 0xFF
    if (extension, place) in {("zst", "body"), ("zst", "end")}:
        second = second[:at]  # without a checksum, only a frame that is cut off is known to be damaged
    with pytest.raises(ConfigurationError, match=f"cannot read .*x.jsonl.{extension}"):
        count(written(tmp_path / f"x.jsonl.{extension}", first + second))


@pytest.mark.parametrize("extension", ["gz", "bz2", "xz"])
def test_zeros_between_and_after_the_parts_of_a_compressed_file_are_padding(extension: str, tmp_path: Path) -> None:
    half = LINES.index(b"\n", len(LINES) // 2) + 1
    pack = PACKERS[extension]
    padded = b"".join(pack(part) + b"\0" * 200_000 for part in (LINES[:half], LINES[half:]))
    assert count(written(tmp_path / f"x.jsonl.{extension}", padded)) == 50_000


def test_a_file_that_was_cut_off_is_never_a_shorter_one(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (n INT)")
    path = written(tmp_path / "x.csv.zst", zstd(CSV)[:-5])
    with pytest.raises(ConfigurationError, match="x.csv.zst.*Truncated"):
        ingest(zerobus.workspace, table_name, path)


@pytest.mark.parametrize(
    "kind", [{"type": "long", "logicalType": "timestamp-micros"}, {"type": "int", "logicalType": "date"}]
)
def test_an_avro_value_that_python_has_not_is_told_with_its_file(kind: dict[str, str], tmp_path: Path) -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": kind}]}
    sink = io.BytesIO()
    fastavro.writer(sink, schema, [{"a": 2**62 if kind["type"] == "long" else 2**30}])
    with pytest.raises(ConfigurationError, match=r"cannot read .*x.avro: (Overflow|Value)Error"):
        count(written(tmp_path / "x.avro", sink.getvalue()))


class Storage(io.BytesIO):
    """A file whose second line cannot be read."""

    error: Callable[[], Exception]

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise self.error()
        self.seek(1)
        return b'{"n": 1}\n'


class DownloadError(Exception):
    __module__ = "aiohttp.client_exceptions"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (lambda: DownloadError("half"), TransportError, "cannot read .*x.jsonl after 1 row: Down"),
        (lambda: OSError(5, "gone"), TransportError, "cannot read .*x.jsonl after 1 row: OSError"),
        (lambda: IndexError("odd"), ConfigurationError, "cannot read .*x.jsonl after 1 row: IndexError: odd"),
        (lambda: ConfigurationError("ours"), ConfigurationError, "^ours$"),
    ],
)  # fmt: skip
def test_whatever_a_storage_or_a_decoder_raises_is_told_with_file_and_row(
    error: Callable[[], Exception], kind: type[Exception], message: str
) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("memory://damage/x.jsonl", b"{}\n")
    source = files_source("memory://damage/x.jsonl", IngestOptions(batch_rows=1), reader=_Opened(error))
    with pytest.raises(kind, match=message) as caught:
        list(source.chunks(RowRanges()))
    assert type(caught.value) is kind


class _Opened(JsonLinesFormat):
    """Reads lines from a storage that fails."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__()
        self._error = error

    def read(self, file: Any, wanted: Any, chunk_rows: int) -> Any:
        storage = Storage()
        storage.error = self._error  # type: ignore[method-assign]
        return super().read(_File(file.path, storage), wanted, chunk_rows)


class _File:
    def __init__(self, path: str, storage: Storage) -> None:
        self.shown, self.path, self.open = path, path, lambda: storage


class TerminatedError(Exception):
    pass


def _terminate(number: int, frame: object) -> None:
    raise TerminatedError


class Task:
    def terminate(self, number: int, frame: object) -> None:
        raise TerminatedError

    def __call__(self, number: int, frame: object) -> None:
        raise TerminatedError


def _with_reason(reason: str, number: int, frame: object) -> None:
    raise TerminatedError(reason)


@pytest.mark.parametrize("handler", [_terminate, Task().terminate, Task(), partial(_with_reason, "why")])
def test_what_the_handler_of_a_signal_raises_is_not_blamed_on_the_file(handler: Any, tmp_path: Path) -> None:
    def interrupted() -> Exception:
        os.kill(os.getpid(), signal.SIGUSR1)
        return IndexError("never raised")

    path = written(tmp_path / "x.jsonl", b"{}\n")
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(TerminatedError):
            list(files_source(str(path), FIVES, reader=_Opened(interrupted)).chunks(RowRanges()))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_a_users_own_rows_raise_is_theirs() -> None:
    def rows() -> Iterator[dict[str, int]]:
        yield {"n": 1}
        raise LookupError("theirs")

    with pytest.raises(LookupError, match="theirs"):
        list(source_of(rows(), FIVES).chunks(RowRanges()))


def test_a_deque_is_read_like_any_iterable() -> None:
    rows = [{"n": n} for n in range(7)]
    source = source_of(deque(rows), FIVES)
    assert [row for chunk in source.chunks(RowRanges([(0, 2)])) for row in chunk.rows] == rows[2:]


def test_messages_of_classes_that_no_module_holds_are_rows() -> None:
    schema = TableSchema.from_sql("CREATE TABLE main.default.t (n INT)")
    file = FileDescriptorProto.FromString(schema.descriptor_proto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(file.message_type[0].name))
    kind.__module__ = None  # type: ignore[assignment]  # as some versions of protobuf leave it
    messages = [kind(n=1), kind(n=2)]
    for records in (messages, iter(messages)):
        (chunk,) = source_of(records, FIVES).chunks(RowRanges())
        assert chunk.rows == messages
