"""The program of ``make demo``: delivers real flights and weather, and checks that no task succeeds too early.

Dagster, Airflow and a handoff in plain Python deliver the rows. Everything runs on this machine, bound to 127.0.0.1, in
the folder .demo, which the next run deletes. The exit code is 0 only if every check held.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from example_dags.demo import source
from example_dags.demo.airflow_runs import READY
from example_dags.demo.console import Story
from example_dags.demo.delta import read, row_count, without_repeats
from example_dags.demo.handoff_act import hand_over_new_files
from example_dags.demo.hosts import Airflow, dagster_weather
from example_dags.demo.stage import DagRun, Stage, compare, last_error, show_receipt
from zerobus_local import LocalZerobusProcess

_MARKER = "made-by-the-demo"
# With fewer rows, a delivery ends before the server can be killed in the middle of it.
_FEWEST_ROWS = 30_000


def main() -> int:
    """Run all acts of the demo, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m example_dags.demo", description=__doc__)
    parser.add_argument("--rows", type=int, default=source.FLIGHT_ROWS, help="number of flights to push (default: all)")
    parser.add_argument("--home", type=Path, default=Path(".demo"), help="folder to work in; it is deleted first")
    parser.add_argument("--keep", action="store_true", help="at the end, keep the local server open until Ctrl-C")
    arguments = parser.parse_args()
    if not _FEWEST_ROWS <= arguments.rows <= source.FLIGHT_ROWS:
        parser.error(f"--rows must be at least {_FEWEST_ROWS} and at most {source.FLIGHT_ROWS}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A shell's background job ignores SIGINT, and the demo says that Ctrl-C and kill -INT stop it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    story = Story()
    home = _fresh(arguments.home)
    try:
        with ExitStack() as closing:
            server = _play(story, home, arguments.rows, closing)
            code = _verdict(story, home)
            if arguments.keep:
                _keep_open(story, server)
    except KeyboardInterrupt:
        story.tell("interrupted; everything that was started is stopped")
        return 128 + signal.SIGINT
    return code


def _keep_open(story: Story, server: LocalZerobusProcess) -> None:
    story.tell(f"the page of the local server: {server.workspace_url}")
    story.tell(f"it stays open until Ctrl-C, or until kill {os.getpid()}")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        story.tell("stopped")


def _fresh(home: Path) -> Path:
    home = home.resolve()
    if home.exists() and not (home / _MARKER).exists():
        raise SystemExit(f"{home} was not made by the demo, and would be deleted; choose another folder with --home")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / _MARKER).touch()
    return home


def _verdict(story: Story, home: Path) -> int:
    story.tell("")
    for failure in story.failures:
        story.tell(f"FAILED {failure}")
    checks = story.passed + len(story.failures)
    story.tell(f"{story.passed} of {checks} checks held, in {story.seconds:.0f} s")
    # Next to the Python that runs this: the environment of make setup is not on the PATH.
    command = Path(sys.executable).with_name("zerobus-local")
    story.tell(f"the tables: {command} tables --data {home}/zerobus; whole receipts and logs: {home}")
    return 1 if story.failures else 0


def _play(story: Story, home: Path, rows: int, closing: ExitStack) -> LocalZerobusProcess:
    """Play all acts, and return the local server, which runs until ``closing`` is closed."""
    story.section(
        "The local server: gRPC, OAuth and Unity Catalog in front of Delta tables",
        "nothing but this machine is needed.",
    )
    with story.progress("started"):
        server = closing.enter_context(LocalZerobusProcess.start(home / "zerobus", commit_delay=0.2))
    story.tell(f"Zerobus endpoint {server.endpoint}, workspace {server.workspace_url}")
    story.tell("The rates below are low on purpose: the server waits 0.2 s before each commit, as if it were far away,")
    story.tell("and few rows are sent at a time, so that it can be killed in the middle. make bench measures speed.")
    airflow = Airflow(home / "airflow", server.workspace)
    # Airflow starts slowly, so other acts come first.
    with airflow.runs() as runs:
        _dagster_pushes_the_weather(story, home, server)
        flights = source.flights(rows)
        hand_over_new_files(story, home, server, flights)
        stage = Stage(story=story, home=home, server=server, airflow=airflow, runs=runs, flights=flights)
        _airflow_pushes_the_flights(stage)
        _the_server_dies_for_good(stage)
        _the_server_dies_and_comes_back(stage)
    return server


def _dagster_pushes_the_weather(story: Story, home: Path, server: LocalZerobusProcess) -> None:
    expected = source.weather()
    story.section(
        f"Dagster materializes the asset 'weather', {expected.num_rows:,} rows",
        "the asset is materialized when every row is in the table with the values of the source.",
    )
    path = server.create_table(source.weather_sql("main.default.weather")).path
    recorded = home / "weather.json"
    with (
        story.progress("Dagster started, and materialized the asset", expected.num_rows) as show,
        dagster_weather(home / "dagster", server.workspace, recorded) as child,
    ):
        child.wait(child.has_ended, lambda: show(row_count(path)))
    metadata = {name.rpartition("/")[2]: value for name, value in json.loads(recorded.read_text()).items()}
    show_receipt(story, metadata)
    story.equal("rows_acked in the metadata of the materialization", expected.num_rows, metadata["rows_acked"])
    compare(story, expected, read(path))


def _airflow_pushes_the_flights(stage: Stage) -> None:
    story = stage.story
    story.section(
        f"Airflow runs the Dag 'demo_flights', {stage.rows:,} rows",
        "the task succeeds when every row is in the table with the values of the source.",
    )
    with story.progress("Airflow started, with a metadata database of its own") as show:
        stage.runs.wait(lambda: stage.runs.has_said(READY), lambda: show(0))
    path = stage.server.create_table(source.flights_sql("main.default.flights")).path
    run = DagRun(stage, "main.default.flights", path)
    run.watch("the Dag ran", run.is_over)
    receipt = run.receipt or {}
    show_receipt(story, receipt)
    story.equal("state of the Dag run", "success", stage.airflow.run_state())
    counts = [receipt.get("rows_read"), receipt.get("rows_acked")]
    story.equal("rows_read and rows_acked in its receipt", [stage.rows, stage.rows], counts)
    compare(story, stage.flights, read(path))


def _the_server_dies_for_good(stage: Stage) -> None:
    story = stage.story
    story.section(
        "Airflow fails: the same Dag, and the server is killed in the middle and stays away",
        "a task whose rows are not all durable fails, and the task after it does not run.",
    )
    path = stage.server.create_table(source.flights_sql("main.default.flights_lost")).path
    run = DagRun(stage, "main.default.flights_lost", path)
    landed = run.kill_the_server_in_the_middle()
    run.watch("the task used up its attempts", run.is_over)
    story.equal("attempts of the task", ["failed", "failed"], stage.airflow.tries())
    story.equal("state of the Dag run", "failed", stage.airflow.run_state())
    story.equal("receipt that the next task got (it did not run)", None, run.receipt)
    story.tell(f"the error of the task: {last_error(stage.runs.log)}")
    with story.progress("the server is back, on the same ports and folder"):
        stage.server.restart()
    story.equal("rows in the Delta table after the restart", landed, row_count(path))


def _the_server_dies_and_comes_back(stage: Stage) -> None:
    story = stage.story
    story.section(
        "Airflow retries: the server is killed again, and is back before the second attempt",
        "the retry sends only the rows that are not durable yet.",
    )
    path = stage.server.create_table(source.flights_sql("main.default.flights_retried")).path
    run = DagRun(stage, "main.default.flights_retried", path)
    landed = run.kill_the_server_in_the_middle()
    run.watch("the first attempt failed", lambda: "up_for_retry" in stage.airflow.tries())
    story.equal("attempts of the task by then", ["failed", "up_for_retry"], stage.airflow.tries())
    with story.progress("the server is back, on the same ports and folder"):
        stage.server.restart()
    run.watch("the second attempt ran", run.is_over)
    receipt = run.receipt or {}
    show_receipt(story, receipt)
    story.equal("attempts of the task", ["failed", "success"], stage.airflow.tries())
    story.equal("state of the Dag run", "success", stage.airflow.run_state())
    skipped = receipt.get("rows_skipped", 0)
    story.holds("rows that the retry skipped, all of them durable", 0 < skipped <= landed, skipped, f"1 to {landed:,}")
    story.equal("rows that the retry sent: all the others", stage.rows - skipped, receipt.get("rows_acked"))
    delivered = read(path)
    twice = delivered.num_rows - stage.rows
    resent = receipt.get("rows_resent", 0)
    lost_acks = landed - skipped
    story.holds(
        f"rows in the table twice (the receipt says at most {resent:,})",
        twice == lost_acks and twice <= resent,
        twice,
        f"{lost_acks:,}, which were durable but not acknowledged when the server died",
    )
    compare(story, stage.flights, without_repeats(delivered))


if __name__ == "__main__":
    sys.exit(main())
