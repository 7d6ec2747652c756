"""Until the first stream is open, a delivery says that it connects, and what it waits for."""

from __future__ import annotations

import logging

import pytest

from zerobus_core import IngestOptions, Progress, TransportError, Workspace, ingest
from zerobus_local import LocalZerobus

ONE_ROW = [{"id": 1}]


@pytest.fixture
def table(zerobus: LocalZerobus, table_name: str) -> str:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    return table_name


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.message) for record in caplog.records if record.name == "zerobus_core"]


def test_the_log_says_connecting_and_then_connected(
    zerobus: LocalZerobus, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zerobus_core")
    ingest(zerobus.workspace, table, ONE_ROW)
    first, second = messages(caplog)[:2]
    assert first == ("INFO", "connecting")
    assert second[1].startswith("connected after ")


def test_progress_says_that_no_stream_is_open_yet(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    server.faults.add(action="delay_open", seconds=1.5)
    seen: list[Progress] = []
    ingest(server.workspace, "main.default.t", ONE_ROW, on_progress=seen.append)
    assert seen[0].is_connecting
    assert not seen[-1].is_connecting


def test_an_endpoint_at_which_nobody_listens_is_named_at_the_first_attempt(
    zerobus: LocalZerobus, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = Workspace(
        endpoint="http://127.0.0.1:9",
        workspace_url=zerobus.workspace_url,
        credentials=zerobus.workspace.credentials,
    )
    with pytest.raises(TransportError, match="the local server is probably not running, or was restarted"):
        ingest(nowhere, table, ONE_ROW, options=IngestOptions(max_attempts=2, backoff=0.01))
    warned = [text for level, text in messages(caplog) if level == "WARNING"]
    assert warned[0].startswith("connecting: attempt 1 of 2 failed: ")
    assert "nothing listens at the endpoint" in warned[0]


def test_an_endpoint_that_does_not_answer_is_named_with_what_to_check(
    server: LocalZerobus, caplog: pytest.LogCaptureFixture
) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    server.faults.add(action="hang_open")
    with pytest.raises(Exception, match=r"check the endpoint \(ZEROBUS_SERVER_ENDPOINT\)"):
        ingest(server.workspace, "main.default.t", ONE_ROW, options=IngestOptions(max_attempts=1, open_timeout=0.5))
    assert any(level == "WARNING" and "connecting: attempt 1 of 1" in text for level, text in messages(caplog))
