"""TableSchema.fetch: over real HTTP, against the local service and against servers that misbehave."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.schema.http_workspace import Answer, say, workspace_that
from zerobus_core import ClientCredentials, FederatedCredentials, TableSchema, Workspace
from zerobus_core.errors import (
    AuthenticationError,
    IngestTimeoutError,
    PermissionDeniedError,
    TableNotFoundError,
    ThrottledError,
    TransportError,
    ZerobusIngestError,
)
from zerobus_core.schema.unity_catalog.sdk_client import TRANSLATION

if TYPE_CHECKING:
    from zerobus_local import LocalZerobus

# Seconds: half of it is spent on asking again, and the other half is enough for the answers of a very busy machine.
PATIENCE = 12


def test_a_table_of_the_service_is_fetched_with_its_types(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(
        f"CREATE TABLE {table_name} (id BIGINT NOT NULL COMMENT 'key', at TIMESTAMP, price DECIMAL(10,2), "
        "code CHAR(3), tags MAP<STRING, ARRAY<INT>>, st STRUCT<a: INT NOT NULL, b: VARCHAR(5)>)"
    )
    schema = TableSchema.fetch(zerobus.workspace, table_name)
    assert schema.table == table_name
    assert [str(column) for column in schema.columns] == [
        "id: BIGINT NOT NULL",
        "at: TIMESTAMP",
        "price: DECIMAL(10,2)",
        "code: CHAR(3)",
        "tags: MAP<STRING, ARRAY<INT>>",
        "st: STRUCT<a: INT NOT NULL, b: VARCHAR(5)>",
    ]
    assert schema.columns[0].comment == "key"


def test_wrong_credentials_are_an_authentication_error_without_the_secret(zerobus: LocalZerobus) -> None:
    workspace = zerobus.workspace
    wrong = Workspace(
        endpoint=workspace.endpoint,
        workspace_url=workspace.workspace_url,
        credentials=ClientCredentials(client_id="nobody", client_secret="hush-hush"),
    )
    with pytest.raises(AuthenticationError, match="client id and secret") as caught:
        TableSchema.fetch(wrong, "main.default.t")
    assert "hush-hush" not in str(caught.value)


def test_an_unknown_table_is_named(zerobus: LocalZerobus) -> None:
    with pytest.raises(TableNotFoundError, match=r"main\.default\.nowhere: check the name"):
        TableSchema.fetch(zerobus.workspace, "main.default.nowhere")


def test_a_principal_without_grants_is_told_which_it_needs(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    stranger = server.create_principal("stranger")
    with pytest.raises((PermissionDeniedError, TableNotFoundError), match=r"MODIFY \+ SELECT on the table itself"):
        TableSchema.fetch(stranger, "main.default.t")


def test_federated_credentials_fetch_with_an_exchanged_token() -> None:
    asked: list[str] = []

    def supplier() -> str:
        asked.append("jwt")
        return "a-jwt"

    tables = say(200, full_name="main.default.t", columns=[{"name": "a", "type_text": "int", "position": 0}])
    with workspace_that(tables) as (workspace, _):
        federated = Workspace(
            endpoint=workspace.endpoint,
            workspace_url=workspace.workspace_url,
            credentials=FederatedCredentials(token_supplier=supplier, client_id="me"),
        )
        assert [column.name for column in TableSchema.fetch(federated, "main.default.t").columns] == ["a"]
    assert asked


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "UNAUTHENTICATED", AuthenticationError),
        (403, "PERMISSION_DENIED", PermissionDeniedError),
        (404, "TABLE_DOES_NOT_EXIST", TableNotFoundError),
        (429, "REQUEST_LIMIT_EXCEEDED", ThrottledError),
        (500, "INTERNAL_ERROR", TransportError),
        (503, "TEMPORARILY_UNAVAILABLE", TransportError),
    ],
)
def test_each_answer_of_unity_catalog_becomes_our_error(
    status: int, code: str, error: type[ZerobusIngestError]
) -> None:
    with workspace_that(say(status, error_code=code, message="no")) as (workspace, _), pytest.raises(error) as caught:
        TableSchema.fetch(workspace, "main.default.t", timeout=PATIENCE)
    assert caught.value.table == "main.default.t"
    assert "hush-hush" not in str(caught.value)


def test_every_error_that_databricks_sdk_defines_has_a_translation() -> None:
    from databricks.sdk.errors import base, platform  # takes a second, in each process that collects this module

    translated = tuple(foreign for foreign, _, _ in TRANSLATION)
    for name, kind in vars(platform).items():
        if isinstance(kind, type) and issubclass(kind, base.DatabricksError):
            assert issubclass(kind, translated), name


def test_a_server_that_never_answers_costs_no_more_than_the_timeout() -> None:
    released = threading.Event()
    with workspace_that(lambda _: None, token=lambda _: released.wait(20) and None) as (workspace, _):
        started = time.monotonic()
        with pytest.raises(IngestTimeoutError, match=r"did not answer within 0\.5 s"):
            TableSchema.fetch(workspace, "main.default.t", timeout=0.5)
        assert time.monotonic() - started < 15
        released.set()


def test_nobody_at_the_address_is_a_transport_error() -> None:
    url = "http://127.0.0.1:9"
    credentials = ClientCredentials(client_id="me", client_secret="hush-hush")
    nowhere = Workspace(endpoint=url, workspace_url=url, credentials=credentials)
    with pytest.raises(TransportError, match="the local server is probably not running"):
        TableSchema.fetch(nowhere, "a.b.c", timeout=PATIENCE)


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (say(401, error="invalid_client", error_description="no"), AuthenticationError),
        (say(500, error="server_error", error_description="oh"), TransportError),
        (say(200, nothing="useful"), TransportError),
    ],
)
def test_each_answer_of_the_token_route_becomes_our_error(token: Answer, error: type[ZerobusIngestError]) -> None:
    with workspace_that(say(200), token) as (workspace, _), pytest.raises(error):
        TableSchema.fetch(workspace, "main.default.t", timeout=PATIENCE)


@pytest.mark.parametrize(
    "fault",
    [{"action": "token_status", "http_status": 429}, {"action": "token_garbage"}, {"action": "token_cut"}],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
def test_a_token_route_that_stumbles_once_is_asked_again(server: LocalZerobus, fault: dict[str, Any]) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    server.faults.add(fault | {"times": 1})
    assert TableSchema.fetch(server.workspace, "main.default.t").columns[0].name == "id"
    assert len(server.faults.log()) == 1


def test_an_answer_is_given_again_while_it_is_young_and_to_the_same_identity_only() -> None:
    tables = say(200, full_name="main.default.t", columns=[{"name": "a", "type_text": "int", "position": 0}])
    with workspace_that(tables) as (workspace, seen):

        def requests() -> int:
            return sum("/tables/" in path for path in seen)

        first = TableSchema.fetch(workspace, "main.default.t")
        assert TableSchema.fetch(workspace, "main.default.t") == first
        assert requests() == 1
        TableSchema.fetch(workspace, "main.default.t", max_age=0)
        assert requests() == 2
        other = ClientCredentials(client_id="me", client_secret="another")
        TableSchema.fetch(
            Workspace(endpoint=workspace.endpoint, workspace_url=workspace.workspace_url, credentials=other),
            "main.default.t",
        )
        assert requests() == 3


@dataclass
class Supplier:
    """A token supplier that cannot be hashed: its dataclass compares by value and is not frozen."""

    token: str

    def __call__(self) -> str:
        return self.token


def test_a_token_supplier_that_cannot_be_hashed_is_an_identity_of_its_own() -> None:
    with workspace_that() as (workspace, seen):

        def fetch(supplier: Supplier) -> int:
            """Fetch the table, and return how many requests for it there were so far."""
            credentials = FederatedCredentials(token_supplier=supplier, client_id="me")
            TableSchema.fetch(
                Workspace(endpoint=workspace.endpoint, workspace_url=workspace.workspace_url, credentials=credentials),
                "main.default.t",
            )
            return sum("/tables/" in path for path in seen)

        one, other = Supplier("a-jwt"), Supplier("a-jwt")
        assert (fetch(one), fetch(one), fetch(other)) == (1, 1, 2)


def test_variables_of_the_environment_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-of-someone")
    monkeypatch.setenv("DATABRICKS_HOST", "https://elsewhere.cloud.databricks.com")
    monkeypatch.setenv("DATABRICKS_AUTH_TYPE", "pat")
    tables = say(200, full_name="main.default.t", columns=[{"name": "a", "type_text": "int", "position": 0}])
    with workspace_that(tables) as (workspace, seen):
        TableSchema.fetch(workspace, "main.default.t")
    assert any("/tables/main.default.t" in path for path in seen)
