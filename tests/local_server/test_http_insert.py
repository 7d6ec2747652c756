"""REST insert, and the frame around every HTTP route."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from zerobus_core import ClientCredentials
from zerobus_local.catalog.rows import plain_rows

if TYPE_CHECKING:
    from zerobus_local import LocalZerobus


@pytest.fixture
def table(server: LocalZerobus) -> str:
    return server.create_table(
        "CREATE TABLE main.default.t (id BIGINT NOT NULL, name STRING, at TIMESTAMP, CONSTRAINT p CHECK (id >= 0))"
    ).full_name


def token(server: LocalZerobus, table: str) -> str:
    known = server.workspace.credentials
    assert isinstance(known, ClientCredentials)
    detail = {"object_type": "TABLE", "object_full_path": table, "privileges": ["SELECT", "MODIFY"]}
    form = {"grant_type": "client_credentials", "authorization_details": json.dumps([detail])}
    auth = (known.client_id, known.client_secret)
    return str(httpx.post(f"{server.workspace_url}/oidc/v1/token", data=form, auth=auth).json()["access_token"])


def insert(server: LocalZerobus, table: str, body: Any, bearer: str | None = None) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {bearer or token(server, table)}", "content-type": "application/json"}
    return httpx.post(
        f"{server.workspace_url}/zerobus/v1/tables/{table}/insert", content=content, headers=headers, timeout=30
    )


def test_inserted_rows_are_in_the_delta_table_when_the_answer_comes(server: LocalZerobus, table: str) -> None:
    answer = insert(server, table, [{"id": 1, "name": "a", "at": 1_700_000_000_000_000}, {"id": 2}])
    assert (answer.status_code, answer.json()) == (200, {})
    rows = server.read(table).sort_by("id").to_pylist()
    assert [row["name"] for row in rows] == ["a", None]
    assert str(rows[0]["at"]) == "2023-11-14 22:13:20+00:00"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"id": 1}, "JSON array"),
        ([], "JSON array"),
        (b"", "not valid JSON"),
        (b"[{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[NaN]", "not valid JSON"),
        ([1], "record 0"),
        ([{"id": 1}, {"nope": 1, "id": 2}], "record 1, field nope"),
        ([{"id": 1}, {"name": "x"}], "record 1, field id"),
        ([{"id": 1}, {"id": "x"}], "record 1, field id"),
        ([{"id": 1}, {"id": 2, "at": "2024-01-01"}], "record 1, field at"),
        ([{"id": 1}, {"id": -1}], "record 1: violates the constraint p"),
        ([{"id": 1}, {"id": 2**63}], "record 1, field id"),
        (b'[{"id": 1, "id": 2}]', "has the field 'id' twice"),
        (b'[{"id": 1}, {"id": 2, "name": "a", "n\\u0061me": "b"}]', "has the field 'name' twice"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_nothing_of_a_refused_request_lands_and_the_message_names_the_place(
    server: LocalZerobus, table: str, body: Any, says: str
) -> None:
    answer = insert(server, table, body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert says in answer.json()["message"]
    assert server.read(table).num_rows == 0


def test_insert_checks_name_token_and_table(server: LocalZerobus, table: str) -> None:
    other = server.create_table("CREATE TABLE main.default.u (id BIGINT)").full_name
    rows = [{"id": 1}]
    expected = {
        "name": (insert(server, "main.default", rows, "x"), 400, "INVALID_PARAMETER_VALUE"),
        "escape": (insert(server, "main.default.%2e%2e", rows, "x"), 400, "INVALID_PARAMETER_VALUE"),
        "no table": (insert(server, "main.default.nope", rows), 404, "NOT_FOUND"),
        "garbage": (insert(server, table, rows, "x"), 401, "UNAUTHENTICATED"),
        "other table": (insert(server, table, rows, token(server, other)), 403, "PERMISSION_DENIED"),
    }
    for name, (answer, status, code) in expected.items():
        assert (name, answer.status_code, answer.json()["error_code"]) == (name, status, code)
    assert server.read(table).num_rows == 0


def test_faults_trigger_for_inserts_before_and_after_the_commit(server: LocalZerobus, table: str) -> None:
    server.faults.add(action="throttle", times=1)
    throttled = insert(server, table, [{"id": 1}])
    assert (throttled.status_code, throttled.json()["error_code"]) == (429, "RESOURCE_EXHAUSTED")
    assert server.read(table).num_rows == 0
    server.faults.add(action="fail", status="UNAVAILABLE", at="after_commit", times=1)
    assert insert(server, table, [{"id": 1}]).status_code == 503
    assert server.read(table).num_rows == 1
    assert [injection.action for injection in server.faults.log()] == ["throttle", "fail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("DELETE", "/oidc/v1/token", 405),
        ("GET", "/api/2.1/unity-catalog/tables/main.default.t", 401),
        ("GET", "/api/2.1/unity-catalog/tables/x/y/z", 404),
        ("POST", "/api/2.0/sql/statements", 401),
        ("DELETE", "/local/faults/99", 404),
        ("POST", "/local/faults", 400),
        ("POST", "/local/principals", 401),
    ],
)
def test_every_refusal_is_json_with_a_code_and_a_message(
    server: LocalZerobus, method: str, path: str, status: int
) -> None:
    answer = httpx.request(method, f"{server.workspace_url}{path}")
    assert answer.status_code == status
    assert answer.json().keys() == {"error_code", "message"}


def test_other_hosts_and_other_origins_are_refused(server: LocalZerobus) -> None:
    url = f"{server.workspace_url}/local/faults"
    assert httpx.get(url, headers={"host": "evil.example"}).status_code == 400
    rule = {"action": "withhold_ack"}
    assert httpx.post(url, json=rule, headers={"origin": "http://evil.example"}).status_code == 403
    assert server.faults.list() == {}
    assert httpx.post(url, json=rule, headers={"origin": server.workspace_url}).status_code == 200


def test_half_open_and_nonsense_connections_leave_the_server_standing(server: LocalZerobus) -> None:
    address = urlsplit(server.workspace_url)
    said = [
        b"",
        b"GET",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"POST /oidc/v1/token HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\nhalf",
        b"POST /oidc/v1/token HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: x\r\n\r\n",
    ]
    for text in said:
        with socket.create_connection((str(address.hostname), int(address.port or 0))) as connection:
            connection.sendall(text)
    assert httpx.get(f"{server.workspace_url}/.well-known/databricks-config").status_code == 200


def test_a_time_beyond_the_year_9999_is_stored_and_shown(server: LocalZerobus, table: str) -> None:
    assert insert(server, table, [{"id": 1, "at": 2**62}, {"id": 2, "at": 0}]).status_code == 200
    page = httpx.get(server.workspace_url)
    assert page.status_code == 200
    assert "timestamp[us, tz=UTC] out of Python" in page.text
    assert "1970-01-01 00:00:00+00:00" in page.text
    [result] = server.sql(f"SELECT * FROM {table}")
    assert len(plain_rows(result.rows)) == 2
