"""The first rows of a Delta table of many files, and that reading them leaves no thread that crashes the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from zerobus_local.catalog.reading import dataset_at
from zerobus_local.catalog.rows import first_rows

FILES, ROWS_PER_FILE = 12, 100


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("delta") / "table"
    for number in range(FILES):
        ids = range(number * ROWS_PER_FILE, (number + 1) * ROWS_PER_FILE)
        rows = pa.table({"id": list(ids), "day": [number % 3] * ROWS_PER_FILE})
        write_deltalake(path, rows, mode="append", partition_by=["day"])
    return path


@pytest.mark.parametrize("rows", [0, 1, 150, FILES * ROWS_PER_FILE, 5_000])
def test_as_many_rows_are_read_as_were_asked_for_with_their_partition(table: Path, rows: int) -> None:
    found = first_rows(dataset_at(table), rows)
    assert found.num_rows == min(rows, FILES * ROWS_PER_FILE)
    assert all(row["day"] == row["id"] // ROWS_PER_FILE % 3 for row in found.to_pylist())


def test_a_process_that_read_the_first_rows_ends_well(table: Path) -> None:
    script = (
        "import sys; from zerobus_local.catalog.reading import dataset_at\n"
        "from zerobus_local.catalog.rows import first_rows\n"
        "print(first_rows(dataset_at(sys.argv[1]), 3).num_rows)"
    )
    for _ in range(5):
        command = [sys.executable, "-c", script, str(table)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (ended.returncode, ended.stdout) == (0, "3\n"), ended.stderr
