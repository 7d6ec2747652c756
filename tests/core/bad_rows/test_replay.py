from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
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
