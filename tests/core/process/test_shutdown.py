"""Deliveries that come too late: after the main thread has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zerobus_core import TableSchema
from zerobus_core.bad_rows.dead_letter import DeadLetterFile
from zerobus_local import LocalZerobus

LATE = """
import atexit, sys, threading
from zerobus_core import Workspace, ingest

def deliver():
    try:
        print(ingest(Workspace.from_env(), "main.default.t", sys.argv[2]).rows_acked)
    except Exception as error:
        print(type(error).__name__, error)

def late():
    threading.main_thread().join()
    deliver()

if sys.argv[1] == "atexit":
    atexit.register(deliver)
else:
    threading.Thread(target=late).start()
"""


@pytest.mark.parametrize("moment", ["atexit", "thread"])
def test_a_first_delivery_at_the_end_of_the_process_succeeds_or_says_why_it_cannot(
    server: LocalZerobus, tmp_path: Path, moment: str
) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    (file := tmp_path / "rows.jsonl").write_text('{"id": 1}\n')
    described = server.describe()
    done = subprocess.run(
        [sys.executable, "-c", LATE, moment, str(file)],
        env=os.environ
        | {
            "ZEROBUS_SERVER_ENDPOINT": described["endpoint"],
            "DATABRICKS_HOST": described["workspace_url"],
            "DATABRICKS_CLIENT_ID": described["client_id"],
            "DATABRICKS_CLIENT_SECRET": described["client_secret"],
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith(("1\n", "ConfigurationError main.default.t: this Python process is ending")), (
        done.stdout
    )


@pytest.mark.parametrize("uri", ["letters.txt", "/dev/null/letters.jsonl"])
def test_a_dead_letter_file_that_was_not_built_has_a_repr(uri: str) -> None:
    schema = TableSchema.from_sql("CREATE TABLE main.default.t (id BIGINT)")
    half = DeadLetterFile.__new__(DeadLetterFile)
    with pytest.raises(Exception, match="letters"):
        half.__init__(uri, schema=schema)  # type: ignore[misc]
    assert repr(half) == f"DeadLetterFile({uri!r}, rows=0)"
