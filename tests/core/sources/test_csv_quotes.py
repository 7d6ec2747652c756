"""Quotes of CSV files that are never closed: the rest of the file would be one cell, and its rows would be gone."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import ConfigurationError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus


def cells(path: Path, content: bytes, skip: RowRanges | None = None) -> list[tuple[str | None, ...]]:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    chunks = source_of(path, IngestOptions(batch_rows=100)).chunks(skip or RowRanges())
    return [tuple(row.values()) for chunk in chunks for row in chunk.rows.to_pylist()]  # type: ignore[union-attr]


def test_a_stray_quote_does_not_swallow_the_rows_after_it(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, v STRING)")
    lines = [f'{n},"x{n}\n' if n == 10 else f"{n},x{n}\n" for n in range(1_000)]
    (tmp_path / "x.csv").write_text("id,v\n" + "".join(lines))
    with pytest.raises(ConfigurationError, match=r"a quote in row 10 of .*x.csv \(line 12\) is never closed"):
        ingest(zerobus.workspace, table_name, tmp_path / "x.csv")


# More bytes than a block of the reader.
LONG = b"id,v\n" + b"".join(b'%d,"line %d\nand ""more"""\n' % (n, n) for n in range(80_000))


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_file_that_was_cut_off_inside_quotes_is_never_a_shorter_one(name: str, tmp_path: Path) -> None:
    assert len(cells(tmp_path / name, LONG)) == 80_000
    for cut in (2, 4, 12, 20):  # behind half of a pair of quotes, a cell is closed
        with pytest.raises(ConfigurationError, match="row 79999 of .* never closed"):
            cells(tmp_path / name, LONG[:-cut])
        with pytest.raises(ConfigurationError, match="row 79999 of .* never closed"):
            cells(tmp_path / name, LONG[:-cut], RowRanges([(0, 40_000)]))


def test_a_quote_whose_cell_is_longer_than_a_record_is_told_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"row 1 of .*x.csv .* never closed"):
        cells(tmp_path / "x.csv", b'id,v\n1,x\n2,"' + b"3,y\n" * 3_000_000)


def test_a_header_whose_quote_is_never_closed_is_told(tmp_path: Path) -> None:
    for content in (b'"a\n1\n2\n', b'a,"b\n1,x\n'):
        with pytest.raises(ConfigurationError, match="x.csv"):
            cells(tmp_path / "x.csv", content)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b'a,b\n1,5" pipe\n2,x', [("1", '5" pipe'), ("2", "x")]),
        (b'a,b\n1,5" pipe', [("1", '5" pipe')]),
        (b'a,b\n1,""', [("1", "")]),
        (b'a,b\n1,""""', [("1", '"')]),
        (b'a,b\r1,"x"\r', [("1", "x")]),
        (b'a,b\r\n1,"x"\r\n', [("1", "x")]),
        (b"a\n1\n\n", [("1",), (None,)]),
        (b'a\n""', [("",)]),
        (b"a", []),
        (b'"a","b"', []),
    ],
)
def test_quotes_that_are_closed_or_that_are_none_are_read_as_ever(
    content: bytes, rows: list[tuple[str | None, ...]], tmp_path: Path
) -> None:
    assert cells(tmp_path / "x.csv", content) == rows


@pytest.mark.parametrize("content", [b'a\n"', b'a\n1\n"\n', b'a,b\n1,"', b'a,b\n1,"x""', b'a,b\n"1,2', b'a,b\n1,"\r'])
def test_a_quote_that_opens_at_the_end_of_a_file_is_found(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        cells(tmp_path / "x.csv", content)
