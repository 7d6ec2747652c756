"""Names that differ from a column's by what nobody sees are shown so that one sees it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import RecordError, SchemaError
from zerobus_local import LocalZerobus


def file(content: str) -> Callable[[Path], Any]:
    def make(folder: Path) -> Any:
        (folder / "x.csv").write_text(content, encoding="utf-8")
        return folder / "x.csv"

    return make


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda _: csv.DictReader(io.StringIO("\ufeffid,n\n1,a\n")), r"'\ufeffid'"),
        (lambda _: [{"id ": 1, "n": "a"}], "'id '"),
        (lambda _: [{"": 1}], "''"),
        (lambda _: [{1: 1}], "field 1:"),
        (lambda _: pa.table({"id ": [1]}), "'id '"),
        (lambda _: pa.table({"i\u0501": [1]}), "'i\u0501'"),
        (lambda _: pa.table([[1], [2]], ["id ", "id "]), "column 'id ' "),
        (file("id ,n\n1,a\n"), "'id '"),
        (file("id\u00a0,n\n1,a\n"), r"'id\xa0'"),
        (file("id\u200b,n\n1,a\n"), r"'id\u200b'"),
        (file(",id,n\n0,1,a\n"), "no column ''"),
    ],
)
def test_a_name_with_something_invisible_is_quoted(
    make: Callable[[Path], Any], shown: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, n STRING)")
    with pytest.raises((RecordError, SchemaError)) as caught:
        ingest(zerobus.workspace, table_name, make(tmp_path), options=IngestOptions(parse_text=True))
    assert shown in str(caught.value)


def test_an_ordinary_name_is_shown_as_it_is(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    with pytest.raises(RecordError, match="field idd: the table has no such column; did you mean id"):
        ingest(zerobus.workspace, table_name, [{"idd": 1}])
    with pytest.raises(SchemaError, match=r"the table has no column idd \(did you mean id\?\)"):
        ingest(zerobus.workspace, table_name, pa.table({"idd": [1]}))
