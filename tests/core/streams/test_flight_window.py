"""How many bytes may be in flight."""

from __future__ import annotations

import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_core.streams.flight_window import FlightWindow
from zerobus_local import LocalZerobus

MIB = 1024 * 1024


def test_it_is_full_after_three_rounds_in_which_batches_are_held_back() -> None:
    window = FlightWindow(most=64 * MIB, streams=1)
    limits = [window.limit]
    for _ in range(4):
        window.on_held_back()
        window.on_acked(window.limit)
        limits.append(window.limit)
    assert limits == [MIB // 2, MIB, 16 * MIB, 64 * MIB, 64 * MIB]


def test_it_stays_small_if_the_source_is_slower_than_the_service() -> None:
    window = FlightWindow(most=64 * MIB, streams=4)
    for _ in range(1_000):
        window.on_acked(MIB)
    assert window.limit == 2 * MIB


def test_a_lost_stream_halves_it() -> None:
    window = FlightWindow(most=64 * MIB, streams=1)
    window.on_held_back()
    window.on_acked(8 * MIB)  # in one go, so as much as it doubles by
    window.on_lost()
    assert window.limit == (8 * MIB + MIB // 2) // 2
    for _ in range(10):
        window.on_lost()
    assert window.limit == MIB // 2


def test_it_is_never_wider_than_the_option_says() -> None:
    window = FlightWindow(most=2_000, streams=4)
    window.on_held_back()
    window.on_acked(10_000)
    assert window.limit == 2_000


@pytest.mark.parametrize("at", ["before_commit", "after_commit"])
def test_a_cut_in_a_small_delivery_admits_a_batch_or_two_and_not_all_of_it(server: LocalZerobus, at: str) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    server.faults.add(action="cut", at=at, message=1, times=1)
    rows = [{"id": n} for n in range(20_000)]
    receipt = ingest(server.workspace, "main.default.t", rows, options=IngestOptions(backoff=0.0))
    ids = server.read("main.default.t")["id"].to_pylist()
    doubled = len(ids) - len(set(ids))
    assert set(ids) == set(range(20_000))
    assert doubled <= receipt.rows_resent <= 10_000
