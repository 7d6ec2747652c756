"""Secrets reach no log, repr, exception, receipt, checkpoint, dead letter or stream of the process.

Each scenario runs a delivery with every logger at DEBUG; all that it emits is searched for the client secret, in
plain and as HTTP would carry it, and for anything that looks like a token.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import pickle
import re
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Literal
from urllib.parse import quote_plus

import jwt
import pyarrow as pa
import pytest

from tests.core.schema.http_workspace import GOOD_TOKEN, Answer, say, say_raw, workspace_that
from zerobus_core import (
    ClientCredentials,
    FederatedCredentials,
    FileCheckpointStore,
    IngestOptions,
    StreamManager,
    Workspace,
    ZerobusIngestError,
    ingest,
)
from zerobus_core.doctor import diagnose
from zerobus_core.errors import ForeignError
from zerobus_core.masking import Mask
from zerobus_local import LocalZerobus

TABLE = "main.default.t"
ROWS = [{"id": n} for n in range(20)]
FAST = IngestOptions(batch_rows=5, max_attempts=2, backoff=0.01, open_timeout=5.0)
TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")

Emitted = Callable[[Callable[[], object]], str]


@pytest.fixture
def workspace(server: LocalZerobus) -> Workspace:
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL, CONSTRAINT positive CHECK (id >= 0))")
    return server.workspace


@pytest.fixture
def emitted(capfd: pytest.CaptureFixture[str]) -> Iterator[Emitted]:
    """Runs something and returns everything that it said, in whatever way."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)

    def run(call: Callable[[], object]) -> str:
        said: list[str] = []
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            try:
                said.append(repr(call()))
            except ZerobusIngestError as error:
                said += [*traceback.format_exception(error), repr(error), repr(vars(error)), str(pickle.dumps(error))]
        captured = capfd.readouterr()
        return "\n".join([*said, heard.getvalue(), out.getvalue(), err.getvalue(), captured.out, captured.err])

    yield run
    root.removeHandler(handler)
    root.setLevel(level)


def secret_of(workspace: Workspace) -> str:
    assert isinstance(workspace.credentials, ClientCredentials)
    return workspace.credentials.client_secret


def forms(secret: str, client_id: str) -> list[str]:
    """The secret as it is, in a URL or form, and in an Authorization header."""
    basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return [secret, quote_plus(secret), basic, base64.b64encode(secret.encode()).decode()]


def assert_no_secret(said: str, workspace: Workspace) -> None:
    assert said.strip(), "nothing was heard, so nothing was tested"
    for form in forms(secret_of(workspace), workspace.credentials.client_id or ""):
        assert form not in said
    assert TOKEN.findall(said) == []


def with_secret(workspace: Workspace, secret: str) -> Workspace:
    return Workspace(
        endpoint=workspace.endpoint,
        workspace_url=workspace.workspace_url,
        credentials=ClientCredentials(client_id=workspace.credentials.client_id or "", client_secret=secret),
    )


def test_a_delivery_that_succeeds_keeps_the_secret(workspace: Workspace, emitted: Emitted, tmp_path: Path) -> None:
    store = FileCheckpointStore(tmp_path / "checkpoint.json")
    options = IngestOptions(
        batch_rows=5,
        source_version="1",
        on_bad_record="dead_letter",
        dead_letter_uri=str(tmp_path / "bad.jsonl"),
    )

    def deliver() -> object:
        receipt = ingest(workspace, TABLE, [*ROWS, {"id": "x"}], options=options, checkpoint=store)
        with StreamManager(workspace, TABLE) as streams:
            streams.send(ROWS)
        kept = [path.read_text() for path in tmp_path.glob("*.json*")]
        return receipt, json.dumps(receipt.as_dict()), kept, repr(streams), repr(workspace), repr(store)

    said = emitted(deliver)
    assert "zerobus-checkpoint" in said
    assert "zerobus_dead_letter" in said
    assert_no_secret(said, workspace)


FAULTS: dict[str, Callable[[LocalZerobus], object]] = {
    "no stream opens": lambda server: server.faults.add(action="refuse_open", status="UNAVAILABLE"),
    "streams are cut": lambda server: server.faults.add(action="cut"),
    "records fail": lambda server: server.faults.add(action="fail", status="INTERNAL"),
    "a row is refused": lambda server: server.sql(f"ALTER TABLE {TABLE} ADD CONSTRAINT small CHECK (id <> 7)"),
    "the token expires": lambda server: server.expire_tokens(),
    "the token is not taken": lambda server: server.faults.add(action="refuse_open", status="UNAUTHENTICATED"),
    "the grants are not there": lambda server: server.faults.add(action="refuse_open", status="PERMISSION_DENIED"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_delivery_that_fails_keeps_the_secret(
    server: LocalZerobus, workspace: Workspace, emitted: Emitted, tmp_path: Path, fault: str
) -> None:
    FAULTS[fault](server)
    store = FileCheckpointStore(tmp_path / "checkpoint.json")
    said = emitted(lambda: ingest(workspace, TABLE, ROWS, options=FAST, checkpoint=store))
    kept = [path.read_text() for path in tmp_path.glob("*.json")]
    assert_no_secret("\n".join([said, *kept]), workspace)


def test_a_secret_that_is_wrong_is_kept_all_the_same(workspace: Workspace, emitted: Emitted) -> None:
    wrong = with_secret(workspace, "wrong+secret/with=signs-0123456789")

    def deliver() -> object:
        return ingest(wrong, TABLE, ROWS, options=FAST)

    said = emitted(deliver)
    assert "AuthenticationError" in said
    assert_no_secret(said, wrong)


def test_the_secret_of_a_stream_that_may_not_open_is_kept(
    server: LocalZerobus, workspace: Workspace, emitted: Emitted
) -> None:
    stranger = server.create_principal("stranger")
    for grant in ("USE CATALOG ON CATALOG main", "USE SCHEMA ON SCHEMA main.default", f"SELECT ON TABLE {TABLE}"):
        server.sql(f"GRANT {grant} TO `{stranger.credentials.client_id}`")
    said = emitted(lambda: ingest(stranger, TABLE, ROWS, options=FAST))
    assert "PermissionDeniedError" in said
    assert_no_secret(said, stranger)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_token_of_the_users_identity_provider_is_kept(workspace: Workspace, emitted: Emitted, is_known: bool) -> None:
    own = jwt.encode({"sub": "me", "exp": time.time() + 600}, "k" * 32)
    federated = Workspace(
        endpoint=workspace.endpoint,
        workspace_url=workspace.workspace_url,
        credentials=FederatedCredentials(
            token_supplier=lambda: own, client_id=workspace.credentials.client_id if is_known else "nobody"
        ),
    )
    said = emitted(lambda: (ingest(federated, TABLE, ROWS, options=FAST), federated))
    assert ("rows_acked=20" in said) is is_known
    assert own not in said
    assert own.rpartition(".")[2] not in said
    assert TOKEN.findall(said) == []


OPAQUE = "opaque-" + "value-of-a-bearer"


def quotations(workspace: Workspace) -> str:
    """What a server can say of the request that it got: every form of the secret, and a token that is not a JWT."""
    said = forms(secret_of(workspace), workspace.credentials.client_id or "")
    return f"you sent {said[0]} {said[1]} Authorization: Basic {said[2]} and {said[3]}, authorization=Bearer {OPAQUE}"


QUOTING_STREAMS: dict[str, dict[str, str]] = {
    "when a stream opens": {"action": "refuse_open", "status": "INTERNAL"},
    "when a stream opens, for good": {"action": "refuse_open", "status": "UNAUTHENTICATED"},
    "on an open stream": {"action": "fail", "status": "INTERNAL"},
    "as if about records": {"action": "fail", "status": "INVALID_ARGUMENT"},
}


@pytest.mark.parametrize("record_format", ["protobuf", "arrow"])
@pytest.mark.parametrize("when", QUOTING_STREAMS)
def test_a_secret_that_the_endpoint_quotes_is_masked(
    server: LocalZerobus, workspace: Workspace, emitted: Emitted, when: str, record_format: Literal["protobuf", "arrow"]
) -> None:
    server.faults.add(QUOTING_STREAMS[when] | {"text": quotations(workspace)})
    options = replace(FAST, record_format=record_format)
    records = pa.table({"id": range(20)}) if record_format == "arrow" else ROWS
    said = emitted(lambda: ingest(workspace, TABLE, records, options=options))
    # The server's own log, in this process, has the text of the fault.
    said = "\n".join(line for line in said.splitlines() if not line.startswith("zerobus_local "))
    assert "you sent" in said
    assert "Error" in said
    assert OPAQUE not in said
    assert_no_secret(said, workspace)


QUOTING_ANSWERS: dict[str, Callable[[str], Answer]] = {
    "JSON": lambda text: say(401, error="invalid_client", error_description=text, message=text, error_code=text),
    "text": lambda text: say_raw(503, text.encode(), "text/plain"),
    "a page": lambda text: say_raw(403, f"<title>{text}</title>".encode(), "text/html"),
    "a redirect": lambda text: say_raw(302, text.encode(), Location="/?" + text.replace(" ", "&")),
}


@pytest.mark.parametrize("answer", QUOTING_ANSWERS)
@pytest.mark.parametrize("route", ["token", "table", "token for a stream", "doctor"])
def test_a_secret_that_the_workspace_quotes_is_masked(
    workspace: Workspace, emitted: Emitted, route: str, answer: str
) -> None:
    quoting = QUOTING_ANSWERS[answer](quotations(workspace))
    columns = [{"name": "id", "type_json": '"long"', "type_text": "bigint", "position": 0}]
    good_table = say(200, full_name=TABLE, columns=columns)
    asked: list[str] = []

    def token(request: BaseHTTPRequestHandler) -> None:
        asked.append("token")
        is_bad = route in {"token", "doctor"} or (route == "token for a stream" and len(asked) > 1)
        (quoting if is_bad else GOOD_TOKEN)(request)

    with workspace_that(quoting if route == "table" else good_table, token) as (http, _):
        odd = Workspace(
            endpoint=workspace.endpoint, workspace_url=http.workspace_url, credentials=workspace.credentials
        )

        def deliver() -> object:
            if route == "doctor":
                return [(step, step.as_dict()) for step in diagnose(TABLE, workspace=odd)]
            return ingest(odd, TABLE, ROWS, options=replace(FAST, timeout=20))

        said = emitted(deliver)
    assert "Error" in said
    assert OPAQUE not in said
    assert_no_secret(said, workspace)


def test_a_cause_that_holds_a_secret_is_replaced_and_the_chain_stays() -> None:
    mask = Mask(client_id="me", secret="hush-hush-hush")
    inner = ValueError("sent hush-hush-hush")
    outer = OSError("no connection")
    outer.__cause__ = inner
    inner.__context__ = KeyError("plain")
    cleaned = mask.cause(outer)
    assert cleaned is outer
    assert isinstance(outer.__cause__, ForeignError)
    assert str(outer.__cause__) == "ValueError: sent <masked>"
    assert isinstance(outer.__cause__.__context__, KeyError)
    assert pickle.loads(pickle.dumps(outer.__cause__)).args == outer.__cause__.args


@pytest.mark.parametrize(
    "text",
    [
        "Bearer token is missing",
        "use Basic authentication",
        'WWW-Authenticate: Bearer realm="workspace"',
        "the password is wrong",
        "access_token missing",
    ],
)
def test_words_about_secrets_are_not_masked(text: str) -> None:
    assert Mask(client_id="me", secret="x").text(text) == text


def test_the_doctor_keeps_the_secret(workspace: Workspace, emitted: Emitted) -> None:
    said = emitted(lambda: [(step, step.as_dict()) for step in diagnose(TABLE, workspace=workspace)])
    assert "'stream'" in said
    assert_no_secret(said, workspace)


@pytest.mark.parametrize(
    "build",
    [
        lambda secret: ClientCredentials(client_id="", client_secret=secret),
        lambda secret: ClientCredentials(client_id="me", client_secret=secret + " x"),
        lambda secret: Workspace(
            endpoint=f"https://me:{secret}@1.zerobus.us-east-1.cloud.databricks.com",
            workspace_url="https://dbc-1.cloud.databricks.com",
            credentials=ClientCredentials(client_id="me", client_secret=secret),
        ),
        lambda secret: Workspace(
            endpoint=f"https://me:{secret}/@1.zerobus.us-east-1:no-port?{secret}",
            workspace_url="https://dbc-1.cloud.databricks.com",
            credentials=ClientCredentials(client_id="me", client_secret=secret),
        ),
        lambda secret: Workspace(
            endpoint="https://1.zerobus.us-east-1.cloud.databricks.com",
            workspace_url=f"https://dbc-1.cloud.databricks.com/?token={secret}",
            credentials=ClientCredentials(client_id="me", client_secret=secret),
        ),
        lambda secret: Workspace.from_env({"DATABRICKS_CLIENT_SECRET": secret}),
    ],
)
def test_what_cannot_be_right_is_refused_without_quoting_the_secret(
    emitted: Emitted, build: Callable[[str], object]
) -> None:
    secret = "-".join(["hidden"] * 3)  # not in the source line that a traceback quotes
    said = emitted(lambda: build(secret))
    assert "ConfigurationError" in said
    assert secret not in said
