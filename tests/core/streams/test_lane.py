"""What a lane decides after it lost a stream; the numbered rules are those of the module's docstring."""

from __future__ import annotations

import pytest

from zerobus_core import (
    AuthenticationError,
    IngestOptions,
    PermissionDeniedError,
    SchemaError,
    ThrottledError,
    TransportError,
)
from zerobus_core.streams.lane import Fail, GiveUp, Lane, Retry


def lane(attempts: int = 1) -> Lane:
    return Lane(0, IngestOptions(max_attempts=3, backoff=2.0), attempts=attempts)


def lost(lane: Lane, error: Exception, *, suspect_failures: int = 0):
    return lane.on_lost(error, suspect_failures=suspect_failures, now=100.0, draw=0.5)


@pytest.mark.parametrize("error", [SchemaError("no such column"), PermissionDeniedError("no grant")], ids=type)
def test_an_error_that_another_attempt_cannot_fix_ends_the_delivery(error) -> None:
    tried = lane()
    tried.token_refresh_used = True
    assert lost(tried, error) == Fail(error)


@pytest.mark.parametrize("kind", [AuthenticationError, PermissionDeniedError])
def test_one_rejected_token_is_retried_and_the_second_ends_the_delivery(kind) -> None:
    tried, first, second = lane(), kind("expired"), kind("expired again")
    assert lost(tried, first) == Retry(101.0)
    assert lost(tried, second) == Fail(second)


def test_progress_allows_another_token_refresh() -> None:
    tried = lane()
    lost(tried, AuthenticationError("expired"))
    tried.on_progress()
    assert isinstance(lost(tried, AuthenticationError("expired an hour later")), Retry)


def test_a_batch_that_every_stream_dies_of_ends_the_delivery_despite_progress() -> None:
    error = TransportError("cut")
    assert lost(lane(attempts=0), error, suspect_failures=3) == Fail(error)
    assert isinstance(lost(lane(attempts=0), error, suspect_failures=2), Retry)


def test_a_lane_is_abandoned_after_max_attempts() -> None:
    tried, error = lane(attempts=3), ThrottledError("too many")
    assert lost(tried, error) == GiveUp(error)
    assert not tried.can_request(1e9)


@pytest.mark.parametrize(("attempts", "pause"), [(1, 1.0), (2, 2.0)])
def test_the_pause_doubles_with_each_attempt_and_is_jittered(attempts, pause) -> None:
    tried = lane(attempts)
    assert lost(tried, TransportError("cut")) == Retry(100.0 + pause)
    assert not tried.can_request(100.0 + pause - 0.001)
    assert tried.can_request(100.0 + pause)


def test_a_vague_error_does_not_hide_a_clear_one() -> None:
    tried, clear = lane(), TransportError("the service said why")
    lost(tried, clear)
    lost(tried, TransportError('Stream is closed: code: Unavailable, message: "Stream closed"'))
    assert tried.last_error is clear
