"""Limits and time: rates, latency, and the life of a stream."""

from __future__ import annotations

import time

import grpc
import pytest

from zerobus_local.faults import Faults
from zerobus_local.limits import Limits, Pace
from zerobus_local.stream.faults import StreamFaults
from zerobus_local.stream.inbox import Inbox


def batch(offset: int, rows: int) -> dict[str, object]:
    return {"offset_id": offset, "json_batch": {"records": [b'{"id": 1}'] * rows}}


def seconds_for(door, table: str, batches: int, rows: int) -> float:
    stream = door.opened(table)
    begin = time.monotonic()
    for offset in range(batches):
        stream.send(ingest_record_batch=batch(offset, rows))
    while stream.acknowledged() < batches - 1:
        pass
    return time.monotonic() - begin


def test_a_stream_is_kept_to_its_rows_per_second(make_door):
    door = make_door(limits=Limits(rows_per_second=1000))
    table = door.create("id BIGINT")
    # The last batch waits until the four before it are paid for.
    assert seconds_for(door, table, batches=5, rows=100) >= 0.4


def test_a_stream_is_kept_to_its_bytes_per_second(make_door):
    door = make_door(limits=Limits(bytes_per_second=5000))
    table = door.create("id BIGINT")
    assert seconds_for(door, table, batches=3, rows=100) >= 0.4


def test_rates_hold_for_each_stream_alone():
    pace = [Pace(Limits(rows_per_second=10)) for _ in range(2)]
    assert [p.charge(5, 0, 100.0) for p in pace] == [100.5, 100.5]
    assert pace[0].charge(5, 0, 100.5) == 101.0
    assert pace[0].charge(1, 0, 200.0) == 200.1


def test_a_stream_reads_ahead_no_further_than_its_bound():
    read: list[bytes] = []

    def requests():
        for _ in range(100):
            read.append(bytes(1000))
            yield read[-1]

    inbox = Inbox(requests(), max_bytes=10_000, faults=StreamFaults(Faults(), "main.default.t", 1))
    inbox.start()
    inbox.join(0.3)
    assert inbox.is_alive()
    assert len(read) <= 11
    taken = 0
    while taken < 100:
        with inbox.changed:
            assert inbox.changed.wait_for(lambda: inbox.filled, 60)
        taken += len(inbox.take(5000))
    inbox.join(60)
    assert not inbox.is_alive()


def test_opens_and_acknowledgements_can_be_slow(make_door):
    door = make_door(limits=Limits(open_delay=0.3, ack_delay=0.3))
    table = door.create("id BIGINT")
    begin = time.monotonic()
    stream = door.opened(table)
    opened = time.monotonic()
    stream.send(ingest_record_batch=batch(0, 1))
    assert stream.acknowledged() == 0
    assert opened - begin >= 0.3
    assert time.monotonic() - opened >= 0.3


def test_a_stream_is_told_to_close_before_its_life_is_over_and_ended_when_it_is(make_door):
    """Facts 1.2, 2.1, 2.4: about 15 minutes of life, CloseStreamSignal, then UNAVAILABLE with 6002."""
    door = make_door(limits=Limits(max_stream_life=3, close_signal_lead=2.5))
    table = door.create("id BIGINT")
    begin = time.monotonic()
    stream = door.opened(table)
    signal = stream.receive().close_stream_signal
    assert time.monotonic() - begin >= 0.5
    assert 0 < signal.duration.ToNanoseconds() / 1e9 <= 2.5
    error = stream.refusal()
    assert time.monotonic() - begin >= 3
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "Stream timeout reached" in error.details()
    assert "Error Code: 6002" in error.details()


def test_a_stream_that_is_told_to_close_may_finish_and_end_well(make_door):
    door = make_door(limits=Limits(max_stream_life=100, close_signal_lead=100))
    table = door.create("id BIGINT")
    stream = door.opened(table)
    assert stream.receive().HasField("close_stream_signal")
    stream.send(ingest_record_batch=batch(0, 1))
    stream.half_close()
    assert stream.acknowledged() == 0
    assert list(stream.responses) == []


def test_a_call_that_never_says_what_it_wants_is_ended(make_door):
    door = make_door(create_timeout=0.2)
    table = door.create("id BIGINT")
    error = door.raw(table).refusal()
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    "options",
    [
        {"rows_per_second": 0},
        {"bytes_per_second": -1},
        {"max_stream_life": 0},
        {"ack_delay": -1},
        {"open_delay": -0.1},
        {"ack_delay": float("inf")},
        {"open_delay": float("nan")},
        {"rows_per_second": float("inf")},
        {"bytes_per_second": float("nan")},
        {"max_stream_life": float("inf")},
        {"max_stream_life": 1e12},
    ],
)
def test_a_limit_that_cannot_be_is_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Limits(**options)
