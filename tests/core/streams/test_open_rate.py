"""The bound on stream-open requests, on a clock of its own."""

from __future__ import annotations

from zerobus_core.streams.open_rate import OpenRate, open_rate_of


def test_no_more_than_the_limit_fall_into_any_period() -> None:
    rate = OpenRate(limit=3, period=60.0)
    assert [rate.take(now) for now in (0.0, 10.0, 20.0)] == [0.0, 0.0, 0.0]
    assert rate.take(25.0) == 35.0
    assert rate.take(60.0) == 0.0
    assert rate.take(61.0) == 9.0


def test_asking_takes_no_place() -> None:
    rate = OpenRate(limit=1, period=60.0)
    assert [rate.wait(0.0), rate.wait(0.0), rate.take(0.0), rate.wait(1.0)] == [0.0, 0.0, 0.0, 59.0]


def test_a_table_has_one_bound_however_its_name_is_written() -> None:
    assert open_rate_of("http://127.0.0.1:1", "main.default.T") is open_rate_of("http://127.0.0.1:1", "MAIN.default.t")
    assert open_rate_of("http://127.0.0.1:1", "main.default.t") is not open_rate_of(
        "http://127.0.0.1:2", "main.default.t"
    )
