"""The doctor: each thing that can be wrong is named by its own step, and the steps that rest on it are skipped."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import pytest

from tests.cli_runner import cli_runner
from zerobus_core import ClientCredentials, IngestOptions, Workspace
from zerobus_core.cli import main
from zerobus_core.doctor import Step, diagnose
from zerobus_local import LocalZerobus

SECRET = "hidden-hidden-hidden"


def statuses(steps: list[Step]) -> dict[str, str]:
    return {step.name: step.status for step in steps}


def variables(workspace: Workspace) -> dict[str, str]:
    assert isinstance(workspace.credentials, ClientCredentials)
    return {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }


@pytest.fixture
def table(zerobus: LocalZerobus, table_name: str) -> str:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, name STRING)")
    return table_name


@pytest.fixture
def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_everything_is_right_and_no_row_was_written(zerobus: LocalZerobus, table: str) -> None:
    steps = list(diagnose(table, environ=variables(zerobus.workspace)))
    assert statuses(steps) == dict.fromkeys(
        ["environment", "endpoint", "workspace", "sign in", "table", "grants", "stream"], "ok"
    )
    assert zerobus.read(table).num_rows == 0


def test_without_a_table_the_steps_end_with_the_sign_in(zerobus: LocalZerobus) -> None:
    steps = list(diagnose(workspace=zerobus.workspace))
    assert statuses(steps) == dict.fromkeys(["endpoint", "workspace", "sign in"], "ok")


def test_missing_variables_are_named_and_nothing_else_is_tried(zerobus: LocalZerobus) -> None:
    environ = variables(zerobus.workspace)
    del environ["DATABRICKS_HOST"]
    (step,) = diagnose(environ=environ)
    assert (step.name, step.status, step.detail) == ("environment", "failed", "set DATABRICKS_HOST in the environment")
    assert "DATABRICKS_CLIENT_SECRET is set" in step.advice
    assert environ["DATABRICKS_CLIENT_SECRET"] not in repr(step)


def test_an_endpoint_that_nobody_listens_at_is_named(zerobus: LocalZerobus, table: str, closed_port: str) -> None:
    environ = variables(zerobus.workspace) | {"ZEROBUS_SERVER_ENDPOINT": closed_port}
    steps = list(diagnose(table, environ=environ))
    assert statuses(steps)["endpoint"] == "failed"
    assert "cannot be reached" in steps[1].detail
    assert "check ZEROBUS_SERVER_ENDPOINT" in steps[1].advice
    assert statuses(steps)["stream"] == "skipped"
    assert statuses(steps)["table"] == "ok"


def test_steps_that_need_a_workspace_are_skipped_if_it_is_not_reached(
    zerobus: LocalZerobus, table: str, closed_port: str
) -> None:
    environ = variables(zerobus.workspace) | {"DATABRICKS_HOST": closed_port}
    started = time.monotonic()
    steps = list(diagnose(table, environ=environ))
    assert time.monotonic() - started < 10
    assert statuses(steps) == {
        **dict.fromkeys(["environment", "endpoint"], "ok"),
        "workspace": "failed",
        **dict.fromkeys(["sign in", "table", "grants", "stream"], "skipped"),
    }
    assert "the local server is probably not running, or was restarted on other ports" in steps[2].advice
    assert steps[3].detail == "the workspace was not reached"


def test_an_unknown_host_is_named(zerobus: LocalZerobus) -> None:
    environ = variables(zerobus.workspace) | {"DATABRICKS_HOST": "https://workspace.invalid"}
    step = next(step for step in diagnose(environ=environ) if step.name == "workspace")
    assert step.status == "failed"
    assert step.detail.startswith("the name workspace.invalid is not known (")


def test_where_a_proxy_is_set_a_closed_way_may_still_be_right(zerobus: LocalZerobus, closed_port: str) -> None:
    environ = variables(zerobus.workspace) | {"ZEROBUS_SERVER_ENDPOINT": closed_port, "HTTPS_PROXY": "http://p:3128"}
    step = next(step for step in diagnose(environ=environ) if step.name == "endpoint")
    assert step.status == "warning"
    assert "https_proxy is set" in step.detail


def test_a_server_that_does_not_speak_tls_fails_the_handshake(zerobus: LocalZerobus) -> None:
    port = zerobus.workspace_url.rpartition(":")[2]
    environ = variables(zerobus.workspace) | {"DATABRICKS_HOST": f"https://127.0.0.1.:{port}"}
    step = next(step for step in diagnose(environ=environ) if step.name == "workspace")
    assert step.status == "failed"


def test_a_wrong_secret_fails_the_sign_in_and_is_shown_nowhere(zerobus: LocalZerobus, table: str) -> None:
    environ = variables(zerobus.workspace) | {"DATABRICKS_CLIENT_SECRET": SECRET}
    steps = list(diagnose(table, environ=environ))
    assert statuses(steps) == {
        **dict.fromkeys(["environment", "endpoint", "workspace"], "ok"),
        "sign in": "failed",
        **dict.fromkeys(["table", "grants", "stream"], "skipped"),
    }
    assert SECRET not in repr(steps)


def test_an_unknown_table_fails_its_step(zerobus: LocalZerobus) -> None:
    steps = list(diagnose("main.default.nope", workspace=zerobus.workspace))
    assert statuses(steps)["table"] == "failed"
    assert (statuses(steps)["grants"], statuses(steps)["stream"]) == ("skipped", "skipped")


@pytest.mark.parametrize(
    ("grants", "missing"),
    [
        (["SELECT ON TABLE {table}"], "MODIFY ON TABLE {table}"),
        (["SELECT ON TABLE {table}", "MODIFY ON SCHEMA main.default"], "MODIFY ON TABLE {table}"),
        (["ALL PRIVILEGES ON TABLE {table}"], "SELECT ON TABLE {table}, MODIFY ON TABLE {table}"),
    ],
)
def test_missing_grants_are_named_with_the_statements_that_give_them(
    server: LocalZerobus, grants: list[str], missing: str
) -> None:
    table = "main.default.t"
    server.create_table(f"CREATE TABLE {table} (id BIGINT)")
    workspace = server.create_principal("etl")
    client_id = workspace.credentials.client_id
    use = ["USE CATALOG ON CATALOG main", "USE SCHEMA ON SCHEMA main.default"]
    for grant in [*use, *grants]:
        server.sql(f"GRANT {grant.format(table=table)} TO `{client_id}`")
    steps = {step.name: step for step in diagnose(table, workspace=workspace)}
    assert steps["grants"].status == "warning"
    assert f"not seen: {missing.format(table=table)} (" in steps["grants"].detail
    assert steps["stream"].status == "failed"
    assert type(steps["stream"].error).__name__ == "PermissionDeniedError"
    for statement in steps["grants"].advice.split("; "):
        server.sql(statement)
    healed = {step.name: step.status for step in diagnose(table, workspace=workspace)}
    assert (healed["grants"], healed["stream"]) == ("ok", "ok")


def test_a_stream_that_does_not_open_fails_within_its_deadline(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    server.faults.add(action="hang_open")
    options = IngestOptions(open_timeout=0.5)
    steps = list(diagnose("main.default.t", workspace=server.workspace, options=options))
    assert statuses(steps)["stream"] == "failed"
    assert steps[-1].error is not None
    assert steps[-1].error.retryable


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda known: known, 0),
        (lambda known: known | {"DATABRICKS_CLIENT_SECRET": SECRET}, 77),
        (lambda known: known | {"DATABRICKS_CLIENT_ID": ""}, 2),
    ],
    ids=["all right", "wrong secret", "no client id"],
)
def test_the_command_prints_the_steps_and_ends_in_the_code_of_the_first_failure(
    zerobus: LocalZerobus, table: str, change: Callable[[dict[str, str]], dict[str, str]], code: int
) -> None:
    environ = change(variables(zerobus.workspace))
    as_json = cli_runner().invoke(main, ["doctor", "--table", table, "--json"], env=environ)
    steps = json.loads(as_json.stdout)
    assert (as_json.exit_code, as_json.stderr) == (code, "")
    assert all({"step", "status", "detail", "advice"} <= set(step) for step in steps)
    plain = cli_runner().invoke(main, ["doctor", "--table", table], env=environ)
    assert plain.exit_code == code
    assert len(plain.stdout.splitlines()) >= len(steps)
    for secret in (SECRET, environ["DATABRICKS_CLIENT_SECRET"]):
        assert secret not in plain.output + as_json.output
