"""Answers that no workspace should give: whatever comes, the end is a schema or an error of our tree."""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from tests.core.schema.http_workspace import (
    GOOD_TABLE,
    GOOD_TOKEN,
    SECRET,
    TABLE_ANSWER,
    Answer,
    say_raw,
    workspace_that,
)
from zerobus_core import (
    FederatedCredentials,
    IngestTimeoutError,
    TableSchema,
    ThrottledError,
    TransportError,
    Workspace,
    ZerobusIngestError,
)

TABLE = "main.default.t"
STATUSES = (
    200,
    200,
    200,
    201,
    204,
    301,
    302,
    307,
    400,
    401,
    403,
    404,
    405,
    408,
    409,
    418,
    422,
    429,
    500,
    501,
    502,
    503,
    504,
    599,
)
TYPES = (
    None,
    "",
    "application/json",
    "application/json; charset=utf-16",
    "text/html",
    "text/plain",
    "nonsense",
    "image/png",
)
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    10**400,
    "",
    "x",
    "\ud800",
    [],
    [None],
    [[]],
    {},
    {"a": None},
    {"name": []},
)
GOOD_TOKEN_ANSWER = {"access_token": "t", "token_type": "Bearer", "expires_in": 3600}


def odd_json(draw: random.Random, good: Any) -> Any:
    """The good answer with one place of it, or all of it, replaced."""
    if draw.random() < 0.25 or not isinstance(good, dict | list) or not good:
        return draw.choice(ODD)
    if isinstance(good, list):
        return [odd_json(draw, item) for item in good]
    key = draw.choice(list(good))
    if draw.random() < 0.2:
        return {name: value for name, value in good.items() if name != key}
    return good | {key: odd_json(draw, good[key])}


def odd_body(draw: random.Random, good: dict[str, Any]) -> bytes:
    error = {"error_code": draw.choice(ODD), "error": draw.choice(ODD), "message": draw.choice(ODD)}
    bodies: tuple[Callable[[], bytes], ...] = (
        lambda: json.dumps(odd_json(draw, good)).encode(),
        lambda: json.dumps(odd_json(draw, good)).encode(),
        lambda: json.dumps(error).encode(),
        lambda: json.dumps(good).encode()[: draw.randrange(40)],
        lambda: b"",
        lambda: b"<html><head><title>Sign in &amp; go on</title></head></html>",
        lambda: draw.randbytes(50),
        lambda: b"[" * 100_000,
        lambda: json.dumps({"message": f"you sent {SECRET}"}).encode(),
    )
    return draw.choice(bodies)()


def odd_answer(draw: random.Random, good: dict[str, Any]) -> tuple[int, Answer]:
    status = draw.choice(STATUSES)
    headers = {}
    if draw.random() < 0.3:
        headers["Retry_After"] = draw.choice(("", "x", "-1", "9" * 400, "Wed, 21 Oct 2099 07:28:00 GMT", "3600"))
    if draw.random() < 0.3:
        headers["Location"] = draw.choice(("", "/", "http://127.0.0.1:9/", "http://[", "\xff", "nonsense"))
    body = b"" if status == 204 else odd_body(draw, good)
    return status, say_raw(status, body, draw.choice(TYPES), **headers)


def in_turn(*answers: Answer) -> Answer:
    left = list(answers)

    def answer(request: BaseHTTPRequestHandler) -> None:
        left.pop(0)(request)

    return answer


def outcome(workspace: Workspace) -> BaseException | TableSchema:
    try:
        return TableSchema.fetch(workspace, TABLE, timeout=8.0, max_age=0)
    except Exception as error:  # noqa: BLE001 - every class but ours is the fault that is looked for
        return error


def check(route: str, seed: int, *, by_sdk: bool) -> None:
    draw = random.Random(f"{route} {seed}")
    status, answer = odd_answer(draw, GOOD_TOKEN_ANSWER if route == "token" else TABLE_ANSWER)
    tables, token = (GOOD_TABLE, answer) if route == "token" else (answer, GOOD_TOKEN)
    with workspace_that(tables, token) as (served, _):
        workspace = served
        if by_sdk:
            credentials = FederatedCredentials(token_supplier=lambda: "a-jwt", client_id="me")
            workspace = Workspace(
                endpoint=workspace.endpoint, workspace_url=workspace.workspace_url, credentials=credentials
            )
        found = outcome(workspace)
    where = f"{route} {seed}: HTTP {status} ended in {found!r}"
    assert isinstance(found, ZerobusIngestError | TableSchema), where
    assert SECRET not in repr(found) or by_sdk, where
    if route == "token" and not by_sdk:
        if status >= 500:
            assert type(found) is TransportError, where
        if status == 429:
            assert type(found) is ThrottledError, where


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Keep the collector from running urllib3's finalizers at the bottom of 100,000 lists, where any call fails."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("route", ["token", "table"])
@pytest.mark.parametrize(("by_sdk", "number"), [(False, 300), (True, 60)], ids=["our own road", "databricks-sdk"])
def test_an_odd_answer_ends_in_an_error_of_ours(route: str, number: int, by_sdk: bool) -> None:
    with ThreadPoolExecutor(16) as threads:
        for checked in [threads.submit(check, route, seed, by_sdk=by_sdk) for seed in range(number)]:
            checked.result()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_token_answer_without_content_type_is_asked_for_again(status: int) -> None:
    with workspace_that(token=in_turn(say_raw(status, b""), GOOD_TOKEN)) as (workspace, seen):
        assert TableSchema.fetch(workspace, TABLE, max_age=0).columns[0].name == "a"
        assert seen.count("/oidc/v1/token") == 2


def test_an_answer_that_asks_to_wait_for_long_is_not_waited_for() -> None:
    with workspace_that(token=say_raw(429, b"", Retry_After="3600")) as (workspace, seen):
        with pytest.raises(ThrottledError):
            TableSchema.fetch(workspace, TABLE, timeout=30.0, max_age=0)
        assert len(seen) == 1


def test_an_answer_that_asks_to_wait_a_second_is_waited_for() -> None:
    with workspace_that(token=in_turn(say_raw(503, b"", Retry_After="1"), GOOD_TOKEN)) as (workspace, _):
        assert TableSchema.fetch(workspace, TABLE, max_age=0).columns


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_an_odd_description_of_a_table_is_refused_by_a_schema_error(value: Any) -> None:
    for key in ("columns", "table_type", "full_name", "table_id"):
        with suppress(ZerobusIngestError):
            TableSchema.from_table_info(TABLE_ANSWER | {key: value})


def test_nothing_is_hidden_by_a_time_that_is_too_short() -> None:
    """The fuzz test would prove nothing if its servers were too slow for its clients."""
    with workspace_that() as (workspace, _):
        assert not isinstance(outcome(workspace), IngestTimeoutError)
