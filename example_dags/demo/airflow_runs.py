"""The child process that runs Airflow: makes the metadata database, and then runs the Dag once for each line of stdin.

Each line is the configuration of a run, as JSON. One process does all runs, because the first run in a process takes
some seconds more. For a single run, use ``airflow dags test demo_flights``, as with any Dag.
"""

from __future__ import annotations

import json
import subprocess
import sys

READY = "Airflow is ready"


def main() -> None:
    """Make the database, and run the Dag for each line until stdin ends."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)
    from example_dags.demo.dags.demo_flights import dag

    print(READY, flush=True)
    for line in sys.stdin:
        dag.test(run_conf=json.loads(line))


if __name__ == "__main__":
    main()
