from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import zerobus_core
from zerobus_core import ConfigurationError, IngestOptions, RecordError


@pytest.fixture
def letters(zerobus, table_name, tmp_path):
    """A table with one row, and a dead-letter file with one row that does not fit it."""
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, day DATE)")
    uri = str(tmp_path / "letters.jsonl")
    zerobus_core.ingest(
        zerobus.workspace,
        table_name,
        [{"id": 1, "day": None}, {"id": "x", "day": "2026-11-29"}],
        options=IngestOptions(on_bad_record="dead_letter", dead_letter_uri=uri, parse_text=True),
    )
    return tmp_path / "letters.jsonl"


def test_corrected_letters_are_sent_to_the_table_that_they_name(zerobus, table_name, letters):
    letters.write_text(letters.read_text().replace('"id": "x"', '"id": 2'))
    receipt = zerobus_core.replay(zerobus.workspace, str(letters))
    assert (receipt.table, receipt.rows_acked) == (table_name, 1)
    assert sorted(row["id"] for row in zerobus.read(table_name).to_pylist()) == [1, 2]


def test_a_letter_that_still_does_not_fit_fails_the_replay(zerobus, letters):
    with pytest.raises(RecordError, match="row 0, field id"):
        zerobus_core.replay(zerobus.workspace, str(letters))


FINE = pa.array([1_000, 1], pa.time64("ns"))


@pytest.mark.parametrize(
    ("column", "replayed"),
    [
        (FINE, '"00:00:00.000000001"'),
        (FINE.dictionary_encode(), '"00:00:00.000000001"'),
        (pa.array([[1_000], [1, None]], pa.list_(FINE.type)), '["00:00:00.000000001",null]'),
        (pa.StructArray.from_arrays([FINE], ["a"]), '{"a":"00:00:00.000000001"}'),
        (pa.array([[("k", 1_000)], [("k", 1)]], pa.map_(pa.string(), FINE.type)), '{"k":"00:00:00.000000001"}'),
    ],
    ids=["time", "dictionary", "list", "struct", "map"],
)
def test_a_replayed_time_of_day_has_the_nanoseconds_for_which_it_was_refused(
    column, replayed, zerobus, table_name, tmp_path
):
    zerobus.create_table(f"CREATE TABLE {table_name} (v VARIANT)")
    uri = str(tmp_path / "letters.jsonl")
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=uri)
    receipt = zerobus_core.ingest(zerobus.workspace, table_name, pa.table({"v": column}), options=options)
    assert (receipt.rows_acked, receipt.rows_dead_lettered) == (1, 1)
    zerobus_core.replay(zerobus.workspace, uri)
    assert replayed in zerobus.read(table_name)["v"].to_pylist()


NOT_TEXT = [
    date(2026, 1, 2), datetime(2026, 1, 2), time(1), timedelta(1), Decimal("1.5"), 1.5, 1j, {1}, range(2), object(),
    np.datetime64("2026", "Y"), np.datetime64("2026-01-02", "ns"), np.timedelta64(5, "ns"), np.longdouble("0.1"),
    pa.scalar(1_001, pa.time64("ns")), pa.scalar(10**17, pa.timestamp("s")), b"x",
]  # fmt: skip


@pytest.mark.parametrize("name", ["letters.jsonl", "letters.parquet"])
def test_what_was_refused_is_refused_again_if_nobody_corrects_it(name, zerobus, table_name, tmp_path):
    """Text would be accepted by the STRING column, although the value that it stands for was not."""
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, v STRING)")
    first, second = str(tmp_path / name), str(tmp_path / "again.jsonl")
    rows = [{"id": at, "v": value} for at, value in enumerate(NOT_TEXT)]
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=first)
    assert zerobus_core.ingest(zerobus.workspace, table_name, rows, options=options).rows_dead_lettered == len(rows)
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=second)
    assert zerobus_core.replay(zerobus.workspace, first, options=options).rows_dead_lettered == len(rows)
    assert zerobus.read(table_name).num_rows == 0


class Detached(Mapping):
    """A record whose members can no longer be read."""

    def __getitem__(self, key):
        raise RuntimeError("detached")

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1


@pytest.mark.parametrize("row", [{"v": Detached()}, Detached()], ids=["value", "row"])
def test_an_object_whose_own_code_fails_is_a_bad_row(row, zerobus, table_name, tmp_path):
    zerobus.create_table(f"CREATE TABLE {table_name} (v STRUCT<a: INT>)")
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(tmp_path / "letters.jsonl"))
    assert zerobus_core.ingest(zerobus.workspace, table_name, [row], options=options).rows_dead_lettered == 1


@pytest.mark.parametrize("name", ["letters.jsonl", "letters.parquet"])
def test_the_good_values_of_a_bad_row_are_replayed_as_they_were(name, zerobus, table_name, tmp_path):
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, d DECIMAL(30,23), x DOUBLE, at TIMESTAMP, v VARIANT)")
    number = Decimal("0.12345678901234567890123")
    good = {"d": number, "x": 0.1, "at": datetime(2026, 1, 2, tzinfo=UTC), "v": {"p": number, "q": [1.5, None]}}
    uri = str(tmp_path / name)
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=uri)
    zerobus_core.ingest(zerobus.workspace, table_name, [good | {"id": 1}, good | {"id": "x"}], options=options)
    sent = zerobus_core.replay(zerobus.workspace, _corrected(uri, '{"$text": "x"}', "2"))
    assert sent.rows_acked == 1
    one, two = sorted(zerobus.read(table_name).to_pylist(), key=lambda row: row["id"])
    assert one | {"id": 2} == two
    assert f'"p":{number}' in two["v"]


@pytest.mark.parametrize("name", ["letters.jsonl", "letters.parquet"])
def test_a_number_that_a_person_writes_into_a_letter_is_not_rounded(name, zerobus, table_name, tmp_path):
    zerobus.create_table(f"CREATE TABLE {table_name} (d DECIMAL(30,23), v VARIANT)")
    number, uri = "0.12345678901234567890123", str(tmp_path / name)
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=uri)
    zerobus_core.ingest(zerobus.workspace, table_name, [{"d": "x", "v": "y"}], options=options)
    zerobus_core.replay(zerobus.workspace, _corrected(_corrected(uri, '{"$text": "x"}', number), '"y"', number))
    assert zerobus.read(table_name).to_pylist() == [{"d": Decimal(number), "v": number}]


def test_a_corrected_parquet_file_keeps_its_digits_when_more_letters_are_written(zerobus, table_name, tmp_path):
    zerobus.create_table(f"CREATE TABLE {table_name} (d DECIMAL(30,23))")
    number, uri = "0.12345678901234567890123", str(tmp_path / "letters.parquet")
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=uri)
    zerobus_core.ingest(zerobus.workspace, table_name, [{"d": "x"}], options=options)
    _corrected(uri, '{"$text": "x"}', number)
    zerobus_core.ingest(zerobus.workspace, table_name, [{"d": None}, {"d": "z"}], options=options)
    assert pq.read_table(uri)["record"].to_pylist() == [f'{{"d": {number}}}', '{"d": {"$text": "z"}}']


def _corrected(uri, old, new):
    """Replace ``old`` in the records of a dead-letter file, as a person would, and return ``uri``."""
    if uri.endswith(".jsonl"):
        head, record = Path(uri).read_text().split('"record":')
        Path(uri).write_text(f'{head}"record":{record.replace(old, new)}')
    else:
        letters = pq.read_table(uri)
        records = [record.replace(old, new) for record in letters["record"].to_pylist()]
        pq.write_table(letters.set_column(letters.schema.get_field_index("record"), "record", pa.array(records)), uri)
    return uri


def test_only_the_letters_of_one_table_are_sent(zerobus, table_name, letters):
    other = letters.read_text().replace(table_name, "main.default.elsewhere")
    letters.write_text(letters.read_text().replace('"id": "x"', '"id": 2') + other)
    with pytest.raises(ConfigurationError, match=f"2 tables .main.default.elsewhere, {table_name}"):
        zerobus_core.replay(zerobus.workspace, str(letters))
    assert (
        zerobus_core.replay(zerobus.workspace, str(letters), table=table_name, options={"streams": 1}).rows_acked == 1
    )


def test_a_file_that_is_missing_or_holds_something_else_is_refused(zerobus, tmp_path):
    with pytest.raises(ConfigurationError, match="there is no dead-letter file"):
        zerobus_core.replay(zerobus.workspace, str(tmp_path / "none.jsonl"))
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ConfigurationError, match="is empty: there are no dead letters"):
        zerobus_core.replay(zerobus.workspace, str(tmp_path / "empty.jsonl"))
    (tmp_path / "rows.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(ConfigurationError, match="is not a dead-letter file"):
        zerobus_core.replay(zerobus.workspace, str(tmp_path / "rows.jsonl"))


def test_letters_are_not_written_to_the_file_that_is_replayed(zerobus, letters):
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(letters))
    with pytest.raises(ConfigurationError, match="name another file"):
        zerobus_core.replay(zerobus.workspace, str(letters), options=options)


def test_without_pyarrow_a_file_of_parquet_says_what_to_install(tmp_path):
    path = tmp_path / "letters.parquet"
    path.write_bytes(b"PAR1 or anything")
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from zerobus_core.bad_rows import letters_of\n"
        "from zerobus_core.errors import ConfigurationError\n"
        "try: letters_of(sys.argv[1])\n"
        "except ConfigurationError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True).stdout
    assert said.startswith(
        f"reading dead letters from {path} needs pyarrow: pip install 'zerobus-orchestration[arrow]'"
    )
