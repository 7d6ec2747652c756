"""Wrong calls of the command line: each ends in one sentence that says what to do, and in the right exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli_runner import cli_runner
from zerobus_core.cli import main

GOOD = {
    "ZEROBUS_SERVER_ENDPOINT": "https://1.zerobus.us-east-1.cloud.databricks.com",
    "DATABRICKS_HOST": "https://dbc-1.cloud.databricks.com",
    "DATABRICKS_CLIENT_ID": "me",
    "DATABRICKS_CLIENT_SECRET": "hidden-hidden-hidden",
}
SWAPPED = {
    "ZEROBUS_SERVER_ENDPOINT": GOOD["DATABRICKS_HOST"],
    "DATABRICKS_HOST": GOOD["ZEROBUS_SERVER_ENDPOINT"],
}
LOCAL = {"ZEROBUS_SERVER_ENDPOINT": "http://127.0.0.1:9", "DATABRICKS_HOST": "http://127.0.0.1:9"}
PUSH = ("push", "rows.csv", "-t", "main.default.t")

# arguments, variables -> a part of the last line on stderr, and the exit code
GOLDEN: dict[str, tuple[tuple[str, ...], dict[str, str | None], str, int]] = {
    "no source": (
        ("push", "-t", "main.default.t"),
        {},
        "Error: pass the source to push: zerobus-ingest push SOURCE...",
        2,
    ),
    "no table": (("push", "rows.csv"), {}, "Error: pass the table with -t: zerobus-ingest push SOURCE... -t", 2),
    "no table after a workbook": (
        ("push", "rows.csv", "rows.2024.xlsx"),
        {},
        "Error: pass the table with -t: zerobus-ingest push SOURCE... -t",
        2,
    ),
    "no table for schema": (
        ("schema",),
        {},
        "Error: pass the name of a table, as TABLE or with -t: catalog.schema.table",
        2,
    ),
    "no table for dedup-sql": (
        ("dedup-sql", "--key", "a"),
        {},
        "Error: pass the name of a table, as TABLE or with -t",
        2,
    ),
    "two tables": (
        ("schema", "a.b.c", "-t", "a.b.d"),
        {},
        "Error: two tables were passed, a.b.c and a.b.d: pass only one",
        2,
    ),
    "a table of two parts": (("schema", "default.t"), {}, "expected catalog.schema.table of ASCII letters", 2),
    "a key without a full table": (("dedup-sql", "t", "--key", "a"), {}, "expected catalog.schema.table", 2),
    "standard input and a file": (
        ("push", "-", "a.csv", "-t", "a.b.c"),
        {},
        "Error: - is standard input, which cannot be pushed together",
        2,
    ),
    "no secret": (PUSH, {"DATABRICKS_CLIENT_SECRET": None}, "set DATABRICKS_CLIENT_SECRET in the environment", 2),
    "swapped": (PUSH, SWAPPED, "endpoint and workspace_url are swapped", 2),
    "a workspace twice": (
        PUSH,
        {"ZEROBUS_SERVER_ENDPOINT": GOOD["DATABRICKS_HOST"]},
        "this looks like a workspace URL",
        2,
    ),
    "copied from a browser": (
        PUSH,
        {"DATABRICKS_HOST": "https://dbc-1.cloud.databricks.com/sql/editor?o=123"},
        "if it was copied from a browser, give https://dbc-1.cloud.databricks.com only",
        2,
    ),
    "an endpoint copied from a browser": (
        PUSH,
        {"ZEROBUS_SERVER_ENDPOINT": GOOD["ZEROBUS_SERVER_ENDPOINT"] + "/?o=1"},
        "if it was copied from a browser, give https://1.zerobus.us-east-1.cloud.databricks.com only",
        2,
    ),
    "https on loopback": (
        PUSH,
        {"ZEROBUS_SERVER_ENDPOINT": "https://127.0.0.1:4000"},
        "on loopback zerobus-local speaks plain http: write http://127.0.0.1:4000",
        2,
    ),
    "https on localhost": (
        PUSH,
        {"DATABRICKS_HOST": "https://localhost:4000"},
        "on loopback zerobus-local speaks plain http: write http://localhost:4000",
        2,
    ),
    "http elsewhere": (PUSH, {"ZEROBUS_SERVER_ENDPOINT": "http://example.com"}, "plain http is for loopback only", 2),
    "no local server": (
        PUSH,
        LOCAL,
        "nothing listens at http://127.0.0.1:9: the local server is probably not running",
        75,
    ),
    "no local server, quiet": ((*PUSH, "-q"), LOCAL, "the local server is probably not running, or was restarted", 75),
    "an epoch without a checkpoint": ((*PUSH, "--epoch", "2"), {}, "--epoch needs --checkpoint", 2),
    "an unknown flag": ((*PUSH, "--sreams", "2"), {}, "No such option", 2),
    "a constant without a value": (
        (*PUSH, "--constants", "src"),
        {},
        "--constants takes COLUMN=VALUE: the name of a column, and its value in all rows",
        2,
    ),
    "a new name without the old one": (
        (*PUSH, "--rename", "=id"),
        {},
        "--rename takes OLD=NEW: the name in the source, and the name of the table's column",
        2,
    ),
    "what becomes of extra columns": (
        (*PUSH, "--extra-columns", "keep"),
        {},
        '--extra-columns must be "error", "drop", "variant:COLUMN" or "rescue", not \'keep\'',
        2,
    ),
    "a function that is not named in full": (
        (*PUSH, "--transform", "clean"),
        {},
        "--transform must be a function of one row, or \"package.module:function\", not 'clean'",
        2,
    ),
    "a version of no function": (
        (*PUSH, "--transform-version", "2"),
        {},
        "--transform-version must be omitted if there is no transform",
        2,
    ),
    "a column that is selected and dropped": (
        (*PUSH, "--select", "a", "--drop", "a"),
        {},
        "--select must be a list that does not contain 'a' (left out by the option drop)",
        2,
    ),
    "a sheet of a format without sheets": (
        (*PUSH, "--format", "parquet", "--sheet", "Orders"),
        {},
        "--sheet cannot be used with --format parquet",
        2,
    ),
    "a format that does not exist": ((*PUSH, "--format", "xml"), {}, "'xml' is not one of 'arrow', 'avro', 'csv'", 2),
    "an option of CSV files for JSON files": (
        (*PUSH, "--format", "json", "--delimiter", ";"),
        {},
        "--delimiter cannot be used with --format json",
        2,
    ),
    "rescued fields in another record format": (
        (*PUSH, "--extra-columns", "rescue", "--record-format", "arrow"),
        {},
        '--record-format must be "json" or "auto" if extra_columns="rescue", not \'arrow\'',
        2,
    ),
    "no dead-letter file": (
        ("dead-letters", "show", "none.jsonl"),
        {},
        "there is no dead-letter file none.jsonl",
        2,
    ),
    "dead letters into the file that is replayed": (
        ("dead-letters", "replay", "bad.jsonl", "--dead-letter-uri", "bad.jsonl"),
        {},
        "name another file for rows that still do not fit",
        2,
    ),
    "streams": ((*PUSH, "--streams", "0"), {}, "--streams must be a whole number from 1 to 64, not 0", 2),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_a_wrong_call_ends_in_one_sentence(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, variables, message, code = GOLDEN[case]
    monkeypatch.chdir(tmp_path)
    done = cli_runner().invoke(main, arguments, env=GOOD | variables)
    assert (done.exit_code, done.stdout) == (code, "")
    last = done.stderr.strip().splitlines()[-1]
    assert message in last
    assert "Traceback" not in done.stderr
    assert GOOD["DATABRICKS_CLIENT_SECRET"] not in done.stderr
