"""The OAuth routes, asked the way the SDKs ask, and everything that is wrong with a request."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import jwt
import pytest
from zerobus.sdk.shared import FederatedToken, RecordType, StreamConfigurationOptions, TableProperties, ZerobusException
from zerobus.sdk.sync import ZerobusSdk

from zerobus_core import ClientCredentials, Workspace
from zerobus_local import LocalZerobus, PermissionDenied, Unauthenticated
from zerobus_local.catalog.catalog import Catalog
from zerobus_local.catalog.tokens import Tokens

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
TABLE = {"object_type": "TABLE", "object_full_path": "main.default.t", "privileges": ["SELECT", "MODIFY"]}


def known(workspace: Workspace) -> tuple[str, str]:
    assert isinstance(workspace.credentials, ClientCredentials)
    return workspace.credentials.client_id, workspace.credentials.client_secret


def ask(server: LocalZerobus, form: dict[str, str], auth: tuple[str, str] | None = None, **more: Any) -> httpx.Response:
    return httpx.post(f"{server.workspace_url}/oidc/v1/token", data=form, auth=auth, **more)


def credentials_form(**more: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "scope": "all-apis"} | more


def subject(**claims: Any) -> str:
    return jwt.encode({"exp": time.time() + 60} | claims, "a key that nobody here knows, 32 bytes long")


def open_stream(workspace: Workspace, table: str) -> None:
    sdk = ZerobusSdk(workspace.endpoint, workspace.workspace_url)
    options = StreamConfigurationOptions(record_type=RecordType.JSON, recovery=False, recovery_retries=0)
    sdk.create_stream(*known(workspace), TableProperties(table), options).close()


def test_discovery_leads_to_the_token_route(server: LocalZerobus) -> None:
    oidc = httpx.get(f"{server.workspace_url}/.well-known/databricks-config").json()["oidc_endpoint"]
    metadata = httpx.get(f"{oidc}/.well-known/oauth-authorization-server").json()
    assert metadata["token_endpoint"] == f"{server.workspace_url}/oidc/v1/token"


@pytest.mark.parametrize("how", ["basic", "form"])
def test_client_credentials_are_taken_by_header_and_by_form(server: LocalZerobus, how: str) -> None:
    client_id, secret = known(server.workspace)
    if how == "basic":
        answer = ask(server, credentials_form(), (client_id, secret))
    else:
        answer = ask(server, credentials_form(client_id=client_id, client_secret=secret))
    assert answer.status_code == 200
    assert answer.json()["expires_in"] == 3600
    me = f"{server.workspace_url}/api/2.0/preview/scim/v2/Me"
    token = answer.json()["access_token"]
    assert httpx.get(me, headers={"authorization": f"Bearer {token}"}).json()["userName"] == client_id


@pytest.mark.parametrize(
    ("form", "auth", "status", "error"),
    [
        (credentials_form(), ("nobody", "x"), 401, "invalid_client"),
        (credentials_form(), None, 401, "invalid_client"),
        (credentials_form(client_id="x"), None, 401, "invalid_client"),
        ({"grant_type": "password"}, None, 400, "unsupported_grant_type"),
        ({}, None, 400, "unsupported_grant_type"),
        ({"grant_type": EXCHANGE, "subject_token": "x"}, None, 400, "invalid_request"),
        ({"grant_type": EXCHANGE, "subject_token_type": JWT, "subject_token": "x.y.z"}, None, 400, "invalid_grant"),
        (
            {"grant_type": EXCHANGE, "subject_token_type": JWT, "subject_token": subject(sub="nobody", exp=10**10)},
            None,
            401,
            "invalid_client",
        ),
        (
            {"grant_type": EXCHANGE, "subject_token_type": JWT, "subject_token": subject(exp=time.time() - 1)},
            None,
            400,
            "invalid_grant",
        ),
        (
            {"grant_type": EXCHANGE, "subject_token_type": JWT, "subject_token": subject(exp="soon")},
            None,
            400,
            "invalid_grant",
        ),
    ],
)
def test_a_refused_token_request_says_why_by_rfc_6749(
    server: LocalZerobus, form: dict[str, str], auth: tuple[str, str] | None, status: int, error: str
) -> None:
    answer = ask(server, form, auth)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["error_description"]


@pytest.mark.parametrize(
    "details",
    [
        "{",
        "{}",
        "[1]",
        '[{"object_type": "TABLE"}]',
        '[{"object_type": "TABLE", "object_full_path": "a.b", "privileges": []}]',
        '[{"object_type": "TABLE", "object_full_path": "a.b.c", "privileges": [1]}]',
        '[{"object_type": ["TABLE"], "object_full_path": "a.b.c", "privileges": []}]',
        '[{"object_type": "VOLUME", "object_full_path": "a.b.c", "privileges": []}]',
        "[" * 100_000,
    ],
    ids=lambda text: text[:60],
)
def test_authorization_details_of_another_form_are_refused(server: LocalZerobus, details: str) -> None:
    answer = ask(server, credentials_form(authorization_details=details), known(server.workspace))
    assert answer.status_code == 400
    assert "authorization_details" in answer.json()["error_description"] or "table name" in answer.text


@pytest.mark.parametrize("header", ["Basic !!!", "Basic /w==", "Basic", "Bearer x", "nonsense"])
def test_a_malformed_authorization_header_is_a_failed_authentication(server: LocalZerobus, header: str) -> None:
    answer = ask(server, credentials_form(), headers={"authorization": header})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_a_foreign_jwt_is_exchanged_for_a_token_that_lives_no_longer(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    client_id, _ = known(server.workspace)
    form = {
        "grant_type": EXCHANGE,
        "subject_token_type": JWT,
        "subject_token": subject(sub="someone@example.com"),
        "client_id": client_id,
        "authorization_details": json.dumps([TABLE]),
    }
    answer = ask(server, form).json()
    assert 0 < answer["expires_in"] <= 60
    headers = {"authorization": f"Bearer {answer['access_token']}"}
    assert httpx.get(f"{server.workspace_url}/api/2.0/preview/scim/v2/Me", headers=headers).status_code == 200
    del form["client_id"]
    assert ask(server, form | {"subject_token": subject(sub="zerobus-local")}).status_code == 200


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"action": "token_status", "http_status": 401}, "401"),
        ({"action": "token_status", "http_status": 429}, "429"),
        ({"action": "token_status", "http_status": 500}, "500"),
        ({"action": "token_status", "http_status": 204}, "."),
        ({"action": "token_garbage"}, "Parse failed"),
        ({"action": "token_cut"}, "."),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_token_fault_reaches_the_sdk_and_stands_in_the_log(
    server: LocalZerobus, rule: dict[str, Any], says: str
) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    server.faults.add({**rule, "table": "main.default.*"})
    with pytest.raises(ZerobusException, match=says):
        open_stream(server.workspace, "main.default.t")
    struck = {(injection.action, injection.table) for injection in server.faults.log()}
    assert struck == {(rule["action"], "main.default.t")}
    server.faults.clear()
    open_stream(server.workspace, "main.default.t")


def test_a_token_fault_for_another_table_does_not_trigger(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    server.faults.add(action="token_status", http_status=500, table="main.default.other")
    open_stream(server.workspace, "main.default.t")
    assert server.faults.log() == ()


def test_a_token_is_delayed_and_short_lived_on_demand(server: LocalZerobus) -> None:
    server.faults.add(action="token_delay", seconds=0.2)
    server.faults.add(action="token_expire", seconds=2)
    started = time.monotonic()
    answer = ask(server, credentials_form(), known(server.workspace)).json()
    assert time.monotonic() - started >= 0.2
    assert answer["expires_in"] == 2


def test_a_token_is_for_one_table_expires_and_outlives_a_restart(tmp_path: Any) -> None:
    now = [1000.0]
    catalog = Catalog(tmp_path)
    catalog.execute("CREATE TABLE main.default.t (id BIGINT); CREATE TABLE main.default.u (id BIGINT)")
    client_id = catalog.principals.default.client_id
    tokens = Tokens(catalog, lifetime=100, clock=lambda: now[0])
    token, _ = tokens.issue(client_id, [TABLE])
    assert tokens.verify(token, "main.default.T").client_id == client_id
    assert Tokens(Catalog(tmp_path), clock=lambda: now[0]).verify(token, "main.default.t").client_id == client_id
    with pytest.raises(PermissionDenied, match=r"is for main\.default\.t; .* on main\.default\.u\. .* 4024") as denied:
        tokens.verify(token, "main.default.u")
    assert denied.value.code == 4024
    plain, _ = tokens.issue(client_id)
    with pytest.raises(PermissionDenied, match="carries no authorization_details"):
        tokens.verify(plain, "main.default.t")
    catalog.execute(f"REVOKE MODIFY ON TABLE main.default.t FROM `{client_id}`")
    with pytest.raises(PermissionDenied, match="MODIFY on table"):
        tokens.verify(token, "main.default.t")
    now[0] += 100
    with pytest.raises(Unauthenticated, match="has expired"):
        tokens.verify(token)


@pytest.mark.parametrize("how", ["forged", "none", "garbage", "revoked", "unknown"])
def test_a_token_that_is_not_ours_or_not_valid_any_more_is_refused(tmp_path: Any, how: str) -> None:
    catalog = Catalog(tmp_path)
    tokens = Tokens(catalog)
    token, _ = tokens.issue(catalog.principals.default.client_id)
    claims = {"sub": catalog.principals.default.client_id, "iat": time.time(), "exp": 1e12, "aud": "zerobus-local"}
    match how:
        case "forged":
            token = jwt.encode(claims, "another key, which is long enough for the algorithm")
        case "none":
            token = jwt.encode(claims, None, algorithm="none")
        case "garbage":
            token = token[:-8] + "AAAAAAAA"
        case "revoked":
            tokens.expire_all()
        case "unknown":
            token = jwt.encode(claims | {"sub": "nobody"}, catalog.principals.signing_key)
    with pytest.raises(Unauthenticated):
        tokens.verify(token)


def test_expired_tokens_are_replaced_by_new_ones(server: LocalZerobus) -> None:
    auth = known(server.workspace)
    url = f"{server.workspace_url}/api/2.0/preview/scim/v2/Me"
    token = ask(server, credentials_form(), auth).json()["access_token"]
    assert httpx.post(f"{server.workspace_url}/local/expire-tokens").status_code == 200
    assert httpx.get(url, headers={"authorization": f"Bearer {token}"}).status_code == 401
    token = ask(server, credentials_form(), auth).json()["access_token"]
    assert httpx.get(url, headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_the_sdk_opens_a_stream_with_a_federated_token(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    client_id, _ = known(server.workspace)
    stream = ZerobusSdk(server.endpoint, server.workspace_url).create_stream(
        table_properties=TableProperties("main.default.t"),
        options=StreamConfigurationOptions(record_type=RecordType.JSON, recovery=False),
        auth=FederatedToken(lambda: subject(sub="someone@example.com"), client_id),
    )
    stream.ingest_record_offset({"id": 1})
    stream.flush()
    stream.close()
    assert server.read("main.default.t").num_rows == 1
