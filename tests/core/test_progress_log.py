"""The line of progress in the log of a host."""

from __future__ import annotations

from dataclasses import replace

from zerobus_core import Progress
from zerobus_core.hosting import ProgressLog

RUNNING = Progress(
    table="main.default.t",
    rows_read=1_000,
    rows_acked=100,
    rows_skipped=50,
    rows_dead_lettered=0,
    total_rows=None,
    unacked_rows=5,
    unacked_bytes=500,
    streams=1,
    rows_per_s=10.0,
    oldest_unacked_s=0.2,
    elapsed_s=0.0,
)


def lines_of(*seen: Progress) -> list[str]:
    lines: list[str] = []
    log = ProgressLog(lambda text, *arguments: lines.append(text % arguments), interval=10.0)
    for progress in seen:
        log(progress)
    return lines


def test_a_line_is_written_each_time_the_interval_is_over() -> None:
    seconds = [half / 2 for half in range(70)]
    lines = lines_of(*(replace(RUNNING, elapsed_s=second, rows_acked=int(second)) for second in seconds))
    assert [line.split()[1] for line in lines] == ["60", "70", "80"]


def test_a_line_says_how_far_the_delivery_is() -> None:
    at_ten = replace(RUNNING, elapsed_s=10.0)
    rest = "rows durable (10 rows/s); 5 in flight on 1 stream, the oldest for 0.2 s"
    assert lines_of(at_ten) == [f"main.default.t: 150 {rest}"]
    assert lines_of(replace(at_ten, total_rows=1_000)) == [f"main.default.t: 150 of 1000 {rest}"]
    lost = replace(at_ten, streams=0, last_error="the connection broke")
    assert lines_of(lost)[0].endswith("on 0 streams, the oldest for 0.2 s; trying again after: the connection broke")


def test_a_line_says_that_no_stream_is_open_yet_and_why() -> None:
    connecting = replace(RUNNING, elapsed_s=10.0, rows_acked=0, streams=0)
    assert lines_of(connecting) == ["main.default.t: connecting"]
    refused = replace(connecting, last_error="it was refused")
    assert lines_of(refused) == ["main.default.t: connecting; trying again after: it was refused"]
