"""A child process with Airflow in it: runs the demo's Dag with each configuration that comes in on stdin.

One process for all runs, since the first one costs Airflow seconds. For a single run, do as with any Dag:
``airflow dags test demo_flights``.
"""

from __future__ import annotations

import json
import sys

from example_dags.demo.dags.demo_flights import dag

if __name__ == "__main__":
    for line in sys.stdin:
        run = dag.test(run_conf=json.loads(line))
        print(f"the run of {dag.dag_id} ended: {run.state}", flush=True)
