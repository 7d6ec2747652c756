"""Stop requests and deadlines interrupt code that does not look at them, and leave the alarm as it was."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FunctionType

import pytest

from zerobus_core.errors import IngestInterruptedError, IngestTimeoutError
from zerobus_core.process.guard import in_time
from zerobus_core.process.interruption import StopRequest

pytestmark = pytest.mark.matrix

# Longer than the alarm takes to break in, which is 0.25 s.
LONG = 1.0
# So long a sleep is always broken off, also on a machine that is very busy.
FOR_EVER = 60.0


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


def is_seen_in_time(stop: StopRequest) -> bool:
    """Interrupt and look; False on a machine that was too busy to look before the alarm rang."""
    try:
        stop.interrupt()
        return stop.is_set()
    except IngestInterruptedError:
        return False


def test_it_breaks_in_where_nobody_looks_and_once_only() -> None:
    with StopRequest() as stop:
        with pytest.raises(IngestInterruptedError):  # noqa: PT012 - a busy machine comes late to its sleep
            stop.interrupt()
            time.sleep(FOR_EVER)
        time.sleep(LONG)
        assert stop.is_set()
    assert signal.getsignal(signal.SIGALRM) is ring


def test_it_does_not_break_in_on_someone_who_has_looked_also_if_it_comes_again() -> None:
    is_seen = False
    while not is_seen:
        with StopRequest() as stop:
            if is_seen := is_seen_in_time(stop):
                stop.interrupt()
                time.sleep(LONG)


def test_it_does_not_break_in_after_the_block() -> None:
    is_left = False
    while not is_left:
        with contextlib.suppress(IngestInterruptedError), StopRequest() as stop:
            stop.interrupt()
            is_left = True
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
    is_seen = False
    while not is_seen:
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 4 * LONG)
        with StopRequest() as stop:
            if is_seen := is_seen_in_time(stop):
                with pytest.raises(AlarmError):
                    time.sleep(FOR_EVER)
    assert 4 * LONG <= time.monotonic() - started < FOR_EVER


def test_an_alarm_that_would_have_rung_meanwhile_rings_after_it() -> None:
    with StopRequest() as stop:
        with pytest.raises(IngestInterruptedError):  # noqa: PT012 - a busy machine comes late to its sleep
            interrupt_before_the_alarm(stop)
            time.sleep(FOR_EVER)
        with pytest.raises(AlarmError):  # noqa: PT012 - it may ring at once
            assert stop.is_set()
            time.sleep(FOR_EVER)


def interrupt_before_the_alarm(stop: StopRequest) -> None:
    while True:
        with contextlib.suppress(AlarmError):  # the machine was too busy
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            stop.interrupt()
            return


def test_calls_of_a_spared_module_are_waited_for() -> None:
    spared = FunctionType(wait_long.__code__, {"__name__": "spared", "LONG": LONG, "time": time})
    waited: list[bool] = []
    with StopRequest(protected_modules=["spared"]) as stop:
        with pytest.raises(IngestInterruptedError):  # noqa: PT012 - a busy machine comes late to its sleep
            spared(stop, waited)
            time.sleep(FOR_EVER)
        assert waited


def wait_long(stop: StopRequest, waited: list[bool]) -> None:
    stop.interrupt()
    time.sleep(LONG)
    waited.append(True)


def waiting(seconds: float) -> Iterator[int]:
    yield 1
    time.sleep(seconds)
    yield 2


@pytest.mark.usefixtures("free_alarm")
def test_a_deadline_breaks_in_on_a_source_that_waits_and_frees_the_alarm() -> None:
    started = time.monotonic()
    items = in_time(waiting(60.0), started + 0.2)
    assert next(items) == 1
    with pytest.raises(IngestTimeoutError, match="timed out waiting for the source"):
        next(items)
    assert time.monotonic() - started < 30
    assert_free()


@pytest.mark.usefixtures("free_alarm")
def test_a_deadline_does_not_break_in_on_who_takes_the_items() -> None:
    for _ in in_time(waiting(0.0), time.monotonic() + 0.2):
        time.sleep(LONG)
    assert_free()


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
    assert_free()


@pytest.mark.usefixtures("free_alarm")
def test_a_stop_request_that_is_seen_while_a_deadline_waits_leaves_no_alarm() -> None:
    with StopRequest() as stop:

        def stopped() -> Iterator[int]:
            stop.interrupt()
            yield 1

        for _ in in_time(stopped(), time.monotonic() + 60.0):
            assert stop.is_set()
            break
    assert_free()


@pytest.mark.usefixtures("free_alarm")
def test_a_source_that_swallows_the_end_of_its_time_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zerobus_core.process.guard._REPEAT_EVERY", 0.2)
    swallowed = []

    def stubborn() -> Iterator[int]:
        while len(swallowed) < 3:
            try:
                time.sleep(60.0)
            except IngestTimeoutError as error:
                swallowed.append(error)
        yield 1

    assert list(in_time(stubborn(), time.monotonic())) == [1]
    assert_free()


@pytest.mark.usefixtures("free_alarm")
def test_a_deadline_waits_for_calls_of_a_spared_module() -> None:
    spared = FunctionType(in_a_call.__code__, {"__name__": "supervisor", "time": time})

    answered: list[int] = []

    def asking() -> Iterator[int]:
        answered.append(spared(LONG))
        yield 1
        time.sleep(60.0)

    taken: list[int] = []
    with pytest.raises(IngestTimeoutError):  # before the item is yielded or after it
        taken.extend(in_time(asking(), time.monotonic(), stop=StopRequest(protected_modules=["supervisor"])))
    assert answered == [1]
    assert_free()


def in_a_call(seconds: float) -> int:
    time.sleep(seconds)
    return 1


@pytest.mark.usefixtures("free_alarm")
def test_a_source_may_take_the_alarm_for_itself() -> None:
    def alarmed() -> Iterator[int]:
        yield 1
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, LONG)
        yield 2
        time.sleep(60.0)

    with pytest.raises(AlarmError):
        list(in_time(alarmed(), time.monotonic() + 60.0))
    assert signal.getsignal(signal.SIGALRM) is ring


def assert_free() -> None:
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
