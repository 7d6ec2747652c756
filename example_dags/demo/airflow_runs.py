"""A child process with Airflow in it: makes the database, then runs the Dag with each configuration that is sent.

One process for all runs, since the first one costs Airflow seconds. For a single run, do as with any Dag:
``airflow dags test demo_flights``.
"""

from __future__ import annotations

import json
import subprocess
import sys

READY = "Airflow is ready"


def main() -> None:
    """Run until stdin ends."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)
    from example_dags.demo.dags.demo_flights import dag

    print(READY, flush=True)
    for line in sys.stdin:
        dag.test(run_conf=json.loads(line))


if __name__ == "__main__":
    main()
