"""Files whose extension says nothing, by the name of their format; and sheets of Excel files."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape
from zipfile import ZipFile

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from tests.cli_runner import cli_runner
from tests.core.cli.test_cli_push import environment
from zerobus_core import ExcelFormat, FileCheckpointStore, IngestOptions, ingest
from zerobus_core.cli import main
from zerobus_core.errors import ConfigurationError, RecordError
from zerobus_local import LocalZerobus

ROWS: list[dict[str, Any]] = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
DAY_ZERO = datetime(1899, 12, 30)


def write_avro(path: Path) -> None:
    fields = [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "Row", "fields": fields}, ROWS)


def cell_xml(value: Any) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, datetime):
        return f'<c s="2"><v>{(value - DAY_ZERO).total_seconds() / 86_400!r}</v></c>'
    if isinstance(value, date):
        return f'<c s="1"><v>{(datetime(value.year, value.month, value.day) - DAY_ZERO).days}</v></c>'
    if isinstance(value, int | float):
        return f"<c><v>{value!r}</v></c>"
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'


def write_excel(path: Path, **sheets: list[list[Any]]) -> None:
    """An .xlsx file as small as the format allows."""
    main_ns = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    numbers = range(1, len(sheets) + 1)
    types = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="application/vnd.openxmlformats-officedocument.'
        'spreadsheetml.worksheet+xml"/>'
        for n in numbers
    )
    listed = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in zip(numbers, sheets, strict=True)
    )
    links = "".join(
        f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
    )
    styles = (
        '<numFmts count="2"><numFmt numFmtId="170" formatCode="yyyy\\-mm\\-dd"/>'
        '<numFmt numFmtId="171" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>'
        '<cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="170" applyNumberFormat="1"/>'
        '<xf numFmtId="171" applyNumberFormat="1"/></cellXfs>'
    )
    with ZipFile(path, "w") as file:
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType="application/vnd.'
            'openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="application/'
            f'vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>{types}</Types>',
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="w" Type="{office}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{main_ns}" xmlns:r="{office}"><sheets>{listed}</sheets></workbook>'
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships">{links}<Relationship Id="s" Type="{office}/styles" '
            'Target="styles.xml"/></Relationships>',
        )
        file.writestr("xl/styles.xml", f'<styleSheet xmlns="{main_ns}">{styles}</styleSheet>')
        for n, rows in zip(numbers, sheets.values(), strict=True):
            lines = "".join(f"<row>{''.join(map(cell_xml, row))}</row>" for row in rows)
            file.writestr(
                f"xl/worksheets/sheet{n}.xml",
                f'<worksheet xmlns="{main_ns}"><sheetData>{lines}</sheetData></worksheet>',
            )


WRITERS: dict[str, Any] = {
    "parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
    "arrow": lambda path: feather.write_feather(pa.Table.from_pylist(ROWS), str(path), "uncompressed"),
    "avro": write_avro,
    "csv": lambda path: path.write_text("id,name\n1,a\n2,b\n"),
    "json": lambda path: path.write_text(json.dumps(ROWS)),
    "jsonl": lambda path: path.write_text("".join(json.dumps(row) + "\n" for row in ROWS)),
    "excel": lambda path: write_excel(path, Rows=[["id", "name"], [1, "a"], [2, "b"]]),
}


@pytest.fixture
def table(zerobus: LocalZerobus, table_name: str) -> str:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING)")
    return table_name


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_without_an_extension_is_read_by_the_format_that_is_named(
    name: str, zerobus: LocalZerobus, table: str, tmp_path: Path
) -> None:
    WRITERS[name](path := tmp_path / "export.dat")
    with pytest.raises(ConfigurationError, match="its extension does not show its format"):
        ingest(zerobus.workspace, table, str(path))
    ingest(zerobus.workspace, table, str(path), options={"format": name})
    done = cli_runner().invoke(
        main, ["push", str(path), "-t", table, "--format", name], env=environment(zerobus.workspace)
    )
    assert done.exit_code == 0, done.stderr
    assert sorted(zerobus.read(table).to_pylist(), key=lambda row: row["id"]) == [ROWS[0]] * 2 + [ROWS[1]] * 2


def test_a_format_that_is_not_the_extension_s_is_refused(zerobus: LocalZerobus, table: str, tmp_path: Path) -> None:
    WRITERS["csv"](path := tmp_path / "rows.csv")
    with pytest.raises(ConfigurationError, match=r"holds csv files, but options.format is for parquet files"):
        ingest(zerobus.workspace, table, str(path), options={"format": "parquet"})


def test_cells_of_a_sheet_are_delivered_as_they_are(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(
        f"CREATE TABLE {table_name} (id BIGINT, price DECIMAL(10,2), share DOUBLE, ok BOOLEAN, day DATE, "
        "at TIMESTAMP_NTZ, note STRING)"
    )
    write_excel(
        tmp_path / "rows.xlsx",
        Other=[["x"], [1]],
        Orders=[
            ["id", "price", "share", "ok", "day", "at", "note"],
            [1, 19.99, 0.1, True, date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5), "a"],
            [None] * 7,
            [9007199254740991, 20, 3, False, None, None, " "],
        ],
    )
    options = IngestOptions(format=ExcelFormat(sheet="Orders"))
    store = FileCheckpointStore(tmp_path / "checkpoint")
    receipts = [
        ingest(zerobus.workspace, table_name, str(tmp_path / "rows.xlsx"), options=options, checkpoint=store)
        for _ in range(2)
    ]
    assert [(receipt.rows_acked, receipt.rows_skipped) for receipt in receipts] == [(2, 0), (0, 2)]
    first, second = sorted(zerobus.read(table_name).to_pylist(), key=lambda row: row["id"])
    assert first == {
        "id": 1, "price": Decimal("19.99"), "share": 0.1, "ok": True, "day": date(2026, 1, 2),
        "at": datetime(2026, 1, 2, 3, 4, 5), "note": "a",
    }  # fmt: skip
    assert second == {
        "id": 9007199254740991, "price": Decimal(20), "share": 3.0, "ok": False, "day": None, "at": None, "note": " "
    }  # fmt: skip


def test_a_cell_that_does_not_fit_is_named(zerobus: LocalZerobus, table: str, tmp_path: Path) -> None:
    write_excel(tmp_path / "rows.xlsx", Rows=[["id", "name"], [1, "a"], [1.5, "b"]])
    with pytest.raises(RecordError, match="row 1, field id"):
        ingest(zerobus.workspace, table, str(tmp_path / "rows.xlsx"))


@pytest.mark.parametrize(
    ("sheets", "options", "shown"),
    [
        ({"A": [["id"]], "B": [["id"]]}, {}, r"has 2 sheets \('A', 'B'\); name the one to read: format=ExcelFormat"),
        ({"A": [["id"]]}, {"format": {"type": "excel", "sheet": "C"}}, "has no sheet 'C'; its sheets are 'A'"),
        ({"A": [["id", None, "x"], [1, 2, 3]]}, {}, "column 2 has no name in the first line of the sheet"),
        ({"A": [["id", 5], [1, 2]]}, {}, r"column 2 has no name .* \(its cell is 5.*\)"),
        ({"A": [["id", "id"], [1, 2]]}, {}, "two columns are called 'id'"),
    ],
)
def test_a_sheet_that_cannot_be_read_with_certainty_is_refused(
    sheets: Any, options: Any, shown: str, zerobus: LocalZerobus, table: str, tmp_path: Path
) -> None:
    write_excel(tmp_path / "rows.xlsx", **sheets)
    with pytest.raises(ConfigurationError, match=shown):
        ingest(zerobus.workspace, table, str(tmp_path / "rows.xlsx"), options=options)


def test_a_file_that_is_not_an_excel_file_is_refused(zerobus: LocalZerobus, table: str, tmp_path: Path) -> None:
    (tmp_path / "rows.xlsx").write_bytes(b"id,name\n1,a\n")
    with pytest.raises(ConfigurationError, match=r"rows.xlsx cannot be read as an Excel file"):
        ingest(zerobus.workspace, table, str(tmp_path / "rows.xlsx"))


def test_without_python_calamine_the_error_says_what_to_install(tmp_path: Path) -> None:
    write_excel(tmp_path / "rows.xlsx", A=[["id"], [1]])
    program = (
        "import sys; sys.modules['python_calamine'] = None\n"
        "from zerobus_core import IngestOptions\n"
        "from zerobus_core.sources import source_of\n"
        "source_of(sys.argv[1], IngestOptions())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "rows.xlsx")], capture_output=True, text=True, check=False
    )
    needed = "rows.xlsx needs python-calamine: pip install 'zerobus-orchestration[excel]'"
    assert f"reading {tmp_path}/{needed}" in done.stderr


@pytest.mark.parametrize(
    ("name", "package", "install"),
    [
        ("rows.parquet", "pyarrow", "'zerobus-orchestration[arrow]'"),
        ("rows.arrow", "pyarrow", "'zerobus-orchestration[arrow]'"),
        ("rows.csv", "pyarrow", "'zerobus-orchestration[arrow]'"),
        ("rows.jsonl.zst", "pyarrow", "'zerobus-orchestration[arrow]'"),
        ("rows.avro", "fastavro", "fastavro"),
        ("rows.ods", "python_calamine", "'zerobus-orchestration[excel]'"),
    ],
)
def test_the_error_for_a_missing_package_names_file_and_command(
    name: str, package: str, install: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"x" * 40)
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from zerobus_core import IngestOptions\n"
        "from zerobus_core.ranges import RowRanges\n"
        "from zerobus_core.sources import source_of\n"
        "list(source_of(sys.argv[1], IngestOptions()).chunks(RowRanges()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    expected = f"reading {tmp_path / name} needs {package.replace('_', '-')}: pip install {install}"
    assert f"ConfigurationError: {expected}" in done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"record_format": "arrow"}, "sending Arrow records to main.default.t needs pyarrow: pip install"),
        (
            {"on_bad_record": "dead_letter", "dead_letter_uri": "bad.parquet"},
            "writing dead letters to bad.parquet needs pyarrow: pip install",
        ),
    ],
)
def test_an_option_that_needs_a_missing_package_is_refused_before_a_row_is_read(
    options: dict[str, str], expected: str, tmp_path: Path
) -> None:
    program = (
        "import json, sys; sys.modules['pyarrow'] = None\n"
        "from zerobus_core import IngestOptions, TableSchema\n"
        "from zerobus_core.bad_rows.policy import BadRowPolicy\n"
        "from zerobus_core.encode import encoder_for\n"
        "options = IngestOptions(**json.loads(sys.argv[1]))\n"
        "schema = TableSchema.from_sql('CREATE TABLE main.default.t (id INT)')\n"
        "encoder = encoder_for(schema, options, is_arrow=False)\n"
        "BadRowPolicy(schema, encoder, options, source_fingerprint=None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(options)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert expected in done.stderr
    assert "ConfigurationError" in done.stderr
