"""Streams are replaced while a delivery runs, and nobody notices: nothing is sent twice, nothing pauses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_local import LocalZerobus


def paced(seconds: float, rows_per_s: int, *, is_enough: Callable[[], bool] = lambda: True) -> Iterator[dict[str, Any]]:
    """Rows at a steady pace, as a queue or a page-wise API gives them: for so long, and until it is enough."""
    started = time.monotonic()
    number = 0
    while (elapsed := time.monotonic() - started) < seconds or (elapsed < 10 * seconds and not is_enough()):
        while number < elapsed * rows_per_s:
            yield {"id": number}
            number += 1
        time.sleep(0.002)


@pytest.mark.slow
def test_rotation_sends_nothing_twice(server: LocalZerobus) -> None:
    """ROTATION_SECONDS=30 makes it a rotation every two seconds over half a minute."""
    seconds = float(os.environ.get("ROTATION_SECONDS", "6"))
    server.create_table("CREATE TABLE main.default.t (id BIGINT NOT NULL)")
    server.faults.add(action="delay_open", seconds=0.0)  # for the log, which can be read during the rotation
    receipt = ingest(
        server.workspace,
        "main.default.t",
        paced(seconds, 5_000, is_enough=lambda: len(server.faults.log()) >= 20),
        options=IngestOptions(streams=2, max_stream_age=seconds / 15, batch_rows=100),
    )
    ids = server.read("main.default.t").column("id").to_pylist()
    opened = len(server.faults.log())
    print(
        f"{opened} streams opened, {receipt.rows_acked} rows, {receipt.rows_resent} resent, "
        f"{len(ids) - len(set(ids))} duplicates, slowest ACK {receipt.ack_latency_s.max:.2f} s"
    )
    assert opened >= 20, "the streams did not rotate, so this shows nothing"
    assert receipt.rows_resent == receipt.reconnects == 0
    assert sorted(ids) == list(range(receipt.rows_read))


def test_a_stream_that_the_service_ends_loses_nothing(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT NOT NULL)")
    server.faults.add(action="close_signal", seconds=0.05, message=5)
    receipt = ingest(
        server.workspace,
        "main.default.t",
        paced(3.0, 3_000),
        options=IngestOptions(batch_rows=50, backoff=0.01),
    )
    ids = server.read("main.default.t").column("id").to_pylist()
    assert any(injection.action == "close_signal" for injection in server.faults.log())
    assert set(ids) == set(range(receipt.rows_read))
    assert len(ids) - len(set(ids)) <= receipt.rows_resent
