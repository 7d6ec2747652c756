from __future__ import annotations

import json
import socket
from importlib import import_module

import pytest

from tests.airflow_provider.conftest import AIRFLOW
from zerobus_airflow import ZerobusHook
from zerobus_airflow.compat import mask_secret
from zerobus_core.errors import ConfigurationError
from zerobus_core.workspace import ClientCredentials, FederatedCredentials

SECRET = "dose-of-secrecy-1234"
ENDPOINT = "https://1234567890.zerobus.us-east-1.cloud.databricks.com"
GOOD = {
    "conn_type": "zerobus",
    "host": "https://dbc-a1b2c3d4-e5f6.cloud.databricks.com/",
    "login": "5d1c1d7a-service-principal",
    "password": SECRET,
    "extra": {"endpoint": ENDPOINT},
}
# Airflow 3.0 and 3.1 refuse a connection with such an Extra themselves, and do not say why.
UNREADABLE = (
    "Airflow cannot read the environment variable AIRFLOW_CONN_UNDER_TEST. Expected a URI or a JSON object. "
    "Port must be a number, and Extra must be a JSON object"
    if (3, 0) <= AIRFLOW < (3, 2)
    else ""
)


@pytest.fixture
def hook_of(monkeypatch):
    def build(fields, **arguments):
        text = fields if isinstance(fields, str) else json.dumps(fields)
        monkeypatch.setenv("AIRFLOW_CONN_UNDER_TEST", text)
        return ZerobusHook("under_test", **arguments)

    return build


@pytest.mark.matrix
def test_a_zerobus_connection_becomes_a_workspace(hook_of):
    workspace = hook_of(GOOD).get_workspace()
    assert workspace.endpoint == ENDPOINT
    assert workspace.workspace_url == "https://dbc-a1b2c3d4-e5f6.cloud.databricks.com"
    assert workspace.credentials == ClientCredentials(client_id=GOOD["login"], client_secret=SECRET)


def test_a_connection_may_be_written_as_a_uri(hook_of):
    uri = f"zerobus://an-id:{SECRET}@dbc-1.cloud.databricks.com?endpoint={ENDPOINT.replace('/', '%2F')}"
    workspace = hook_of(uri).get_workspace()
    assert (workspace.workspace_url, workspace.endpoint) == ("https://dbc-1.cloud.databricks.com", ENDPOINT)


@pytest.mark.parametrize(
    "given",
    [
        {"extra": {"service_principal_oauth": True}},
        {"extra": {"service_principal_oauth": True, "token": "dapi-of-other-tasks"}},
        {"extra": {}},
        {"login": None, "password": None, "extra": {"client_id": GOOD["login"], "client_secret": SECRET}},
    ],
    ids=["service_principal_oauth", "the same with a token", "login and password", "in the extra"],
)
def test_an_existing_databricks_connection_is_taken(hook_of, given):
    workspace = hook_of({**GOOD, "conn_type": "databricks", **given}, endpoint=ENDPOINT).get_workspace()
    assert workspace.credentials == ClientCredentials(client_id=GOOD["login"], client_secret=SECRET)


def test_a_databricks_connection_may_hold_the_endpoint_in_its_extra(hook_of):
    fields = {**GOOD, "conn_type": "databricks", "extra": {"zerobus_endpoint": ENDPOINT}}
    assert hook_of(fields).get_workspace().endpoint == ENDPOINT


def test_a_file_of_federated_tokens_is_read_each_time_that_a_token_is_needed(hook_of, tmp_path):
    file = tmp_path / "token"
    fields = {**GOOD, "password": None, "extra": {"endpoint": ENDPOINT, "federated_token_file": str(file)}}
    credentials = hook_of(fields).get_workspace().credentials
    assert isinstance(credentials, FederatedCredentials)
    for token in ("first.jwt.token", "second.jwt.token"):
        file.write_text(token + "\n")
        assert credentials.token_supplier() == token
    file.unlink()
    with pytest.raises(ConfigurationError, match="federated_token_file"):
        credentials.token_supplier()


@pytest.mark.parametrize(
    ("given", "workspace_url"),
    [
        ({"host": "dbc-1.cloud.databricks.com"}, "https://dbc-1.cloud.databricks.com"),
        ({"host": " https://dbc-1.cloud.databricks.com/\n"}, "https://dbc-1.cloud.databricks.com"),
        ({"host": "https://dbc-1.cloud.databricks.com/?o=123"}, "https://dbc-1.cloud.databricks.com"),
        ({"host": "https://dbc-1.cloud.databricks.com/explore/data?o=1#tab"}, "https://dbc-1.cloud.databricks.com"),
        ({"host": "https://dbc-1.cloud.databricks.com/", "port": 443}, "https://dbc-1.cloud.databricks.com"),
        ({"host": "https://dbc-1.cloud.databricks.com/", "port": 8443}, "https://dbc-1.cloud.databricks.com:8443"),
        ({"host": "http://127.0.0.1", "port": 8080}, "http://127.0.0.1:8080"),
        ({"host": "http://127.0.0.1:8080", "port": 8080}, "http://127.0.0.1:8080"),
    ],
)
def test_a_host_may_be_written_as_people_write_or_copy_it(hook_of, given, workspace_url):
    assert hook_of({**GOOD, **given}).get_workspace().workspace_url == workspace_url


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"host": None}, "Host is empty"),
        ({"host": "https://[dbc-1/?o=123"}, "is not a URL"),
        ({"host": "https://dbc-1.cloud.databricks.com:workspace"}, "is not a URL"),
        ({"conn_type": "http"}, "the connection is of type 'http'. Expected 'zerobus' or 'databricks'"),
        ({"conn_type": None}, "the connection is of type None. Expected 'zerobus' or 'databricks'"),
        ({"extra": "{endpoint: " + SECRET}, UNREADABLE or "Extra is not valid JSON"),
        ({"extra": f'["{SECRET}"]'}, UNREADABLE or "Extra must be a JSON object, not JSON of type list"),
        ({"extra": "{}"}, "the extra field 'endpoint' is empty"),
        ({"login": "ada@example.com", "extra": {"endpoint": ENDPOINT, "token": SECRET}}, "personal access token"),
        ({"host": ENDPOINT}, "is a Zerobus endpoint"),
        ({"login": None}, "personal access token"),
        ({"login": "token"}, "personal access token"),
        ({"login": None, "password": None}, "Login is empty"),
        ({"password": None}, "Password is empty"),
        ({"password": SECRET + "\n"}, "client_secret contains white space"),
        ({"extra": {}}, "the extra field 'endpoint' is empty"),
        ({"extra": {"endpoint": GOOD["host"]}}, "looks like a workspace URL"),
        ({"extra": {"endpoint": ENDPOINT, "azure_tenant_id": "t"}}, "Microsoft Entra"),
        ({"login": None, "password": None, "extra": {"endpoint": ENDPOINT, "token": SECRET}}, "personal access token"),
    ],
)
def test_a_mistake_in_the_form_names_the_connection_and_the_field(hook_of, given, message):
    with pytest.raises(ConfigurationError) as caught:
        hook_of({**GOOD, **given}).get_workspace()
    assert "'under_test'" in str(caught.value)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", [f'{{"conn_type": "zerobus", "password": {SECRET}', f"zerobus://id:x/{SECRET}@host"])
def test_a_connection_that_airflow_cannot_read_is_not_said_to_be_missing(hook_of, text):
    with pytest.raises(ConfigurationError) as caught:
        hook_of(text).get_workspace()
    assert "Airflow cannot read the environment variable AIRFLOW_CONN_UNDER_TEST" in str(caught.value)
    assert "there is no connection" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.matrix
def test_the_secret_is_told_to_airflows_masker(hook_of):
    hook_of({**GOOD, "password": None, "extra": {"endpoint": ENDPOINT, "client_secret": SECRET}}).get_workspace()
    redact = import_module(mask_secret.__module__).redact
    assert SECRET not in str(redact(f"it is {SECRET}"))


def test_testing_a_connection_tells_of_a_mistake_in_the_form(hook_of):
    is_good, message = hook_of({**GOOD, "host": None}).test_connection()
    assert not is_good
    assert "Host is empty" in message
    # Airflow tests what is in the form under an id that it makes up.
    assert "under_test" not in message


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_testing_a_connection_to_a_workspace_that_is_not_there_fails_in_time(hook_of, target):
    nowhere = f"127.0.0.1:{closed_port()}"
    fields = {**target.connection, "host": f"http://{nowhere}", "password": SECRET}
    is_good, message = hook_of(fields).test_connection()
    assert not is_good
    assert f"workspace: {nowhere} cannot be reached" in message
    assert SECRET not in message


@pytest.mark.matrix
def test_testing_a_connection_signs_in_and_reaches_the_endpoint(hook_of, target):
    is_good, message = hook_of(target.connection).test_connection()
    assert is_good, message
    assert f"{target.workspace.endpoint.removeprefix('http://')} answers" in message
    assert "sign in: the workspace knows us as" in message


def test_testing_a_connection_with_a_wrong_secret_says_so(hook_of, target):
    is_good, message = hook_of({**target.connection, "password": SECRET}).test_connection()
    assert not is_good
    assert "secret" in message
    assert SECRET not in message


def test_testing_a_connection_finds_an_endpoint_that_does_not_answer(hook_of, target):
    nowhere = f"127.0.0.1:{closed_port()}"
    fields = {**target.connection, "extra": {"endpoint": f"http://{nowhere}"}}
    is_good, message = hook_of(fields).test_connection()
    assert not is_good
    assert f"endpoint: {nowhere} cannot be reached" in message


def test_testing_a_connection_behind_a_proxy_does_not_fail_for_what_it_cannot_try(hook_of, target, monkeypatch):
    monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{closed_port()}")
    nowhere = f"127.0.0.1:{closed_port()}"
    is_good, message = hook_of({**target.connection, "extra": {"endpoint": f"http://{nowhere}"}}).test_connection()
    assert is_good, message
    assert f"{nowhere} cannot be reached" in message
    assert "grpc_proxy is set, and this check does not connect through a proxy" in message
