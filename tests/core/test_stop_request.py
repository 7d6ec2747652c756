"""Stop requests and deadlines break in where nobody looks at them, and leave the alarm as they found it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FunctionType

import pytest

from zerobus_core.errors import IngestInterruptedError, IngestTimeoutError
from zerobus_core.interruption import StopRequest, in_time

# Longer than the alarm takes to break in.
LONG = 1.0


class AlarmError(Exception):
    pass


def ring(*_: object) -> None:
    raise AlarmError


@pytest.fixture(autouse=True)
def handler() -> Iterator[Callable[..., None]]:
    """A handler that the alarm has already, as Airflow gives it one for execution_timeout."""
    before = signal.signal(signal.SIGALRM, ring)
    yield ring
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_it_breaks_in_where_nobody_looks_and_once_only() -> None:
    started = time.monotonic()
    with StopRequest() as stop:
        stop.interrupt()
        with pytest.raises(IngestInterruptedError):
            time.sleep(30)
        assert time.monotonic() - started < 5
        time.sleep(LONG)
        assert stop.is_set()
    assert signal.getsignal(signal.SIGALRM) is ring


def test_it_does_not_break_in_on_someone_who_has_looked_also_if_it_comes_again() -> None:
    with StopRequest() as stop:
        stop.interrupt()
        assert stop.is_set()
        stop.interrupt()
        time.sleep(LONG)


def test_it_does_not_break_in_after_the_block() -> None:
    with StopRequest() as stop:
        stop.interrupt()
    stop.interrupt()
    time.sleep(LONG)
    assert signal.getsignal(signal.SIGALRM) is ring


def test_from_another_thread_it_is_set_only() -> None:
    with StopRequest() as stop:
        thread = threading.Thread(target=stop.interrupt)
        thread.start()
        thread.join()
        time.sleep(LONG)
        assert stop.is_set()


def test_an_alarm_that_was_set_before_rings_when_it_would_have() -> None:
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, LONG)
    with StopRequest() as stop:
        stop.interrupt()
        time.sleep(0.1)
        assert stop.is_set()
        with pytest.raises(AlarmError):
            time.sleep(30)
    assert LONG <= time.monotonic() - started < LONG + 4


def test_an_alarm_that_would_have_rung_meanwhile_rings_after_it() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with StopRequest() as stop:
        stop.interrupt()
        with pytest.raises(IngestInterruptedError):
            time.sleep(30)
        with pytest.raises(AlarmError):
            wait_and_look(stop)


def wait_and_look(stop: StopRequest) -> None:
    assert stop.is_set()
    time.sleep(30)


def test_calls_of_a_spared_module_are_waited_for() -> None:
    spared = FunctionType(wait_long.__code__, {"__name__": "spared", "LONG": LONG, "time": time})
    with StopRequest(spared=["spared"]) as stop:
        stop.interrupt()
        spared()
        with pytest.raises(IngestInterruptedError):
            time.sleep(30)


def wait_long() -> None:
    time.sleep(LONG)


def waiting(seconds: float) -> Iterator[int]:
    yield 1
    time.sleep(seconds)
    yield 2


@pytest.mark.usefixtures("free_alarm")
def test_a_deadline_breaks_in_on_a_source_that_waits_and_frees_the_alarm() -> None:
    started = time.monotonic()
    items = in_time(waiting(60.0), started + 0.2)
    assert next(items) == 1
    with pytest.raises(IngestTimeoutError, match="the source gives no more rows"):
        next(items)
    assert time.monotonic() - started < 30
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.usefixtures("free_alarm")
def test_a_deadline_does_not_break_in_on_who_takes_the_items() -> None:
    for _ in in_time(waiting(0.0), time.monotonic() + 0.2):
        time.sleep(LONG)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_a_deadline_leaves_an_alarm_that_is_someone_elses() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    with pytest.raises(AlarmError):
        list(in_time(waiting(60.0), time.monotonic() + 0.1))
    assert signal.getsignal(signal.SIGALRM) is ring


@pytest.mark.usefixtures("free_alarm")
def test_a_stop_request_that_comes_while_a_deadline_waits_is_what_is_told() -> None:
    with StopRequest() as stop:

        def stopped() -> Iterator[int]:
            stop.interrupt()
            time.sleep(60.0)
            yield 1

        with pytest.raises(IngestInterruptedError):
            list(in_time(stopped(), time.monotonic() + 60.0))
    signal.setitimer(signal.ITIMER_REAL, 0.1)  # whoever has the handler now, it breaks in on nobody
    time.sleep(LONG)
