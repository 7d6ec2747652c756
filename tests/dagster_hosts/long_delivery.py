"""Measure long deliveries in a whole Dagster: ``python -m tests.dagster_hosts.long_delivery [MINUTES]`` (10).

Two assets get a hundred rows a second for so many minutes, at the same time, after one of them was materialized thirty
times.  The step of the other is killed with ``kill -9`` at half of the time, and its retry delivers the rest.
Prints, and fails if a delivery wrote more than 20 observations, the retry skipped less than 90 % of the durable rows,
or the asset's plots, which are of its last 100 events, do not show the last 30 materializations.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.dagster_hosts.deployment import Deployment, figures, wait_for
from zerobus_local import LocalZerobus

WHOLE, KILLED = "long_whole", "long_killed"
EARLIER = 30
MOST_OBSERVATIONS = 20
LEAST_SKIPPED = 0.9


def config_of(name: str, seconds: float) -> dict[str, object]:
    return {"ops": {name: {"config": {"seconds": seconds}}}}


def ids_in(server: LocalZerobus, name: str) -> list[int]:
    return sorted(server.read(f"main.default.{name}").column("id").to_pylist())


def measure(deployment: Deployment, server: LocalZerobus, minutes: float) -> None:
    graphql, seconds = deployment.graphql, minutes * 60.0
    patience = 2.0 * seconds + 600.0
    for name in (WHOLE, KILLED):
        server.create_table(f"CREATE TABLE main.default.{name} (id BIGINT NOT NULL, note STRING)")
    # In the process of the run, without one for the step.
    earlier = [
        graphql.launch(deployment.selector, "__ASSET_JOB", config_of(WHOLE, 0.0), [WHOLE]) for _ in range(EARLIER)
    ]
    assert {graphql.wait_for_end(run_id, 900.0) for run_id in earlier} == {"SUCCESS"}
    start = time.monotonic()
    runs = {name: deployment.launch(f"{name}_job", config_of(name, seconds)) for name in (WHOLE, KILLED)}
    pid_file = deployment.home / "steps" / KILLED / "pid"
    wait_for(pid_file.exists, f"the step of {KILLED}")
    time.sleep(seconds / 2)
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    durable = len(ids_in(server, KILLED))
    assert graphql.wait_for_end(runs[KILLED], patience) == "SUCCESS"
    retried = figures(of_run(deployment, KILLED, runs[KILLED], "MaterializationEvent")[0])
    skipped = retried["rows_skipped"]
    ids = ids_in(server, KILLED)
    twice = len(ids) - len(set(ids))
    print(
        f"killed after {seconds / 2:.0f} s: {durable} rows durable, the retry skipped {skipped / durable:.2%} of them"
    )
    print(f"  {twice} rows are there twice, rows_resent says at most {retried['rows_resent']}")
    assert graphql.wait_for_end(runs[WHOLE], patience) == "SUCCESS"
    observations = len(of_run(deployment, WHOLE, runs[WHOLE], "ObservationEvent"))
    shown = sum(event["__typename"] == "MaterializationEvent" for event in graphql.history(WHOLE))
    print(
        f"whole, {time.monotonic() - start:.0f} s: {observations} observations; the plots show {shown} materializations"
    )
    assert set(ids) == set(range(100 + int(seconds * 100)))
    assert twice <= retried["rows_resent"]
    assert skipped >= LEAST_SKIPPED * durable
    assert observations <= MOST_OBSERVATIONS
    assert shown >= EARLIER


def of_run(deployment: Deployment, name: str, run_id: str, kind: str) -> list[dict[str, object]]:
    """The events of a run among the last ones of its asset."""
    events = deployment.graphql.history(name, limit=1_000)
    return [event for event in events if event["runId"] == run_id and event["__typename"] == kind]


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as folder, LocalZerobus.start(Path(folder, "zerobus")) as server:
        home = Path(folder, "dagster")
        home.mkdir()
        deployment = Deployment(home, server)
        try:
            measure(deployment, server, minutes)
        finally:
            deployment.close()


if __name__ == "__main__":
    main()
