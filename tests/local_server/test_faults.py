"""Every fault happens where its rule says, and is in the log."""

from __future__ import annotations

import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest
from zerobus.sdk.shared import ZerobusException

from zerobus_local import faults
from zerobus_local.decode.decoder import TableShape
from zerobus_local.decode.json import JsonDecoder
from zerobus_local.faults import ACTIONS, Faults, Rule
from zerobus_local.grpc_door.admission import Admission
from zerobus_local.grpc_door.call import CallServer
from zerobus_local.grpc_door.ephemeral import EphemeralOpener, EphemeralProtocol
from zerobus_local.grpc_door.messages import JSON, SERVICE
from zerobus_local.limits import Limits
from zerobus_local.stream.statistics import Streams


def batch(offset: int, *ids: int) -> dict[str, object]:
    return {"offset_id": offset, "json_batch": {"records": [b'{"id": %d}' % number for number in ids]}}


def ids(door, table) -> list[int]:
    return sorted(door.rows(table).column("id").to_pylist())


def wait_for_rows(door, table, count: int) -> None:
    deadline = time.monotonic() + 100
    while door.rows(table).num_rows < count:
        assert time.monotonic() < deadline, f"{door.rows(table).num_rows} rows of {count}"
        time.sleep(0.01)


def injected(door) -> list[tuple[str, int | None, int | None]]:
    return [(event.action, event.stream, event.message) for event in door.faults.log()]


@pytest.fixture
def table(door):
    return door.create("id BIGINT")


def test_an_open_is_refused_with_the_status_of_the_rule_and_the_next_one_is_let_through(door, table):
    door.faults.add(action="refuse_open", status="UNAVAILABLE", text="not today", times=1)
    refused = door.raw(table)
    refused.send(create_stream={"table_name": table, "record_type": 2})
    error = refused.refusal()
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "not today")
    door.opened(table)
    assert injected(door) == [("refuse_open", 1, None)]


def test_an_open_is_delayed(door, table):
    door.faults.add(action="delay_open", seconds=0.3)
    begin = time.monotonic()
    door.opened(table)
    assert time.monotonic() - begin >= 0.3


def test_an_open_that_is_never_answered_ends_with_the_client(door, table):
    door.faults.add(action="hang_open")
    stream = door.raw(table)
    stream.send(create_stream={"table_name": table, "record_type": 2})
    stream.close()
    door.faults.clear()
    door.opened(table)


def test_a_withheld_acknowledgement_never_comes_though_the_rows_are_there(door, table):
    door.faults.add(action="withhold_ack", message=1)
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, 1))
    assert stream.acknowledged() == 0
    stream.send(ingest_record_batch=batch(1, 2))
    stream.send(ingest_record_batch=batch(2, 3))
    wait_for_rows(door, table, 3)
    door.faults.add(action="cut", message=3)
    stream.send(ingest_record_batch=batch(3, 4))
    assert stream.refusal().code() is grpc.StatusCode.UNAVAILABLE
    assert ids(door, table) == [1, 2, 3]


def test_an_acknowledgement_is_delayed_and_those_after_it_wait(door, table):
    door.faults.add(action="delay_ack", message=0, seconds=1.5)
    stream = door.opened(table)
    begin = time.monotonic()
    stream.send(ingest_record_batch=batch(0, 1))
    stream.send(ingest_record_batch=batch(1, 2))
    stream.acknowledged()
    assert time.monotonic() - begin >= 1.5


@pytest.mark.parametrize(
    ("at", "stored"),
    [("before_commit", [1]), ("during_commit", [1, 2]), ("after_commit", [1, 2]), ("mid_message", [1])],
)
def test_the_connection_is_cut_at_the_point_of_the_rule(door, table, at, stored):
    door.faults.add(action="cut", at=at, message=1)
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, 1))
    assert stream.acknowledged() == 0
    stream.send(ingest_record_batch=batch(1, 2))
    assert stream.refusal().code() is grpc.StatusCode.UNAVAILABLE
    wait_for_rows(door, table, len(stored))
    assert ids(door, table) == stored
    assert injected(door) == [("cut", 1, 1)]


def test_the_sdk_sees_a_cut_as_a_broken_connection_and_keeps_what_is_not_acknowledged(door, table):
    door.faults.add(action="cut", at="after_commit", message=1)
    stream = door.sdk_stream(table)
    for number in range(3):
        stream.ingest_records_offset([{"id": number}])
    with pytest.raises(ZerobusException):
        stream.flush()
    stream.close()
    assert len(list(stream.get_unacked_batches())) == 2


@pytest.mark.parametrize(("at", "stored"), [("before_commit", [1]), ("after_commit", [1, 2])])
def test_a_stream_fails_with_the_status_of_the_rule(door, table, at, stored):
    door.faults.add(action="fail", at=at, message=1, status="INTERNAL", text="disk on fire")
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, 1))
    assert stream.acknowledged() == 0
    stream.send(ingest_record_batch=batch(1, 2))
    error = stream.refusal()
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "disk on fire")
    assert ids(door, table) == stored


def test_throttling_is_resource_exhausted(door, table):
    door.faults.add(action="throttle")
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, 1))
    assert stream.refusal().code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ids(door, table) == []


def test_a_close_signal_is_followed_by_the_end_of_the_stream(door, table):
    """Facts 2.1 and 2.4: CloseStreamSignal, then 6002 with UNAVAILABLE."""
    door.faults.add(action="close_signal", message=0, seconds=3)
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, 1))
    response = stream.receive()
    assert 0 < response.close_stream_signal.duration.ToNanoseconds() <= 3_000_000_000
    stream.send(ingest_record_batch=batch(1, 2))
    error = stream.refusal()
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "Error Code: 6002" in error.details()
    assert ids(door, table) == [1, 2]


def test_rows_that_meet_the_predicate_are_refused_with_their_batch(door, table):
    door.faults.add(action="refuse_records", predicate="id > 10 AND id % 2 = 1")
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, 1, 12))
    assert stream.acknowledged() == 0
    stream.send(ingest_record_batch=batch(1, 2, 4, 13, 6))
    error = stream.refusal()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "offset 1, record 2" in error.details()
    assert ids(door, table) == [1, 12]
    assert injected(door) == [("refuse_records", 1, 1)]


@pytest.mark.parametrize("predicate", ["nope = 1", "id.inner = 1", "nothing(id)", "CAST('x' AS INT) = id"])
def test_a_predicate_that_does_not_fit_the_table_does_not_trigger_and_is_reported(door, table, caplog, predicate):
    door.faults.add(action="refuse_records", predicate=predicate)
    stream = door.opened(table)
    with caplog.at_level(logging.WARNING, "zerobus_local"):
        for offset in range(2):
            stream.send(ingest_record_batch=batch(offset, offset))
            assert stream.acknowledged() == offset
    assert ids(door, table) == [0, 1]
    assert injected(door) == []
    [error] = door.grpc.streams.errors()
    assert "the fault refuse_records does not trigger" in error["error"]
    assert caplog.messages == [f"stream on {table}: {error['error']}"]


def test_a_server_that_stops_reading_goes_on_after_the_time_of_the_rule(door, table):
    door.faults.add(action="stop_reading", message=1, seconds=0.4)
    stream = door.opened(table)
    begin = time.monotonic()
    stream.send(ingest_record_batch=batch(0, 1))
    assert stream.acknowledged() == 0
    stream.send(ingest_record_batch=batch(1, 2))
    assert stream.acknowledged() == 1
    assert time.monotonic() - begin >= 0.4


def test_a_duplicated_commit_stores_the_rows_twice(door, table):
    door.faults.add(action="duplicate_commit", message=0)
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, 1))
    stream.send(ingest_record_batch=batch(1, 2))
    while stream.acknowledged() < 1:
        pass
    assert ids(door, table) == [1, 1, 2]


def test_streams_are_counted_from_the_moment_the_rule_was_added(door, table):
    door.opened(table)
    door.faults.add(action="fail", stream=2)
    first = door.opened(table)
    second = door.opened(table)
    first.send(ingest_record_batch=batch(0, 1))
    assert first.acknowledged() == 0
    second.send(ingest_record_batch=batch(0, 2))
    second.refusal()
    assert ids(door, table) == [1]


def test_a_rule_for_another_table_does_not_trigger_faults(door, table):
    door.faults.add(action="fail", table="main.other.*")
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, 1))
    assert stream.acknowledged() == 0
    assert door.faults.log() == ()


def test_chance_depends_on_seed_stream_and_message_only():
    def struck(seed: int, order: list[int]) -> set[int]:
        rules = Faults([{"action": "cut", "probability": 0.3, "seed": seed}])
        return {message for message in order if rules.trigger("cut", "t", 1, message)}

    forwards = struck(1, list(range(1000)))
    assert forwards == struck(1, list(reversed(range(1000))))
    assert forwards != struck(2, list(range(1000)))
    assert 200 < len(forwards) < 400


@pytest.mark.parametrize("action", ["token_status", "throttle"])
def test_chance_differs_between_requests_that_belong_to_no_stream(action):
    def struck(seed: int) -> list[bool]:
        rules = Faults([{"action": action, "probability": 0.3, "seed": seed}])
        return [rules.trigger(action, "t") is not None for _ in range(1000)]

    assert struck(1) == struck(1) != struck(2)
    assert 200 < sum(struck(1)) < 400


def test_a_refused_call_uses_up_no_faults(door, table):
    door.faults.add(action="cut", at="mid_message", times=1)
    refused = door.raw(table, headers=[("x-databricks-zerobus-table-name", table)])
    refused.send(create_stream={"table_name": table, "record_type": 2})
    assert refused.refusal().code() is grpc.StatusCode.UNAUTHENTICATED
    assert injected(door) == []


class BrokenProtocol(EphemeralProtocol):
    def decode(self, records):
        raise RuntimeError("a bug")


class BrokenOpener(EphemeralOpener):
    def open(self, first_message, table, stream_id):
        opened = super().open(first_message, table, stream_id)
        return replace(opened, protocol=BrokenProtocol(JSON, JsonDecoder(TableShape.of(table))))


def test_a_stream_that_ends_with_an_unexpected_exception_has_an_error(door, table):
    streams = Streams()
    calls = CallServer(
        admission=Admission(door.catalog, door.tokens, door.faults),
        storage=door.storage,
        limits=Limits(),
        streams=streams,
        create_timeout=30,
    )
    handler = grpc.stream_stream_rpc_method_handler(
        lambda requests, context: calls.serve(BrokenOpener(), requests, context)
    )
    server = grpc.server(ThreadPoolExecutor())
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"EphemeralStream": handler}),))
    door.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, 1))
    assert stream.refusal().code() is grpc.StatusCode.INTERNAL
    server.stop(0).wait()
    assert [record.error for record in streams.statistics()] == ["internal error of zerobus-local: RuntimeError: a bug"]


def test_a_rule_is_the_same_after_a_round_through_json():
    rule = Rule(action="cut", at="after_commit", table="a.b.c", stream=(1, 2), message=(3,), probability=0.5, times=2)
    assert Rule.from_dict(rule.as_dict()) == rule


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({}, "needs an action"),
        ({"action": "explode"}, "unknown fault 'explode'"),
        ({"action": "cut", "seconds": 1}, "fault cut has no parameter seconds"),
        ({"action": "cut", "at": "noon"}, "'noon'"),
        ({"action": "fail", "at": "mid_message"}, "use one of before_commit, during_commit, after_commit$"),
        ({"action": "fail", "status": "SAD"}, "'SAD' is not a gRPC status"),
        ({"action": "cut", "probability": 2}, "probability 2"),
        ({"action": "cut", "message": "one"}, "message 'one'"),
        ({"action": "cut", "message": [1.5]}, "message"),
        ({"action": "delay_ack", "seconds": -1}, "seconds -1 is not between 0 and 1e"),
        ({"action": "delay_ack", "seconds": math.inf}, "seconds inf"),
        ({"action": "token_delay", "seconds": math.nan}, "seconds nan"),
        ({"action": "token_expire", "seconds": 10**400}, "seconds 1000"),
        ({"action": "cut", "probability": math.nan}, "probability nan"),
        ({"action": "refuse_open", "status": "OK"}, "status OK does not refuse anything"),
        ({"action": "fail", "status": "ok"}, "status ok does not refuse anything"),
        ({"action": "token_status", "http_status": 9}, "http_status 9 is not a valid status: use 200 to 599"),
        ({"action": "token_status", "http_status": 600}, "http_status 600"),
        ({"action": ["cut"]}, r"unknown fault \['cut'\]"),
        ({"action": "delay_ack", "seconds": "soon"}, "seconds"),
        ({"action": "refuse_records"}, "predicate"),
        ({"action": "refuse_records", "predicate": "id >"}, "predicate"),
        ({"action": "refuse_records", "predicate": "id = 1" + " AND id = 1" * 20_000}, "longer than 100000"),
        ({"action": "refuse_records", "predicate": "id = 1" + " OR id = 1" * 2_000}, "nested too deeply"),
        ({"action": "refuse_records", "predicate": "(" * 2_000 + "id = 1" + ")" * 2_000}, "nested too deeply"),
        ({"action": "cut", "table": 5}, "table"),
        ({"action": "cut", "times": "x"}, "times"),
        ({"action": "nope", "foo": 1}, "unknown fault 'nope'"),
        ({"action": "cut", 1: 2}, "fault cut has no parameter 1"),
        ("cut", "'cut' is neither a Rule nor a dict"),
    ],
)
def test_a_rule_that_cannot_be_says_why(rule, text):
    with pytest.raises(ValueError, match=text):
        Faults().add(rule)


def test_a_rule_and_parameters_beside_it_are_refused():
    with pytest.raises(TypeError, match="not both"):
        Faults().add({"action": "cut"}, message=3)


def test_every_action_is_explained():
    assert all(f"``{action}``" in (faults.__doc__ or "") for action in ACTIONS)
