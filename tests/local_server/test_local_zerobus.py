"""LocalZerobus and LocalZerobusProcess: started, used by the real clients, killed, started again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from zerobus.sdk.shared import RecordType, StreamConfigurationOptions, TableProperties, ZerobusException
from zerobus.sdk.sync import ZerobusSdk

from zerobus_core import ClientCredentials, Workspace
from zerobus_local import InvalidRequest, LocalZerobus, LocalZerobusError, LocalZerobusProcess
from zerobus_local.catalog.data_folder import DataFolderLock, running_server

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

Started = LocalZerobus | LocalZerobusProcess


def credentials(workspace: Workspace) -> ClientCredentials:
    assert isinstance(workspace.credentials, ClientCredentials)
    return workspace.credentials


def client(workspace: Workspace) -> WorkspaceClient:
    from databricks.sdk import WorkspaceClient  # takes a second, in each process that collects this module

    known = credentials(workspace)
    return WorkspaceClient(host=workspace.workspace_url, client_id=known.client_id, client_secret=known.client_secret)


def send(workspace: Workspace, table: str, ids: range) -> None:
    """The loop of the official SDK's README: one JSON record after the other, then flush and close."""
    known = credentials(workspace)
    stream = ZerobusSdk(workspace.endpoint, workspace.workspace_url).create_stream(
        known.client_id,
        known.client_secret,
        TableProperties(table),
        StreamConfigurationOptions(record_type=RecordType.JSON, recovery=False),
    )
    for number in ids:
        stream.ingest_record_offset({"id": number})
    stream.flush()
    stream.close()


def ids(server: Started, table: str) -> list[int]:
    return sorted(server.read(table)["id"].to_pylist())


@pytest.mark.parametrize("start", [LocalZerobus.start, LocalZerobusProcess.start], ids=["thread", "process"])
def test_rows_of_the_real_sdk_are_in_the_delta_table_and_stay_after_a_restart(
    tmp_path: Path, start: Callable[..., Started]
) -> None:
    with start(tmp_path) as server:
        server.create_table("CREATE TABLE main.default.t (id BIGINT NOT NULL)")
        send(server.workspace, "main.default.t", range(50))
        assert ids(server, "main.default.t") == list(range(50))
        first = server.workspace
    with start(tmp_path) as server:
        assert credentials(server.workspace) == credentials(first)
        send(server.workspace, "main.default.t", range(50, 60))
        assert ids(server, "main.default.t") == list(range(60))


def test_a_killed_server_comes_back_on_the_same_ports_with_every_acknowledged_row(tmp_path: Path) -> None:
    with LocalZerobusProcess.start(tmp_path) as server:
        server.create_table("CREATE TABLE main.default.t (id BIGINT NOT NULL)")
        before = server.workspace
        send(before, "main.default.t", range(10))
        server.kill()
        assert server.pid is None
        assert ids(server, "main.default.t") == list(range(10))
        server.restart()
        assert server.workspace == before
        send(before, "main.default.t", range(10, 20))
        assert ids(server, "main.default.t") == list(range(20))


def test_databricks_sdk_finds_its_way_by_host_and_credentials(zerobus: LocalZerobus, table_name: str) -> None:
    from databricks.sdk.errors import NotFound

    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL COMMENT 'key', p DECIMAL(10,2), c CHAR(2))")
    workspace = client(zerobus.workspace)
    table = workspace.tables.get(table_name)
    assert table.columns is not None
    described = [(c.name, c.type_text, str(c.type_name), c.nullable, c.position, c.comment) for c in table.columns]
    assert described == [
        ("id", "bigint", "ColumnTypeName.LONG", False, 0, "key"),
        ("p", "decimal(10,2)", "ColumnTypeName.DECIMAL", True, 1, None),
        ("c", "char(2)", "ColumnTypeName.CHAR", True, 2, None),
    ]
    assert (table.columns[1].type_precision, table.columns[1].type_scale) == (10, 2)
    assert workspace.current_user.me().user_name == credentials(zerobus.workspace).client_id
    assert workspace.get_workspace_id() == 1
    assert table_name in {table.full_name for table in workspace.tables.list("main", "default")}
    assert "main" in {catalog.name for catalog in workspace.catalogs.list()}
    assert "main.default" in {schema.full_name for schema in workspace.schemas.list("main")}
    assert workspace.tables.exists(table_name).table_exists
    with pytest.raises(NotFound, match=r"Table 'main\.default\.nope' does not exist"):
        workspace.tables.get("main.default.nope")
    with pytest.raises(NotFound, match="Catalog 'nope' does not exist"):
        workspace.tables.get("nope.default.t")


def test_sql_goes_through_the_statement_execution_api(server: LocalZerobus) -> None:
    statements = client(server.workspace).statement_execution
    statements.execute_statement("CREATE TABLE main.default.t (id BIGINT)", "any-warehouse")
    send(server.workspace, "main.default.t", range(3))
    answer = statements.execute_statement("SELECT count(*) AS n, max(id) AS m FROM main.default.t", "any-warehouse")
    assert answer.result is not None
    assert answer.result.data_array == [["3", "2"]]
    failed = statements.execute_statement("CREATE TABLE oops", "any-warehouse")
    assert failed.status is not None
    assert failed.status.error is not None
    assert "has no columns" in str(failed.status.error.message)


def test_a_principal_without_grants_gets_nowhere_and_with_them_writes(server: LocalZerobus) -> None:
    from databricks.sdk.errors import PermissionDenied

    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    other = server.create_principal("other")
    with pytest.raises(PermissionDenied, match="may not read"):
        client(other).tables.get("main.default.t")
    with pytest.raises(ZerobusException, match=r"not authorized to the requested authorizations.*SELECT on table"):
        send(other, "main.default.t", range(1))
    server.sql("GRANT USE CATALOG ON CATALOG main TO other; GRANT USE SCHEMA ON SCHEMA main.default TO other")
    server.sql("GRANT ALL PRIVILEGES ON TABLE main.default.t TO other")
    with pytest.raises(ZerobusException, match="Error Code: 4024"):
        send(other, "main.default.t", range(1))
    server.sql("GRANT SELECT, MODIFY ON TABLE main.default.t TO other")
    send(other, "main.default.t", range(1))
    assert ids(server, "main.default.t") == [0]
    server.sql("REVOKE MODIFY ON TABLE main.default.t FROM other")
    with pytest.raises(ZerobusException, match=r"MODIFY on table main\.default\.t"):
        send(other, "main.default.t", range(1, 2))


def test_only_the_first_principal_runs_sql_and_makes_others(server: LocalZerobus) -> None:
    from databricks.sdk.errors import PermissionDenied

    statements = client(server.create_principal("other")).statement_execution
    with pytest.raises(PermissionDenied, match="only the first service principal"):
        statements.execute_statement("DROP SCHEMA main.default", "any-warehouse")
    assert "main.default" in server.catalog.state.schemas


def test_dropped_and_added_columns_leave_the_rows_and_let_later_ones_in(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (gone STRING, id BIGINT NOT NULL)")
    send(server.workspace, "main.default.t", range(10))
    server.sql("ALTER TABLE main.default.t DROP COLUMN gone; ALTER TABLE main.default.t ADD COLUMN late STRING")
    assert server.read("main.default.t").column_names == ["id", "late"]
    send(server.workspace, "main.default.t", range(10, 20))
    assert ids(server, "main.default.t") == list(range(20))


def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from zerobus_local import LocalZerobusProcess; "
        "print(LocalZerobusProcess.start(sys.argv[1]).pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, timeout=300, check=False
    )
    assert int(parent.stdout) > 0
    deadline = time.monotonic() + 200
    while running_server(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    # Its data folder is free again, which it would not be if the child still ran.
    LocalZerobus.start(tmp_path).stop()


def test_effective_permissions_tell_where_a_privilege_comes_from(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    other = server.create_principal("other")
    server.sql("GRANT SELECT ON SCHEMA main.default TO other; GRANT MODIFY ON TABLE main.default.t TO other")
    grants = client(server.workspace).grants
    principal = credentials(other).client_id
    effective = grants.get_effective("TABLE", "main.default.t", principal=principal).privilege_assignments or []
    found = {(str(p.privilege), p.inherited_from_name) for a in effective for p in a.privileges or []}
    assert found == {("Privilege.SELECT", "main.default"), ("Privilege.MODIFY", None)}
    direct = grants.get("TABLE", "main.default.t", principal=principal).privilege_assignments or []
    assert [[str(p) for p in a.privileges or []] for a in direct] == [["Privilege.MODIFY"]]
    assert grants.get("TABLE", "main.default.t", principal="other").privilege_assignments == direct


def test_sql_returns_and_raises_the_same_here_and_in_a_child(server: LocalZerobus, tmp_path: Path) -> None:
    script = (
        "CREATE TABLE main.default.t (x INT DEFAULT 1); SELECT 1 AS n, TIMESTAMP '2024-12-31 00:00:00' AS at; "
        "SELECT x FROM main.default.t"
    )
    bad = ("SELECT * FROM main.default.nope", "CREATE CATALOG main", "SELECT", "CREATE SCHEMA nope.s")
    with LocalZerobusProcess.start(tmp_path / "child") as child:
        here, there = server.sql(script), child.sql(script)
        for result in (here, there):
            assert result[0].message.startswith("created table main.default.t")
        assert there[1:] == here[1:]
        assert there[0].notes == here[0].notes
        for statement in bad:
            refusals = []
            for either in (server, child):
                with pytest.raises(LocalZerobusError) as refused:
                    either.sql(statement)
                refusals.append((type(refused.value), str(refused.value)))
            assert refusals[0] == refusals[1]


def test_a_folder_whose_server_is_starting_or_ending_is_waited_for(tmp_path: Path) -> None:
    held = DataFolderLock(tmp_path)
    release = threading.Timer(1.5, held.release)
    release.start()
    LocalZerobus.start(tmp_path).stop()
    release.join()


def test_a_server_that_cannot_be_announced_is_stopped_and_gives_the_folder_up(tmp_path: Path) -> None:
    in_the_way = tmp_path / f".server.json.{os.getpid()}.tmp"
    in_the_way.mkdir()
    with pytest.raises(IsADirectoryError):
        LocalZerobus.start(tmp_path)
    in_the_way.rmdir()
    # The lock is given up last of all.
    LocalZerobus.start(tmp_path).stop()


def test_a_fork_neither_keeps_the_folder_nor_gives_it_up(tmp_path: Path) -> None:
    # In a process of its own, where no other thread is.
    script = """
import os, pathlib, signal, sys
from zerobus_local.catalog.data_folder import DataFolderLock, FolderInUseError
folder = pathlib.Path(sys.argv[1])
held = DataFolderLock(folder)
held.announce({"workspace_url": "http://127.0.0.1:1"})
child = os.fork()
if not child:
    held.release()
    os._exit(0)
os.waitpid(child, 0)
try:
    DataFolderLock(folder)
except FolderInUseError as error:
    print(error)
child = os.fork()
if not child:
    signal.pause()
try:
    held.release()
    DataFolderLock(folder).release()
finally:
    os.kill(child, signal.SIGKILL)
print("free")
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    refused, free = ended.stdout.splitlines()
    assert "in use by another zerobus-local at http://127.0.0.1:1" in refused
    assert free == "free"


def test_a_second_server_on_the_same_folder_or_port_is_refused(server: LocalZerobus, tmp_path: Path) -> None:
    with pytest.raises(LocalZerobusError, match=f"in use by another zerobus-local at {server.workspace_url}: stop"):
        LocalZerobus.start(server.data)
    for name, url in (("http_port", server.workspace_url), ("grpc_port", server.endpoint)):
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            LocalZerobus.start(tmp_path / "second", **{name: port})
    # What had been started was taken down again: the folder is free.
    LocalZerobus.start(tmp_path / "second").stop()


def test_stopping_twice_is_fine_and_frees_the_ports(tmp_path: Path) -> None:
    server = LocalZerobus.start(tmp_path)
    server.stop()
    server.stop()
    for url in (server.endpoint, server.workspace_url):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", int(url.rpartition(":")[2])))


def test_a_server_that_was_stopped_reads_and_changes_nothing(tmp_path: Path) -> None:
    with LocalZerobus.start(tmp_path) as server:
        server.create_table("CREATE TABLE main.default.t (x INT)")
    before = sorted(tmp_path.rglob("*"))
    changes: list[Callable[[], object]] = [
        lambda: server.create_table("CREATE TABLE main.default.u (x INT)"),
        lambda: server.sql("DROP TABLE main.default.t"),
        lambda: server.create_principal("other"),
        server.expire_tokens,
    ]
    for change in changes:
        with pytest.raises(LocalZerobusError, match="is stopped"):
            change()
    assert sorted(tmp_path.rglob("*")) == before
    assert server.read("main.default.t").num_rows == 0


def test_a_list_of_tables_or_schemas_needs_to_be_told_of_what(server: LocalZerobus) -> None:
    from databricks.sdk.errors import InvalidParameterValue

    workspace = client(server.workspace)
    for parameters, missing in (({}, "catalog_name"), ({"catalog_name": "main"}, "schema_name")):
        with pytest.raises(InvalidParameterValue, match=f"needs the query parameter {missing}"):
            workspace.api_client.do("GET", "/api/2.1/unity-catalog/tables", query=parameters)
    with pytest.raises(InvalidParameterValue, match="needs the query parameter catalog_name"):
        workspace.api_client.do("GET", "/api/2.1/unity-catalog/schemas")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"host": "0.0.0.0"}, "can be reached from other machines"),
        ({"host": "example.com"}, "can be reached from other machines"),
        ({"grpc_port": 70_000}, "grpc_port must be a port number from 0 to 65535 .0 picks a free port., not 70000"),
        ({"commit_delay": -1.0}, "commit_delay -1.0 is not a number of seconds"),
        ({"token_lifetime": float("nan")}, "token_lifetime nan"),
        ({"rows_per_second": "many"}, "rows_per_second must be a number above 0, or None for no limit; it is 'many'"),
        ({"ack_delay": "0.1"}, "ack_delay must be from 0 to 1e.09 s; it is '0.1'"),
        ({"open_delay": None}, "open_delay must be from 0 to 1e.09 s; it is None"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(tmp_path: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        LocalZerobus.start(tmp_path, **options)


def test_a_process_that_cannot_start_says_why(tmp_path: Path, server: LocalZerobus) -> None:
    port = int(server.endpoint.rpartition(":")[2])
    with pytest.raises(LocalZerobusError, match=f"cannot listen on 127.0.0.1:{port}"):
        LocalZerobusProcess.start(tmp_path / "other", grpc_port=port)


def test_a_process_on_a_folder_in_use_says_so_in_the_words_of_this_start_only(server: LocalZerobus) -> None:
    (server.data / "server.log").write_text("what an earlier start said\n")
    with pytest.raises(LocalZerobusError, match=r"ended with code 1 instead of starting.*\n.*in use") as refused:
        LocalZerobusProcess.start(server.data)
    assert "earlier start" not in str(refused.value)


def test_a_process_that_takes_too_long_is_said_to_have_and_is_gone(tmp_path: Path) -> None:
    with pytest.raises(LocalZerobusError, match=r"did not start within 0\.01 s"):
        LocalZerobusProcess.start(tmp_path, timeout=0.01)
    LocalZerobus.start(tmp_path).stop()


def test_the_secret_is_in_no_repr_and_its_file_is_private(server: LocalZerobus) -> None:
    secret = credentials(server.workspace).client_secret
    assert secret not in repr(server) + repr(server.workspace) + repr(server.catalog.principals.default)
    file = server.data / "principals.json"
    assert secret in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
