"""The command line's own rules: flags, environment, exit codes, one line for every error."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import Result

from tests.cli_runner import cli_runner
from zerobus_core import Checkpoint, FileCheckpointStore, IngestOptions, Workspace
from zerobus_core.cli import main
from zerobus_core.cli.frame import exit_code, framed
from zerobus_core.errors import (
    AuthenticationError,
    ConfigurationError,
    DeliverySupersededError,
    HandoffBusyError,
    IngestInterruptedError,
    IngestTimeoutError,
    PermissionDeniedError,
    RecordError,
    RejectedRecordError,
    SchemaError,
    ShardsMissingError,
    SourceChangedError,
    TableNotFoundError,
    ThrottledError,
    TransportError,
    ZerobusIngestError,
)
from zerobus_core.ranges import RowRanges
from zerobus_local import LocalZerobus

NOWHERE = {
    "ZEROBUS_SERVER_ENDPOINT": "http://127.0.0.1:1",
    "DATABRICKS_HOST": "http://127.0.0.1:1",
    "DATABRICKS_CLIENT_ID": "me",
    "DATABRICKS_CLIENT_SECRET": "hidden-hidden-hidden",
}
CODES = {
    ConfigurationError: 2,
    SchemaError: 65,
    RecordError: 65,
    RejectedRecordError: 65,
    AuthenticationError: 77,
    PermissionDeniedError: 77,
    TableNotFoundError: 77,
    DeliverySupersededError: 69,
    SourceChangedError: 75,
    ThrottledError: 75,
    TransportError: 75,
    IngestTimeoutError: 75,
    IngestInterruptedError: 75,
    HandoffBusyError: 75,
    ShardsMissingError: 75,
}


def invoke(*arguments: str, **variables: str | None) -> Result:
    return cli_runner().invoke(main, arguments, env=NOWHERE | variables)


def variables(workspace: Workspace) -> dict[str, str]:
    return {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id or "",
        "DATABRICKS_CLIENT_SECRET": getattr(workspace.credentials, "client_secret", ""),
    }


@pytest.mark.parametrize("cls", ZerobusIngestError.__subclasses__(), ids=lambda cls: cls.__name__)
def test_every_class_of_error_has_its_exit_code(cls: type[ZerobusIngestError]) -> None:
    assert exit_code(cls("what happened")) == CODES[cls]


def test_every_ingest_option_is_a_flag() -> None:
    help_text = invoke("push", "--help").stdout
    assert [field.name for field in fields(IngestOptions) if "--" + field.name.replace("_", "-") not in help_text] == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--streams", "0"], "--streams must be a whole number from 1 to 64, not 0"),
        (["--streams", "many"], "'many' is not a valid integer"),
        (["--timeout", "soon"], "'soon' is neither a number of seconds nor 'none'"),
        (["--max-bad-records", "few"], "neither a number of rows, nor a share of all rows (such as 0.01), nor 'none'"),
        (["--max-bad-records", "1.5"], "--max-bad-records must be"),
        (["--record-format", "xml"], "'xml' is not one of"),
        (["--on-bad-record", "dead_letter"], "--dead-letter-uri must be a path or URI"),
        (["--dead-letter-uri", "bad.jsonl", "--on-bad-record", "fail"], "--dead-letter-uri must be omitted unless"),
        (["--delivery-columns", "one"], "--delivery-columns"),
        (["--delivery-columns", "same", "same"], "--delivery-columns must be"),
        (["--epoch", "2"], "--epoch needs --checkpoint"),
        (["--endpoint", "https://dbc-1.cloud.databricks.com"], "this looks like a workspace URL"),
        (["--workspace-url", "https://1.zerobus.us-east-1.cloud.databricks.com"], "is a Zerobus endpoint"),
        (["--client-id", " "], "client_id is empty"),
        (["--no-such-flag"], "No such option"),
    ],
)
def test_a_bad_flag_is_refused_by_name_with_exit_code_2(arguments: list[str], named: str) -> None:
    done = invoke("push", "rows.jsonl", "--table", "main.default.t", *arguments)
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize("missing", sorted(NOWHERE))
def test_a_missing_variable_is_named_with_exit_code_2(missing: str) -> None:
    done = invoke("schema", "main.default.t", **{missing: None})
    assert done.stderr == f"zerobus-ingest: set {missing} in the environment\n"
    assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize("arguments", [["push", "-", "--table", "flights"], ["schema", "flights"]])
def test_a_short_table_name_is_refused_with_the_right_form(arguments: list[str]) -> None:
    done = invoke(*arguments)
    assert "'flights' is not a full table name; expected catalog.schema.table" in done.stderr
    assert done.exit_code == 2


def test_a_file_that_is_not_there_is_a_matter_of_usage(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    done = invoke("push", "/no/such/rows.jsonl", "--table", table_name, **variables(zerobus.workspace))
    assert "/no/such/rows.jsonl" in done.stderr
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_an_unknown_table_is_a_matter_of_access(zerobus: LocalZerobus) -> None:
    done = invoke("schema", "main.default.nope", **variables(zerobus.workspace))
    assert "main.default.nope" in done.stderr
    assert (done.exit_code, done.stdout) == (77, "")


def test_a_wrong_secret_is_a_matter_of_access(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    wrong = variables(zerobus.workspace) | {"DATABRICKS_CLIENT_SECRET": "hidden-hidden-hidden"}
    done = invoke("schema", table_name, **wrong)
    assert "check the service principal's client id and secret" in done.stderr
    assert "hidden-hidden-hidden" not in done.output
    assert done.exit_code == 77


def test_only_debug_shows_a_traceback(zerobus: LocalZerobus) -> None:
    arguments = ["schema", "main.default.nope"]
    assert "Traceback" not in invoke(*arguments, **variables(zerobus.workspace)).output
    assert "Traceback" in invoke(*arguments, "--debug", **variables(zerobus.workspace)).stderr


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("proto", "required int64 id = 1;"),
        ("arrow", "id: int64 not null"),
        ("sql", "`id` BIGINT NOT NULL"),
        ("json", '"type_text": "BIGINT"'),
    ],
)
def test_a_schema_is_printed_in_the_form_that_was_asked_for(
    zerobus: LocalZerobus, table_name: str, form: str, expected: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, name STRING)")
    done = invoke("schema", table_name, "--format", form, **variables(zerobus.workspace))
    assert (done.exit_code, done.stderr) == (0, "")
    assert expected in done.stdout
    if form == "json":
        assert json.loads(done.stdout)["full_name"] == table_name


def test_the_connection_can_be_given_by_flags_but_the_secret_cannot(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    workspace = zerobus.workspace
    done = invoke(
        *["schema", table_name, "--endpoint", workspace.endpoint, "--workspace-url", workspace.workspace_url],
        *["--client-id", workspace.credentials.client_id or ""],
        DATABRICKS_CLIENT_SECRET=getattr(workspace.credentials, "client_secret", ""),
    )
    assert done.exit_code == 0
    assert "secret" not in invoke("schema", "--help").stdout.replace("DATABRICKS_CLIENT_SECRET", "")


def test_deduplicating_sql_needs_no_workspace() -> None:
    view = cli_runner().invoke(main, ["dedup-sql", "main.default.t", "--key", "id", "day"])
    assert "CREATE OR REPLACE VIEW `main`.`default`.`t_dedup`" in view.stdout
    assert "PARTITION BY `id`, `day`" in view.stdout
    merge = cli_runner().invoke(main, ["dedup-sql", "main.default.t", "--key", "id", "--into", "main.default.clean"])
    assert merge.stdout.startswith("MERGE INTO `main`.`default`.`clean`")
    both = cli_runner().invoke(main, ["dedup-sql", "main.default.t", "--key", "id", "--into", "a", "--view", "b"])
    assert both.exit_code == 2


def test_an_error_that_no_rule_foresees_tells_no_secret_of_a_uri() -> None:
    @click.command()
    @framed
    def command() -> None:
        raise LookupError("cannot get https://me:S3CR3T@host/x.csv?sig=S3CR3T")

    done = cli_runner().invoke(command)
    assert done.exit_code == 1
    assert done.stderr.startswith("zerobus-ingest: LookupError: cannot get https://host/x.csv?… (an unexpected error")


def test_checkpoint_show_says_what_is_durable(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    FileCheckpointStore(path).save(
        Checkpoint(
            table="main.default.flights",
            table_identity="id-of-flights",
            schema_fingerprint="s",
            source_fingerprint="files:1:abc",
            epoch=None,
            durable=RowRanges([(0, 10), (20, 25)]),
            reached=30,
            written_at="2026-01-01T00:00:00+00:00",
        )
    )
    shown = invoke("checkpoint", "show", str(path))
    assert shown.exit_code == 0
    for text in ("main.default.flights", "files:1:abc", "15 rows: 0 to 9, 20 to 24", "2026-01-01", "rows before 30"):
        assert text in shown.stdout


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "there is no checkpoint at"), ("{", "cannot be used: incomplete or invalid JSON")]
)
def test_checkpoint_show_says_why_it_shows_nothing(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "checkpoint.json"
    if content is not None:
        path.write_text(content)
    shown = invoke("checkpoint", "show", str(path))
    assert shown.exit_code == 2
    assert reason in shown.stderr
