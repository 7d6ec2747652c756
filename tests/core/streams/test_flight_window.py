"""How many bytes may be in flight."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from zerobus_core import IngestInterruptedError, IngestOptions, Progress, ingest
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


def test_it_begins_with_half_of_a_delivery_of_known_size() -> None:
    window = FlightWindow(most=64 * MIB, streams=1)
    window.on_size_known(80 * MIB)
    assert window.limit == 40 * MIB
    window.on_held_back()
    window.on_acked(MIB)
    assert window.limit == (40 + 15) * MIB
    window.on_size_known(80 * MIB)
    assert window.limit == (40 + 15) * MIB, "the size is for the start only"


def test_the_size_of_a_small_or_huge_delivery_keeps_it_within_its_bounds() -> None:
    window = FlightWindow(most=64 * MIB, streams=1)
    window.on_size_known(MIB // 2)
    assert window.limit == MIB // 2
    window.on_size_known(10**15)
    assert window.limit == 64 * MIB


@pytest.mark.parametrize("is_known", [True, False])
def test_half_of_a_large_table_is_sent_before_the_first_acknowledgement(
    server: LocalZerobus, *, is_known: bool
) -> None:
    rows = 400_000
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    server.faults.add(action="withhold_ack")
    table = pa.table({"id": pa.array(range(rows))})
    # A reader does not say how many rows are to come.
    source = table if is_known else table.to_reader()
    stop, seen = threading.Event(), []

    def look(progress: Progress) -> None:
        # The same twice, some time apart: the window is used up.
        if progress.unacked_rows and seen[-1:] == [progress.unacked_rows]:
            stop.set()
        seen.append(progress.unacked_rows)

    with pytest.raises(IngestInterruptedError):
        ingest(server.workspace, "main.default.t", source, on_progress=look, stop=stop)
    if is_known:
        assert rows // 2 - 5_000 <= seen[-1] <= rows // 2 + 20_000
    else:
        assert seen[-1] <= MIB // 2 // 8 + 5_000


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
