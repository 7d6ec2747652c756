"""Our own client and databricks-sdk, the reference: the same answers, proxies and certificates lead to the same end."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.core.schema.http_workspace import (
    SECRET,
    Answer,
    proxy_that_passes_on,
    say,
    say_raw,
    workspace_that,
)
from zerobus_core import (
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    TableNotFoundError,
    ThrottledError,
    TransportError,
    Workspace,
    ZerobusIngestError,
)
from zerobus_core.schema.unity_catalog import ask, fetch_table_info

Road = Callable[[Workspace], Any]
TABLE = "main.default.t"
PATIENCE = 12.0

ROADS: dict[str, Road] = {
    "our own": lambda workspace: fetch_table_info(workspace, TABLE, timeout=PATIENCE, max_age=0),
    "databricks-sdk": lambda workspace: ask(workspace, f"/api/2.1/unity-catalog/tables/{TABLE}", timeout=PATIENCE),
}
WAY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle")


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest) -> Road:
    return ROADS[request.param]


@pytest.fixture(autouse=True)
def _no_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*WAY_VARIABLES, "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for 127.0.0.1, and the bundle of the authority that signed it."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path_factory.mktemp("ca") / "bundle.pem"
    ca.cert_pem.write_to_path(str(bundle))
    return context, bundle


def test_a_table_is_described(road: Road) -> None:
    with workspace_that() as (workspace, _):
        assert road(workspace)["full_name"] == TABLE


@pytest.mark.parametrize(
    ("tables", "error"),
    [
        (say(401, error_code="UNAUTHENTICATED", message="no"), AuthenticationError),
        (say(403, error_code="PERMISSION_DENIED", message="no"), PermissionDeniedError),
        (say(404, error_code="TABLE_DOES_NOT_EXIST", message="no"), TableNotFoundError),
        (say(400, error_code="INVALID_PARAMETER_VALUE", message="no"), ConfigurationError),
        (say(429, error_code="REQUEST_LIMIT_EXCEEDED", message="no"), ThrottledError),
        (say(400, error_code="RESOURCE_EXHAUSTED", message="no"), ThrottledError),
        (say(500, error_code="INTERNAL_ERROR", message="no"), TransportError),
        (say(503, error_code="TEMPORARILY_UNAVAILABLE", message="no"), TransportError),
        (say_raw(200, b"[]", "application/json"), TransportError),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_answer_of_unity_catalog_is_the_same_error(
    road: Road, tables: Answer, error: type[ZerobusIngestError]
) -> None:
    with workspace_that(tables) as (workspace, _), pytest.raises(error) as caught:
        road(workspace)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (say(401, error="invalid_client", error_description="no"), AuthenticationError),
        (say(400, error="unauthorized_client", error_description="no"), AuthenticationError),
        (say(500, error="server_error", error_description="no"), TransportError),
        (say(200, nothing="useful"), TransportError),
        (say_raw(200, b"<html><title>Sign in</title></html>", "text/html"), TransportError),
        (say_raw(401, b""), AuthenticationError),
        (say_raw(302, b"", Location="http://127.0.0.1:9/elsewhere"), TransportError),
        (say_raw(429, b""), ThrottledError),
        (say_raw(502, b""), TransportError),
        (say_raw(503, b""), TransportError),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_answer_of_the_token_route_is_the_same_error(
    road: Road, token: Answer, error: type[ZerobusIngestError]
) -> None:
    with workspace_that(token=token) as (workspace, _), pytest.raises(ZerobusIngestError) as caught:
        road(workspace)
    assert type(caught.value) is error
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_of_the_environment_is_used_with_its_login(
    road: Road, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with workspace_that() as (workspace, _), proxy_that_passes_on() as (port, seen):
        monkeypatch.setenv(variable, f"http://user:pass%40word@127.0.0.1:{port}")
        assert road(workspace)["full_name"] == TABLE
        login = base64.b64encode(b"user:pass@word").decode()
        assert f"GET {workspace.workspace_url}/api/2.1/unity-catalog/tables/{TABLE} Basic {login}" in seen


@pytest.mark.parametrize("hosts", ["127.0.0.1", "elsewhere.example, 127.0.0.0/8", "*"])
def test_a_host_that_no_proxy_names_is_reached_directly(
    road: Road, monkeypatch: pytest.MonkeyPatch, hosts: str
) -> None:
    with workspace_that() as (workspace, _), proxy_that_passes_on() as (port, seen):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", hosts)
        assert road(workspace)["full_name"] == TABLE
        assert seen == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_is_trusted(
    road: Road, monkeypatch: pytest.MonkeyPatch, authority: tuple[ssl.SSLContext, Path], variable: str
) -> None:
    tls, bundle = authority
    monkeypatch.setenv(variable, str(bundle))
    with workspace_that(tls=tls) as (workspace, _):
        assert road(workspace)["full_name"] == TABLE


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE"])
def test_a_bundle_of_openssl_is_trusted_by_our_own_road(
    monkeypatch: pytest.MonkeyPatch, authority: tuple[ssl.SSLContext, Path], variable: str
) -> None:
    tls, bundle = authority
    monkeypatch.setenv(variable, str(bundle))
    with workspace_that(tls=tls) as (workspace, _):
        assert ROADS["our own"](workspace)["full_name"] == TABLE


def test_an_unknown_certificate_is_refused_with_the_variables_that_help(
    road: Road, authority: tuple[ssl.SSLContext, Path]
) -> None:
    with workspace_that(tls=authority[0]) as (workspace, seen):
        with pytest.raises(ConfigurationError, match="REQUESTS_CA_BUNDLE or SSL_CERT_FILE"):
            road(workspace)
        assert seen == []


def test_a_bundle_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    named = pytest.raises(ConfigurationError, match=r"REQUESTS_CA_BUNDLE=.*nowhere\.pem")
    with workspace_that(tls=tls) as (workspace, _), named:
        ROADS["our own"](workspace)


def test_https_goes_through_a_tunnel(
    road: Road, monkeypatch: pytest.MonkeyPatch, authority: tuple[ssl.SSLContext, Path]
) -> None:
    tls, bundle = authority
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with workspace_that(tls=tls) as (workspace, _), proxy_that_passes_on() as (port, seen):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        assert road(workspace)["full_name"] == TABLE
        assert any(line.startswith("CONNECT 127.0.0.1:") for line in seen)


def test_a_proxy_that_is_not_there_is_named(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with workspace_that() as (workspace, _), pytest.raises(TransportError, match="check http_proxy and no_proxy"):
        road(workspace)


def test_https_to_a_local_server_is_refused_with_the_right_form() -> None:
    with workspace_that() as (workspace, _):
        wrong = replace(workspace, workspace_url=workspace.workspace_url.replace("http://", "https://"))
        with pytest.raises(ConfigurationError, match=f"write {workspace.workspace_url}"):
            ROADS["our own"](wrong)
