"""Deadlines, stop requests and signals end a delivery whose source waits, or suppresses what interrupts it."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zerobus_core import IngestInterruptedError, IngestOptions, IngestTimeoutError, StreamManager, ingest
from zerobus_core.process import guard
from zerobus_core.process.guard import SourceGuard, in_time
from zerobus_core.process.interruption import StopRequest
from zerobus_local import LocalZerobus

# So long a sleep is always broken off, also on a machine that is very busy.
FOR_EVER = 60.0
pytestmark = pytest.mark.usefixtures("free_alarm")


@pytest.fixture
def table(zerobus: LocalZerobus, table_name: str) -> str:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    return table_name


def late(rows: int) -> Iterator[dict[str, int]]:
    for number in range(rows):
        yield {"id": number}
    time.sleep(FOR_EVER)
    yield {"id": rows}


def push(server: LocalZerobus, table: str, rows: Any, **named: Any) -> Any:
    return ingest(server.workspace, table, rows, **named)


def send(server: LocalZerobus, table: str, rows: Any, *, options: IngestOptions, stop: Any = None) -> None:
    with StreamManager(server.workspace, table, options=options) as streams:
        if stop is not None:
            stop.set = streams.stop
        streams.send(rows)


def assert_free() -> None:
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("deliver", [push, send])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_timeout_covers_the_wait_for_any_row(
    zerobus: LocalZerobus, table: str, deliver: Callable[..., Any], before: int
) -> None:
    started = time.monotonic()
    with pytest.raises(IngestTimeoutError, match=table):
        deliver(zerobus, table, late(before), options=IngestOptions(timeout=2.0))
    assert time.monotonic() - started < FOR_EVER / 2
    assert_free()


@pytest.mark.parametrize("deliver", [push, send])
@pytest.mark.parametrize("before", [0, 3])
def test_a_stop_by_another_thread_covers_the_wait_for_any_row(
    zerobus: LocalZerobus, table: str, deliver: Callable[..., Any], before: int
) -> None:
    stop, waits = threading.Event(), threading.Event()

    def rows() -> Iterator[dict[str, int]]:
        yield from ({"id": number} for number in range(before))
        waits.set()
        time.sleep(FOR_EVER)
        raise AssertionError("it was not interrupted")

    def request() -> None:
        waits.wait(FOR_EVER)
        stop.set()

    thread = threading.Thread(target=request)
    started = time.monotonic()
    thread.start()
    with pytest.raises(IngestInterruptedError):
        deliver(zerobus, table, rows(), options=IngestOptions(), stop=stop)
    thread.join()
    assert time.monotonic() - started < FOR_EVER / 2
    assert_free()


@pytest.mark.parametrize("deliver", [push, send])
def test_in_another_thread_a_timeout_takes_effect_with_the_next_row(
    zerobus: LocalZerobus, table: str, deliver: Callable[..., Any]
) -> None:
    raised: list[BaseException] = []

    def slow() -> Iterator[dict[str, int]]:
        time.sleep(1.5)
        yield from ({"id": number} for number in itertools.count())

    def run() -> None:
        try:
            deliver(zerobus, table, slow(), options=IngestOptions(timeout=1.0))
        except IngestTimeoutError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(FOR_EVER)
    assert len(raised) == 1


def stubborn(interrupt: Callable[[], object]) -> Iterator[dict[str, int]]:
    try:
        for number in itertools.count():
            yield {"id": number}
            if number == 10:
                interrupt()
                time.sleep(FOR_EVER)
    except BaseException:  # noqa: BLE001
        return


def test_a_keyboard_interrupt_that_the_source_suppresses_ends_the_delivery(zerobus: LocalZerobus, table: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        push(zerobus, table, stubborn(lambda: signal.raise_signal(signal.SIGINT)))
    assert_free()


def test_a_keyboard_interrupt_that_is_suppressed_before_the_first_row_ends_the_delivery(
    zerobus: LocalZerobus, table: str
) -> None:
    def rows() -> Iterator[dict[str, int]]:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(FOR_EVER)
        yield {"id": 1}

    with pytest.raises(KeyboardInterrupt):
        push(zerobus, table, rows())
    assert_free()


def test_what_a_handler_of_sigterm_raises_and_the_source_suppresses_ends_the_delivery(
    zerobus: LocalZerobus, table: str
) -> None:
    class TerminatedError(Exception):
        pass

    def terminate(*_: object) -> None:
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(TerminatedError):
            push(zerobus, table, stubborn(lambda: signal.raise_signal(signal.SIGTERM)))
        assert signal.getsignal(signal.SIGTERM) is terminate
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("kind", [threading.Event, StopRequest])
def test_a_stop_request_that_the_source_suppresses_ends_the_delivery(
    zerobus: LocalZerobus, table: str, kind: type[threading.Event]
) -> None:
    stop = kind()
    with pytest.raises(IngestInterruptedError), stop if isinstance(stop, StopRequest) else contextlib.nullcontext():
        push(zerobus, table, stubborn(stop.set), stop=stop)
    assert_free()


@pytest.mark.parametrize("kind", [threading.Event, StopRequest])
def test_a_stop_request_that_is_suppressed_after_the_last_ack_ends_the_delivery(
    zerobus: LocalZerobus, table: str, kind: type[threading.Event]
) -> None:
    stop, acked = kind(), threading.Event()

    def rows() -> Iterator[dict[str, int]]:
        yield from ({"id": number} for number in range(10))
        acked.wait(FOR_EVER)
        with contextlib.suppress(BaseException):
            stop.set()
            time.sleep(FOR_EVER)

    def look() -> None:
        while zerobus.read(table).num_rows < 10:
            time.sleep(0.05)
        time.sleep(0.5)  # the acknowledgement is on its way
        acked.set()

    threading.Thread(target=look, daemon=True).start()
    with pytest.raises(IngestInterruptedError), stop if isinstance(stop, StopRequest) else contextlib.nullcontext():
        push(zerobus, table, rows(), options=IngestOptions(batch_rows=5), stop=stop)
    assert_free()


def test_a_hosts_time_limit_that_the_source_suppresses_ends_the_delivery(zerobus: LocalZerobus, table: str) -> None:
    def time_is_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, time_is_up)
    try:
        stop = StopRequest(deadline=time.monotonic() + 1.0)
        signal.setitimer(signal.ITIMER_REAL, 1.1)
        with pytest.raises(IngestInterruptedError), stop:
            push(zerobus, table, stubborn(lambda: None), stop=stop)
        assert signal.getsignal(signal.SIGALRM) is time_is_up
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_alarm_outside_of_the_users_code_raises_nothing_and_rings_again() -> None:
    def frame_of_the_alarm(*args: Any) -> None:
        with SourceGuard(time.monotonic() - 1.0) as watched:
            watched._arm()
            handler(signal.SIGALRM, None)  # as if it came between the user's code and _disarm
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 0.0
            watched._disarm()
            handler(signal.SIGALRM, None)
            assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

    def handler(number: int, frame: Any) -> None:
        installed = signal.getsignal(signal.SIGALRM)
        assert isinstance(installed, SourceGuard)
        installed(number, frame)

    frame_of_the_alarm()
    assert_free()


def test_whenever_the_alarm_comes_the_items_come_or_the_error_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_GRACE", 0.0)
    draw = random.Random(1)
    outcomes = {True: 0, False: 0}
    for _ in range(2_000):
        taken: list[int] = []
        whole = True
        try:
            taken.extend(in_time(range(20), time.monotonic() + draw.uniform(0.0, 1e-4)))
        except IngestTimeoutError:
            whole = False
        outcomes[whole] += 1
        assert taken == list(range(20)) if whole else len(taken) <= 20
        assert_free()
    assert all(outcomes.values()), outcomes


def test_guards_inside_of_each_other_leave_the_signals_as_they_were() -> None:
    def inner() -> Iterator[int]:
        yield from in_time(range(3), time.monotonic() + FOR_EVER)

    assert list(in_time(inner(), time.monotonic() + FOR_EVER, stop=threading.Event())) == [0, 1, 2]
    assert_free()
