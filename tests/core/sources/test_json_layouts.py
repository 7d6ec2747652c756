"""JSON files that are not one object per line: arrays, and objects that are written over several lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fast import examples
from zerobus_core import IngestOptions, JsonFormat, ingest
from zerobus_core.errors import ConfigurationError, RecordError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.files.formats.json_texts import json_texts
from zerobus_local import LocalZerobus

ROWS = [
    {"id": 1, "t": 'a "quoted" ] } text \\', "o": {"l": [1, {"x": [2]}], "m": {}}},
    {"id": 2, "t": "[{,", "o": None},
    {"id": 3, "t": "two\nlines é", "o": {"l": [], "m": {"k": "v"}}},
]


def rows_of(path: Path, content: bytes, given: Any = None, skip: RowRanges | None = None) -> list[tuple[int, Any]]:
    path.write_bytes(content)
    source = source_of(path, IngestOptions(batch_rows=2, format=given))
    chunks = list(source.chunks(skip or RowRanges()))
    return [(chunk.first_row + at, row) for chunk in chunks for at, row in enumerate(chunk.rows)]


LAYOUTS = {
    "lines": "\n".join(map(json.dumps, ROWS)),
    "array": json.dumps(ROWS),
    "array over lines": json.dumps(ROWS, indent=2),
    "array of lines": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "objects over lines": "\n".join(json.dumps(row, indent=4) for row in ROWS) + "\n",
    "objects over lines without ends": "".join(json.dumps(row, indent=1) for row in ROWS),
    "with a byte order mark": "\ufeff \n" + json.dumps(ROWS, ensure_ascii=False),
}


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.json.gz"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_same_rows_at_the_same_positions(layout: str, name: str, tmp_path: Path) -> None:
    content = LAYOUTS[layout].encode()
    content = gzip.compress(content) if name.endswith(".gz") else content
    assert rows_of(tmp_path / name, content) == list(enumerate(ROWS))
    assert rows_of(tmp_path / name, content, skip=RowRanges([(0, 1), (2, 3)])) == [(1, ROWS[1])]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('"\\[]{}, \n:é'), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab{[", max_size=2), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "]"]), VALUES, max_size=3), max_size=5)


@settings(max_examples=examples(300), deadline=None)
@given(rows=OBJECTS, is_array=st.booleans(), indent=st.sampled_from([None, 0, 2]), size=st.integers(1, 40))
def test_the_values_are_found_however_the_text_is_cut_into_blocks(
    rows: list[Any], is_array: bool, indent: int | None, size: int
) -> None:
    dump = json.dumps(rows, indent=indent) if is_array else "\n".join(json.dumps(row, indent=indent) for row in rows)
    data = dump.encode()
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    texts = json_texts(blocks, "x", is_array=is_array, max_bytes=10_000)
    assert [json.loads(text) for text in texts if text is not None] == rows


@pytest.mark.parametrize("layout", ["array", "array over lines", "objects over lines"])
def test_a_file_that_was_cut_off_is_never_a_shorter_one(layout: str, tmp_path: Path) -> None:
    content = LAYOUTS[layout].rstrip().encode()
    whole = {len(content)} if "objects" not in layout else set()
    if not whole:  # objects that are complete are all that such a file has at that place
        at = 0
        for row in ROWS:
            at += len(json.dumps(row, indent=4).encode())
            whole |= {at, at + 1}
            at += 1
    for cut in range(2, len(content)):
        if cut not in whole:
            with pytest.raises(ConfigurationError, match="x.json"):
                rows_of(tmp_path / "x.json", content[:cut])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"a": 1},]', "has a comma but no value after value 0"),
        (b'[,{"a": 1}]', "has a comma but no value before its first value"),
        (b'[{"a": 1},,{"a": 2}]', "has a comma but no value after value 0"),
        (b'[{"a": 1}] [{"a": 2}]', "text after"),
        (b'[{"a": 1}] x', "text after its JSON array: 'x'"),
        (b'[{"a": 1}', "never closed: the file was truncated after 0 values"),
        (b'[{"a": 1}, {"a": 2}', "never closed: the file was truncated after 1 value"),
        (b'{\n"a": 1}\nx\n{"a": 2}', "unexpected text after value 0"),
        (b'{\n"a": 1}}', "text after value 0"),
        (b'{\n"a": 1}\n{"a": ', r"an incomplete last value \(complete values: 1\)"),
    ],
)
def test_what_is_no_array_and_no_row_of_objects_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        rows_of(tmp_path / "x.json", content)


def test_an_array_without_values_has_no_rows(tmp_path: Path) -> None:
    for content in (b"[]", b" [ ] \n", b"[\n\n]"):
        assert rows_of(tmp_path / "x.json", content) == []


@pytest.mark.parametrize("blocks", [[b'[][{"a": 1}]'], [b"[]", b'[{"a": 1}]'], [b"[ ]\n", b"\n", b"[]"]])
def test_a_second_array_is_refused_wherever_a_block_ends(blocks: list[bytes]) -> None:
    with pytest.raises(ConfigurationError, match="text after|unexpected text"):
        list(json_texts(iter(blocks), "x.json", is_array=True, max_bytes=1_000))


def test_values_of_an_array_that_are_not_records_are_bad_rows(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    (tmp_path / "x.json").write_text('[{"id": 1}, 5, {"id": 2, "id": 3}, {"id": nope}, {"id": 9007199254740993.0}]')
    with pytest.raises(RecordError, match="row 1"):
        ingest(zerobus.workspace, table_name, tmp_path / "x.json")
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=f"{tmp_path}/bad.jsonl")
    receipt = ingest(zerobus.workspace, table_name, tmp_path / "x.json", options=options)
    assert (receipt.rows_acked, receipt.rows_dead_lettered) == (2, 3)
    letters = [json.loads(line)["row"] for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert letters == [1, 2, 3]
    assert 9007199254740993 in {row["id"] for row in zerobus.read(table_name).to_pylist()}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("layout", ["lines", "array", "objects over lines"])
def test_a_file_of_another_encoding_is_read_by_its_name(layout: str, encoding: str, tmp_path: Path) -> None:
    text = LAYOUTS[layout].replace("\\u00e9", "é")
    assert rows_of(tmp_path / "x.json", text.encode(encoding), JsonFormat(encoding=encoding)) == list(enumerate(ROWS))


def test_files_without_a_telling_extension_are_read_as_the_format_says(tmp_path: Path) -> None:
    content = LAYOUTS["array"].encode()
    assert rows_of(tmp_path / "export.dat", content, {"type": "json"}) == list(enumerate(ROWS))
    with pytest.raises(ConfigurationError, match="is UTF-16"):
        rows_of(tmp_path / "x.json", '[{"a": 1}]'.encode("utf-16"))
    with pytest.raises(ConfigurationError, match=r"JsonFormat\.encoding must be"):
        JsonFormat(encoding="latin-99")
    with pytest.raises(ConfigurationError, match="JsonFormat has no field delimiter; its fields are encoding"):
        IngestOptions(format={"type": "json", "delimiter": ";"})
