"""Deliveries against the local service with one fault each, switched on in the service: promised outcomes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import jwt
import pandas as pd
import pyarrow as pa
import pytest

from zerobus_core import (
    Checkpoint,
    ClientCredentials,
    FederatedCredentials,
    IngestOptions,
    Progress,
    StreamManager,
    TableSchema,
    ingest,
)
from zerobus_core.batch import Chunk
from zerobus_core.checkpoint import MemoryCheckpointStore
from zerobus_core.delivery import Controls, Delivery, Destination
from zerobus_core.errors import (
    AuthenticationError,
    ConfigurationError,
    IngestInterruptedError,
    IngestTimeoutError,
    PermissionDeniedError,
    RecordError,
    RejectedRecordError,
    ThrottledError,
    TransportError,
)
from zerobus_core.streams import open_rate_of
from zerobus_local import LocalZerobus, LocalZerobusProcess

# Time-outs are for what never happens, also on a machine that is very busy; tests of silence have their own.
QUICK: dict[str, Any] = {
    "backoff": 0.02,
    "ack_timeout": 20.0,
    "open_timeout": 20.0,
    "max_attempts": 4,
    "batch_rows": 50,
    "timeout": 120.0,
}


def options(**changes: Any) -> IngestOptions:
    return IngestOptions(**{**QUICK, **changes})


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": i, "name": f"row {i}"} for i in range(count)]


@pytest.fixture
def table(server: LocalZerobus) -> str:
    server.create_table("CREATE TABLE main.default.t (id BIGINT NOT NULL, name STRING)")
    return "main.default.t"


def ids(server: LocalZerobus, table: str) -> list[int]:
    found: list[int] = sorted(server.read(table).column("id").to_pylist())
    return found


def struck(server: LocalZerobus, action: str) -> int:
    return sum(injection.action == action for injection in server.faults.log())


def opens(server: LocalZerobus, table: str) -> int:
    return server.faults.count_stream(table) - 1


class TestGoodDays:
    def test_every_row_lands_once_and_the_receipt_says_so(self, server: LocalZerobus, table: str) -> None:
        receipt = ingest(server.workspace, table, rows(1000), options=options())
        assert ids(server, table) == list(range(1000))
        assert (receipt.rows_read, receipt.rows_acked, receipt.rows_resent) == (1000, 1000, 0)
        assert receipt.batches == 20
        assert receipt.reconnects == 0
        assert receipt.as_dict()["ack_latency_s"]["max"] > 0

    def test_no_rows_open_no_stream(self, server: LocalZerobus, table: str) -> None:
        receipt = ingest(server.workspace, table, [], options=options())
        assert receipt.rows_read == 0
        assert opens(server, table) == 0

    def test_several_streams_share_the_rows_behind_one_gate(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="delay_ack", seconds=4.0, stream=1, message=0)  # time for all streams to open
        receipt = ingest(server.workspace, table, rows(4000), options=options(streams=4))
        assert ids(server, table) == list(range(4000))
        assert receipt.streams == 4

    def test_a_batch_is_cut_by_bytes_as_well_as_by_rows(self, server: LocalZerobus, table: str) -> None:
        wide = [{"id": i, "name": "x" * 1000} for i in range(100)]
        receipt = ingest(server.workspace, table, wide, options=options(batch_bytes=10_500, batch_rows=100))
        assert receipt.batches == 10

    def test_a_record_that_is_too_large_is_refused_before_anything_is_sent(
        self, server: LocalZerobus, table: str
    ) -> None:
        with pytest.raises(RecordError, match="row 1"):
            ingest(server.workspace, table, [{"id": 0}, {"id": 1, "name": "x" * 11_000_000}], options=options())
        assert ids(server, table) == []

    def test_reading_stops_while_the_bound_on_unacknowledged_bytes_is_reached(
        self, server: LocalZerobus, table: str
    ) -> None:
        server.faults.add(action="delay_ack", seconds=0.2)
        seen: list[Progress] = []
        ahead: list[int] = []
        read = 0

        def watch(progress: Progress) -> None:
            seen.append(progress)
            ahead.append(read - progress.rows_acked)

        def source() -> Iterator[dict[str, Any]]:
            nonlocal read
            for i in range(3000):
                read += 1
                yield {"id": i, "name": "x" * 100}

        bound = 40_000
        receipt = ingest(
            server.workspace,
            table,
            source(),
            options=options(max_unacked_bytes=bound, batch_rows=50),
            on_progress=watch,
        )
        assert receipt.rows_acked == 3000
        assert seen
        assert max(ahead) <= bound / 100 + 2 * 50  # a batch that waits, and one that is being made
        assert max(progress.unacked_bytes for progress in seen) <= bound + 50 * 120  # one batch may wait its turn

    def test_rows_without_payload_count_against_the_bound_too(self, server: LocalZerobus, table: str) -> None:
        server.sql(f"CREATE TABLE {table}_of_nulls (id BIGINT, name STRING)")
        server.faults.add(action="withhold_ack")
        seen: list[int] = []
        stop = threading.Event()

        def watch(progress: Progress) -> None:
            seen.append(progress.unacked_rows)
            if seen[-3:].count(0) == 0 and len(seen) >= 3:  # for half a second and more there was time to send too many
                stop.set()

        with pytest.raises(IngestInterruptedError):
            ingest(
                server.workspace,
                f"{table}_of_nulls",
                ({} for _ in range(200_000)),
                options=options(max_unacked_bytes=64_000, batch_rows=100, ack_timeout=60.0),
                on_progress=watch,
                stop=stop,
            )
        assert 0 < max(seen) <= 1_000 + 100  # one batch may wait its turn


def wait_until(is_so: Callable[[], bool], *, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


class TestConnectionsThatBreak:
    @pytest.mark.parametrize("at", ["before_commit", "after_commit"])
    @pytest.mark.parametrize("streams", [1, 4])
    def test_a_cut_connection_loses_nothing_and_counts_what_it_repeats(
        self, server: LocalZerobus, table: str, at: str, streams: int
    ) -> None:
        server.faults.add(action="cut", at=at, stream=1, message=3)
        receipt = ingest(server.workspace, table, rows(1000), options=options(streams=streams))
        assert struck(server, "cut") == 1
        landed = ids(server, table)
        assert sorted(set(landed)) == list(range(1000))
        assert receipt.rows_acked == 1000
        assert receipt.reconnects >= 1 or streams > 1  # the other streams may have taken over
        assert len(landed) - 1000 <= receipt.rows_resent

    def test_what_goes_wrong_is_told_while_it_is_tried_again(
        self, server: LocalZerobus, table: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.faults.add(action="fail", status="INTERNAL", times=2)
        reports: list[Progress] = []
        with caplog.at_level("INFO", "zerobus_core"):
            ingest(server.workspace, table, rows(100), options=options(backoff=1.5), on_progress=reports.append)
        lost = [record.getMessage() for record in caplog.records if "is lost" in record.getMessage()]
        assert [text.partition(",")[0] for text in lost] == ["stream 1 is lost", "stream 2 is lost"]
        assert all("injected fault" in text for text in lost)
        assert (reports[-1].reconnects, reports[-1].last_error) == (2, None)

    def test_a_server_that_is_killed_and_comes_back_gets_what_it_had_not_acknowledged(self, tmp_path: Path) -> None:
        with LocalZerobusProcess.start(tmp_path / "zerobus") as server:
            table = "main.default.t"
            server.create_table(f"CREATE TABLE {table} (id BIGINT NOT NULL, name STRING)")
            killed = threading.Event()

            def source() -> Iterator[dict[str, Any]]:
                for row in rows(20_000):
                    if row["id"] == 10_000:
                        server.restart()  # kill -9, and another process on the same ports and data
                        killed.set()
                    yield row

            receipt = ingest(
                server.workspace, table, source(), options=options(streams=2, batch_rows=500, max_attempts=40)
            )
            assert killed.is_set()
            assert receipt.rows_acked == 20_000
            landed = server.read(table).column("id").to_pylist()
            assert set(landed) == set(range(20_000))
            assert len(landed) - 20_000 <= receipt.rows_resent

    def test_what_may_be_sent_again_is_admitted_before_it_is_sent(self, server: LocalZerobus, table: str) -> None:
        """One batch is lost again and again after it was stored; between two losses no save is due."""
        server.faults.add(action="cut", at="after_commit", stream=[1, 2, 3, 4])

        class Store(MemoryCheckpointStore):
            save_interval = 60.0
            admitted: ClassVar[list[int]] = []

            def save(self, checkpoint: Checkpoint) -> None:
                self.admitted.append(checkpoint.counts.rows_resent)
                super().save(checkpoint)

        receipt = ingest(
            server.workspace,
            table,
            rows(20),
            options=options(source_version="1", backoff=0.0, max_attempts=20),
            checkpoint=Store(),
        )
        *while_it_ran, _ = Store.admitted
        assert struck(server, "cut") == 4
        assert receipt.rows_resent == 80
        assert max(while_it_ran) >= 80

    def test_cut_connections_leave_no_descriptors_open(self, server: LocalZerobus, table: str) -> None:
        ingest(server.workspace, table, rows(100), options=options())
        before = len(os.listdir("/proc/self/fd"))
        server.faults.add(action="cut", message=1, times=8)
        ingest(server.workspace, table, rows(1000), options=options(max_attempts=20))
        assert struck(server, "cut") == 8
        assert len(os.listdir("/proc/self/fd")) < before + 20  # a few connections of the last delivery may linger

    def test_a_refused_open_is_tried_again(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="refuse_open", status="UNAVAILABLE", times=2)
        receipt = ingest(server.workspace, table, rows(100), options=options())
        assert receipt.rows_acked == 100
        assert struck(server, "refuse_open") == 2
        assert receipt.rows_resent == 0

    @pytest.mark.parametrize("streams", [1, 2, 4])
    @pytest.mark.parametrize("batches", [1, 3, 10])
    def test_opens_that_are_always_refused_end_in_the_stated_number_of_attempts(
        self, server: LocalZerobus, table: str, streams: int, batches: int
    ) -> None:
        server.faults.add(action="refuse_open", status="UNAVAILABLE", text="not today")
        with pytest.raises(TransportError, match="not today") as caught:
            ingest(server.workspace, table, rows(50 * batches), options=options(max_attempts=3, streams=streams))
        assert opens(server, table) == 3, "a batch that was never handed over asks for one stream"
        assert caught.value.counts.rows_not_durable == caught.value.counts.rows_read > 0
        assert caught.value.table == table

    @pytest.mark.parametrize("streams", [2, 4])
    def test_each_stream_that_was_in_use_has_its_own_attempts_when_the_service_goes_away(
        self, server: LocalZerobus, table: str, streams: int
    ) -> None:
        with (  # noqa: PT012 - the service goes away inside the block
            pytest.raises(TransportError, match="not today"),
            StreamManager(server.workspace, table, options=options(max_attempts=3, streams=streams)) as manager,
        ):
            manager.send(rows(100))
            manager.flush()
            server.faults.add(action="refuse_open", status="UNAVAILABLE", text="not today")
            server.faults.add(action="fail", status="INTERNAL")
            manager.send(rows(1_000))
        assert struck(server, "refuse_open") <= 3 * streams

    def test_opens_fine_but_every_record_fails_ends_in_the_stated_number_of_attempts(
        self, server: LocalZerobus, table: str
    ) -> None:
        server.faults.add(action="fail", status="INTERNAL", text="oh no")
        with pytest.raises(TransportError, match="oh no"):
            ingest(server.workspace, table, rows(100), options=options(max_attempts=4))
        assert opens(server, table) <= 4
        assert ids(server, table) == []

    def test_a_throttled_delivery_that_is_never_let_in_says_so(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="fail", status="RESOURCE_EXHAUSTED", text="slow down")
        with pytest.raises(ThrottledError, match="slow down"):
            ingest(server.workspace, table, rows(100), options=options())

    def test_a_delivery_that_our_own_bound_on_opens_holds_back_says_so(
        self, server: LocalZerobus, table: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        rate = open_rate_of(server.workspace.endpoint, table)
        while rate.take(time.monotonic()) == 0.0:
            pass
        TableSchema.fetch(server.workspace, table)  # is remembered
        reports: list[Progress] = []
        reason = r"this process opens at most 80 streams in 60 s to this table; it opens the next one in \d+ s"
        with pytest.raises(IngestTimeoutError, match=rf"not finished within 5\.0 s \(the last error: {reason}\)"):
            ingest(
                server.workspace, table, rows(100), options=options(timeout=5.0, streams=2), on_progress=reports.append
            )
        assert re.fullmatch(reason, reports[-1].last_error or "")
        assert [record.levelname for record in caplog.records if re.search(reason, record.getMessage())] == ["WARNING"]

    def test_a_throttled_delivery_goes_on_when_it_is_let_in(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="fail", status="RESOURCE_EXHAUSTED", times=2)
        receipt = ingest(server.workspace, table, rows(1000), options=options())
        assert receipt.rows_acked == 1000
        assert sorted(set(ids(server, table))) == list(range(1000))


class TestBatchesThatKillStreams:
    def test_a_batch_that_every_stream_dies_of_does_not_live_on_the_progress_of_others(
        self, server: LocalZerobus, table: str
    ) -> None:
        # Each stream acknowledges what comes before its fourth message, and dies of that one.
        server.faults.add(action="fail", status="INTERNAL", message=0, stream=list(range(2, 40)))
        server.faults.add(action="fail", status="INTERNAL", message=3, stream=1)
        with pytest.raises(TransportError):
            ingest(server.workspace, table, rows(1000), options=options(max_attempts=4))
        assert opens(server, table) <= 6


class TestSilence:
    def test_an_open_that_is_never_answered_ends_in_time(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="hang_open")
        started = time.monotonic()
        with pytest.raises(IngestTimeoutError):
            ingest(server.workspace, table, rows(10), options=options(open_timeout=0.5, max_attempts=2))
        assert time.monotonic() - started < QUICK["timeout"] / 2

    def test_a_slow_open_is_waited_for(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="delay_open", seconds=0.5)
        assert ingest(server.workspace, table, rows(10), options=options()).rows_acked == 10

    def test_acknowledgements_withheld_for_ever_end_in_time(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="withhold_ack")
        started = time.monotonic()
        with pytest.raises(IngestTimeoutError, match="no acknowledgement within 0.5 s"):
            ingest(server.workspace, table, rows(100), options=options(ack_timeout=0.5, max_attempts=2))
        assert time.monotonic() - started < QUICK["timeout"] / 2

    def test_acknowledgements_withheld_once_cause_a_resend_that_is_counted(
        self, server: LocalZerobus, table: str
    ) -> None:
        server.faults.add(action="withhold_ack", stream=1)
        receipt = ingest(server.workspace, table, rows(100), options=options(ack_timeout=3.0))
        landed = ids(server, table)
        assert sorted(set(landed)) == list(range(100))
        assert len(landed) - 100 <= receipt.rows_resent <= 100

    def test_late_acknowledgements_are_waited_for(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="delay_ack", seconds=0.4)
        receipt = ingest(server.workspace, table, rows(200), options=options())
        assert receipt.rows_resent == 0
        assert receipt.ack_latency_s.p50 >= 0.4

    def test_an_acknowledgement_that_comes_after_its_stream_was_given_up_counts_for_nothing(
        self, server: LocalZerobus, table: str
    ) -> None:
        # It comes two seconds after the first stream was given up, and a second before that of the second stream.
        server.faults.add(action="delay_ack", seconds=8.0, stream=1)
        server.faults.add(action="delay_ack", seconds=3.0, stream=2)
        receipt = ingest(server.workspace, table, rows(100), options=options(ack_timeout=6.0))
        landed = ids(server, table)
        assert (receipt.rows_acked, receipt.rows_resent, receipt.reconnects) == (100, 100, 1)
        assert landed == sorted([*range(100), *range(100)]), "the first stream stored them, and was late to say so"
        assert receipt.ack_latency_s.p50 >= 3.0, "the acknowledgement of the second stream is the one that counts"

    @pytest.mark.parametrize("streams", [1, 4])
    def test_a_server_that_accepts_and_never_reads_is_left_in_time(
        self, server: LocalZerobus, table: str, streams: int
    ) -> None:
        server.faults.add(action="stop_reading", seconds=0)
        started = time.monotonic()
        with pytest.raises(IngestTimeoutError, match="no acknowledgement within 0.5 s") as caught:
            ingest(
                server.workspace, table, rows(5000), options=options(ack_timeout=0.5, max_attempts=2, streams=streams)
            )
        assert time.monotonic() - started < QUICK["timeout"] / 2
        assert caught.value.counts.rows_acked == 0
        assert ids(server, table) == []

    def test_a_server_that_reads_again_on_the_next_stream_gets_every_row(
        self, server: LocalZerobus, table: str
    ) -> None:
        server.faults.add(action="stop_reading", seconds=0, stream=1, message=2)
        receipt = ingest(server.workspace, table, rows(1000), options=options(ack_timeout=3.0))
        assert struck(server, "stop_reading") == 1
        assert receipt.rows_acked == 1000
        assert set(ids(server, table)) == set(range(1000))

    def test_the_whole_delivery_has_a_deadline(self, server: LocalZerobus, table: str) -> None:
        TableSchema.fetch(server.workspace, table)  # is remembered, so that the time is that of the streams
        server.faults.add(action="withhold_ack")
        started = time.monotonic()
        with pytest.raises(IngestTimeoutError, match="not finished within 2.0 s"):
            ingest(server.workspace, table, rows(100), options=options(timeout=2.0, ack_timeout=60.0))
        assert time.monotonic() - started < 30


class TestAnswersThatAreFinal:
    @pytest.mark.parametrize(
        ("status", "error"),
        [("UNAUTHENTICATED", AuthenticationError), ("PERMISSION_DENIED", PermissionDeniedError)],
    )
    def test_a_rejected_token_gets_one_more_try(
        self, server: LocalZerobus, table: str, status: str, error: type[Exception]
    ) -> None:
        server.faults.add(action="refuse_open", status=status)
        with pytest.raises(error):
            ingest(server.workspace, table, rows(10), options=options(max_attempts=10))
        # Two that were told the status; the SDK may miss it, seeing only that the call ended, and that is tried again.
        assert 2 <= opens(server, table) < 10

    def test_a_token_that_expires_in_mid_delivery_is_replaced(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="fail", status="UNAUTHENTICATED", message=4, times=1)
        receipt = ingest(server.workspace, table, rows(1000), options=options())
        assert receipt.rows_acked == 1000

    @pytest.mark.parametrize(
        "fault",
        [
            {"action": "token_status", "http_status": 401},
            {"action": "token_status", "http_status": 429},
            {"action": "token_status", "http_status": 500},
            {"action": "token_garbage"},
            {"action": "token_delay", "seconds": 0.3},
        ],
        ids=lambda fault: "-".join(map(str, fault.values())),
    )
    def test_a_token_endpoint_that_stumbles_once_delays_the_delivery_and_no_more(
        self, server: LocalZerobus, table: str, fault: dict[str, Any]
    ) -> None:
        TableSchema.fetch(server.workspace, table)  # is remembered, so that the fault meets the stream's token
        server.faults.add(fault | {"times": 1})
        receipt = ingest(server.workspace, table, rows(100), options=options())
        assert struck(server, fault["action"]) == 1
        assert (receipt.rows_acked, receipt.rows_resent) == (100, 0)
        assert ids(server, table) == list(range(100))

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ({"action": "token_status", "http_status": 401}, AuthenticationError),
            ({"action": "token_status", "http_status": 429}, ThrottledError),
            ({"action": "token_status", "http_status": 500}, TransportError),
            ({"action": "token_garbage"}, TransportError),
            ({"action": "token_delay", "seconds": 30}, IngestTimeoutError),
        ],
        ids=lambda given: "-".join(map(str, given.values())) if isinstance(given, dict) else given.__name__,
    )
    def test_a_token_endpoint_that_never_recovers_is_named_in_time(
        self, server: LocalZerobus, table: str, fault: dict[str, Any], error: type[Exception]
    ) -> None:
        TableSchema.fetch(server.workspace, table)  # is remembered, so that the fault meets the stream's token
        server.faults.add(fault)
        open_timeout = 0.5 if error is IngestTimeoutError else QUICK["open_timeout"]
        started = time.monotonic()
        with pytest.raises(error) as caught:
            ingest(server.workspace, table, rows(100), options=options(open_timeout=open_timeout, max_attempts=3))
        assert time.monotonic() - started < 30  # the time that one answer takes
        assert caught.value.counts.rows_not_durable > 0  # type: ignore[attr-defined]
        assert ids(server, table) == []

    def test_missing_grants_are_named(self, server: LocalZerobus, table: str) -> None:
        nobody = server.create_principal("nobody")
        with pytest.raises(PermissionDeniedError, match="MODIFY"):
            ingest(nobody, table, rows(10), options=options())

    def test_a_row_that_the_service_refuses_is_named_and_the_rest_is_durable(
        self, server: LocalZerobus, table: str
    ) -> None:
        server.sql(f"ALTER TABLE {table} ADD CONSTRAINT positive CHECK (id <> 137)")
        with pytest.raises(RejectedRecordError, match="row 137") as caught:
            ingest(server.workspace, table, rows(400), options=options(streams=2))
        assert caught.value.rows == (137,)
        landed = ids(server, table)
        assert 137 not in landed
        assert caught.value.counts.rows_acked == len(set(landed))
        assert set(range(137)) <= set(landed)


class TestStops:
    def test_a_stop_request_takes_effect_within_a_second(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="withhold_ack")
        stop = threading.Event()
        asked: list[float] = []

        def ask() -> None:
            wait_until(lambda: struck(server, "withhold_ack") > 0)
            asked.append(time.monotonic())
            stop.set()

        thread = threading.Thread(target=ask)
        thread.start()
        with pytest.raises(IngestInterruptedError) as caught:
            ingest(server.workspace, table, rows(1000), options=options(ack_timeout=60.0), stop=stop)
        took = time.monotonic() - asked[0]
        thread.join()
        print(f"the delivery raised after {took:.3f} s")
        assert took < 10  # less than a second on a machine that is not busy; what is waited for would take a minute
        assert caught.value.counts.rows_read == caught.value.counts.rows_not_durable > 0

    def test_acknowledgements_before_the_stop_count(self, server: LocalZerobus, table: str) -> None:
        stop = threading.Event()

        def source() -> Iterator[dict[str, Any]]:
            for row in rows(100_000):
                if row["id"] == 5000:
                    stop.set()
                yield row

        with pytest.raises(IngestInterruptedError) as caught:
            ingest(server.workspace, table, source(), options=options(), stop=stop)
        assert len(ids(server, table)) >= caught.value.counts.rows_acked
        assert caught.value.counts.rows_read < 100_000

    def test_an_error_of_the_source_passes_through(self, server: LocalZerobus, table: str) -> None:
        def source() -> Iterator[dict[str, Any]]:
            yield from rows(10)
            raise LookupError("the page is gone")

        with pytest.raises(LookupError, match="the page is gone"):
            ingest(server.workspace, table, source(), options=options())


def test_arrow_data_goes_as_protobuf_where_the_credentials_open_no_arrow_stream(
    server: LocalZerobus, table: str
) -> None:
    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    own = jwt.encode({"sub": "me", "exp": time.time() + 600}, "k" * 32)
    federated = dataclasses.replace(
        server.workspace,
        credentials=FederatedCredentials(token_supplier=lambda: own, client_id=credentials.client_id),
    )
    receipt = ingest(federated, table, pa.table({"id": list(range(100))}), options=options())
    assert (receipt.record_format, receipt.record_format_reason) == (
        "protobuf",
        "Arrow streams support only ClientCredentials",
    )
    assert ids(server, table) == list(range(100))


def test_a_column_of_lists_that_the_source_has_not_is_null_in_the_table(server: LocalZerobus) -> None:
    server.create_table(
        "CREATE TABLE main.default.lists (id BIGINT, a ARRAY<STRING>, m MAP<STRING, DECIMAL(9,2)>, "
        "s STRUCT<n: INT, l: ARRAY<BINARY>>, v STRUCT<v: VARIANT>)"
    )
    for count in (1, 2, 3, 5_000):
        given = pa.table({"id": pa.nulls(count, pa.int64()), "s": [{"n": 1, "l": None}] * count, "a": pa.nulls(count)})
        ingest(server.workspace, "main.default.lists", given, options=options(max_attempts=1, batch_rows=5_000))
    stored = server.read("main.default.lists").to_pylist()
    assert len(stored) == 1 + 2 + 3 + 5_000
    expected = {"id": None, "a": None, "m": None, "s": {"n": 1, "l": None}, "v": None}
    assert all(row == expected for row in stored)


UNFIT: dict[str, Any] = {
    "rows": lambda count: ({"id": None} for _ in range(count)),
    "Arrow": lambda count: pa.table({"id": pa.nulls(count, pa.int8())}),
}


class TestWhereNoRowIsGood:
    @pytest.mark.parametrize("kind", UNFIT)
    def test_a_stop_and_a_deadline_take_effect(
        self, server: LocalZerobus, table: str, tmp_path: Path, kind: str
    ) -> None:
        limits: Any = {
            "on_bad_record": "dead_letter",
            "dead_letter_uri": str(tmp_path / "bad.jsonl"),
            "max_bad_records": None,
        }
        with pytest.raises(IngestTimeoutError):
            ingest(server.workspace, table, UNFIT[kind](400_000), options=options(**limits, timeout=1.0))
        stop = threading.Event()
        timer = threading.Timer(0.5, stop.set)
        timer.start()
        with pytest.raises(IngestInterruptedError):
            ingest(server.workspace, table, UNFIT[kind](400_000), options=options(**limits), stop=stop)
        timer.join()

    @pytest.mark.parametrize("kind", UNFIT)
    def test_the_limit_on_bad_rows_is_looked_at_after_every_block(
        self, server: LocalZerobus, table: str, tmp_path: Path, kind: str
    ) -> None:
        letters = tmp_path / "bad.jsonl"
        with pytest.raises(RecordError, match="max_bad_records=10 allows only 10"):
            ingest(
                server.workspace,
                table,
                UNFIT[kind](100_000),
                options=options(
                    on_bad_record="dead_letter", dead_letter_uri=str(letters), max_bad_records=10, batch_rows=100
                ),
            )
        assert len(letters.read_text().splitlines()) == 100


class TestAsYouGo:
    def test_leaving_the_block_waits_for_every_acknowledgement(self, server: LocalZerobus, table: str) -> None:
        with StreamManager(server.workspace, table, options=options()) as streams:
            streams.send(rows(100))
            streams.send([{"id": 100}])
        assert streams.receipt.rows_acked == 101
        assert ids(server, table) == list(range(101))

    def test_frames_and_arrow_tables_can_be_sent_as_they_come(self, server: LocalZerobus, table: str) -> None:
        with StreamManager(server.workspace, table, options=options()) as streams:
            streams.send(pa.table({"id": [0, 1]}))
            streams.send(pd.DataFrame({"id": [2, 3]}))
            streams.send(pa.table({"id": [4]}).to_reader())
        assert streams.receipt.record_format == "arrow"
        assert ids(server, table) == [0, 1, 2, 3, 4]

    def test_a_block_without_rows_has_a_receipt(self, server: LocalZerobus, table: str) -> None:
        with StreamManager(server.workspace, table, options=options()) as streams:
            streams.flush()
        assert streams.receipt.rows_read == 0

    def test_text_of_a_file_does_not_make_text_of_later_rows_parsed(
        self, server: LocalZerobus, table: str, tmp_path: Path
    ) -> None:
        (tmp_path / "rows.jsonl").write_text('{"id": "1"}\n')
        with (  # noqa: PT012 - the second rows are what is refused
            pytest.raises(ConfigurationError, match="the first rows were Python rows whose text is parsed"),
            StreamManager(server.workspace, table, options=options()) as streams,
        ):
            streams.send(tmp_path / "rows.jsonl")
            streams.send([{"id": "2"}])

    def test_the_latency_of_an_acknowledgement_does_not_hold_what_the_program_did_meanwhile(
        self, server: LocalZerobus, table: str
    ) -> None:
        with StreamManager(server.workspace, table, options=options()) as streams:
            started = time.monotonic()
            streams.send(rows(1))
            wait_until(lambda: ids(server, table) == [0])
            stored = time.monotonic()
            time.sleep(5.0)
        assert 0 < streams.receipt.ack_latency_s.max < stored - started + 4.0

    def test_flush_waits_for_what_was_sent(self, server: LocalZerobus, table: str) -> None:
        with StreamManager(server.workspace, table, options=options()) as streams:
            streams.send(rows(100))
            streams.flush()
            assert ids(server, table) == list(range(100))

    def test_a_stop_after_the_last_acknowledgement_changes_nothing(self, server: LocalZerobus, table: str) -> None:
        with StreamManager(server.workspace, table, options=options()) as streams:
            streams.send(rows(100))
            streams.flush()
            streams.stop()
        assert streams.receipt.rows_acked == 100

    def test_a_stream_that_fails_after_the_last_acknowledgement_changes_nothing(
        self, server: LocalZerobus, table: str
    ) -> None:
        server.faults.add(action="delay_open", seconds=4.0, stream=2)
        server.faults.add(action="refuse_open", status="NOT_FOUND", stream=2)
        with StreamManager(server.workspace, table, options=options(streams=2)) as streams:
            streams.send(rows(100))
            streams.flush()
            assert struck(server, "refuse_open") == 0
            wait_until(lambda: struck(server, "refuse_open") == 1)
            time.sleep(0.5)  # the second stream is refused now, when nothing needs it
        assert streams.receipt.rows_acked == 100

    def test_leaving_the_block_by_an_exception_does_not_wait(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="withhold_ack")
        with (  # noqa: PT012 - the block is what is tested
            pytest.raises(LookupError),
            StreamManager(server.workspace, table, options=options(ack_timeout=60.0)) as streams,
        ):
            streams.send(rows(100))
            left = time.monotonic()
            raise LookupError
        assert time.monotonic() - left < 10  # less than a second on a machine that is not busy

    @pytest.mark.parametrize("sent", [0, 1])
    @pytest.mark.parametrize("error", [None, LookupError("the user's")], ids=["normally", "by an exception"])
    def test_after_the_block_nothing_is_sent_and_no_call_says_otherwise(
        self, server: LocalZerobus, table: str, sent: int, error: Exception | None
    ) -> None:
        manager = StreamManager(server.workspace, table, options=options())
        with contextlib.suppress(LookupError), manager:
            if sent:
                manager.send(rows(sent))
                manager.flush()
            if error:
                raise error
        assert " closed, " in repr(manager)
        for call in (lambda: manager.send([{"id": 1}]), manager.flush):
            with pytest.raises(ConfigurationError, match=r"inside the with block .* comes after it"):
                call()
        assert opens(server, table) == sent
        assert ids(server, table) == list(range(sent))

    def test_before_the_block_nothing_can_be_sent_or_flushed(self, server: LocalZerobus, table: str) -> None:
        manager = StreamManager(server.workspace, table)
        for call in (lambda: manager.send([{"id": 1}]), manager.flush):
            with pytest.raises(ConfigurationError, match=r"inside the with block .* comes before it"):
                call()
        assert " not entered, " in repr(manager)

    def test_a_delivery_that_was_left_by_an_exception_opens_no_stream_for_later_calls(
        self, server: LocalZerobus, table: str
    ) -> None:
        schema = TableSchema.fetch(server.workspace, table)
        destination = Destination.of(server.workspace, schema, options(), Controls(), is_arrow=False, version=None)
        delivery = Delivery(destination, options())
        with contextlib.suppress(LookupError), delivery.running():
            delivery.send(Chunk(0, rows(1)))
            raise LookupError("the user's")
        for call in (lambda: delivery.send(Chunk(1, rows(1))), delivery.poll, delivery.flush, delivery.finish):
            with pytest.raises(RuntimeError, match="closed"):
                call()
        assert opens(server, table) == 1

    def test_a_call_inside_of_another_one_is_refused_and_fails_the_block(
        self, server: LocalZerobus, table: str
    ) -> None:
        refused: list[str] = []

        def call(streams: StreamManager) -> None:
            try:
                streams.send(rows(1))
            except ConfigurationError as error:
                refused.append(error.message)

        def sending(streams: StreamManager) -> Iterator[dict[str, Any]]:
            yield from rows(5)
            call(streams)
            other = threading.Thread(target=call, args=[streams])
            other.start()
            other.join()

        with pytest.raises(ConfigurationError, match="an earlier call failed"):  # noqa: SIM117
            with StreamManager(server.workspace, table, options=options()) as streams:
                streams.send(sending(streams))
        assert ["another call of this StreamManager is still running" in message for message in refused] == [True, True]
        assert set(ids(server, table)) <= set(range(5))

    def test_an_error_of_send_that_was_swallowed_still_fails_the_block(self, server: LocalZerobus, table: str) -> None:
        manager = StreamManager(server.workspace, table, options=options())
        with pytest.raises(ConfigurationError, match="an earlier call failed with RecordError"), manager as streams:  # noqa: PT012
            streams.send(rows(10))
            with contextlib.suppress(RecordError):
                streams.send([{"id": 10}, {"id": "eleven"}])
        with pytest.raises(ConfigurationError, match="receipt"):
            _ = manager.receipt

    def test_a_delivery_that_failed_does_not_go_on(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="withhold_ack")
        quick = options(max_attempts=1, ack_timeout=0.5, timeout=30.0)
        with (  # noqa: PT012 - what is raised in between, and when, is what is tested
            pytest.raises(ConfigurationError, match="an earlier call failed"),
            StreamManager(server.workspace, table, options=quick) as streams,
        ):
            streams.send([{"id": 1}])
            with pytest.raises(IngestTimeoutError):
                streams.flush()
            server.faults.clear()
            with pytest.raises(ConfigurationError, match="failed with IngestTimeoutError"):
                streams.flush()
            streams.send([{"id": 2}])
        assert 2 not in ids(server, table)

    def test_an_error_of_the_users_rows_that_was_swallowed_still_fails_the_block(
        self, server: LocalZerobus, table: str
    ) -> None:
        def pages() -> Iterator[dict[str, Any]]:
            yield from rows(10)
            raise LookupError("the page is gone")

        with (
            pytest.raises(ConfigurationError, match="failed with LookupError"),
            StreamManager(server.workspace, table, options=options()) as streams,
            contextlib.suppress(LookupError),
        ):
            streams.send(pages())

    @pytest.mark.parametrize("read", [0, 1])
    def test_rows_that_could_not_even_be_looked_at_fail_the_block(
        self, server: LocalZerobus, table: str, read: int
    ) -> None:
        def page() -> Iterator[dict[str, Any]]:
            raise LookupError("the page is gone")
            yield {}

        manager = StreamManager(server.workspace, table, options=options())
        with pytest.raises(ConfigurationError, match="failed with LookupError"), manager as streams:  # noqa: PT012
            streams.send(rows(read))
            with contextlib.suppress(LookupError):
                streams.send(page())
        with pytest.raises(ConfigurationError, match="receipt"):
            _ = manager.receipt

    def test_a_failed_delivery_has_no_receipt(self, server: LocalZerobus, table: str) -> None:
        server.faults.add(action="fail", status="INTERNAL")
        manager = StreamManager(server.workspace, table, options=options(max_attempts=1))
        with pytest.raises(TransportError), manager as streams:
            streams.send(rows(10))
        with pytest.raises(Exception, match="no receipt until the with block ends"):
            _ = manager.receipt
