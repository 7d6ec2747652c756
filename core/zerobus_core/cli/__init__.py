"""The command line ``zerobus-ingest``; docs/cli.md explains its use.

Only results go to stdout; progress, logs and errors go to stderr. The exit code says who has to act (see ``frame``). It
is 0 only if every row is durable or in the dead-letter file that the user requested.
"""

from __future__ import annotations

import sys

import click

from .checkpoint import checkpoint
from .create_table import create_table
from .dead_letters import dead_letters
from .dedup import dedup_sql
from .doctor import doctor
from .frame import exit_at_once
from .handoff import handoff
from .push import push
from .schema import schema

__all__ = ["main", "program"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zerobus-orchestration")
def main() -> None:
    """Deliver rows to Databricks Delta tables through Zerobus Ingest.

    The workspace and the service principal come from the environment: ZEROBUS_SERVER_ENDPOINT, DATABRICKS_HOST,
    DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET.
    """


for _command in (doctor, schema, create_table, push, handoff, dead_letters, dedup_sql, checkpoint):
    main.add_command(_command)


def program() -> None:
    """Run the command in ``sys.argv``, and end the process with the command's exit code; never returns."""
    try:
        main()
    except SystemExit as end:
        code = end.code
    else:
        code = 0
    if code is not None and not isinstance(code, int):  # a text, which Python would print
        sys.stderr.write(f"{code}\n")
        code = 1
    exit_at_once(code or 0)
