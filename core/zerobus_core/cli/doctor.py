"""``zerobus-ingest doctor``, which checks step by step what a delivery needs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from .frame import connection_options, environment_of, exit_code, framed, table_of, table_option

if TYPE_CHECKING:
    from ..doctor import Step

__all__ = ["doctor"]

_MARKS = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failed": ("FAILED", "red"),
    "skipped": ("skipped", ""),
}


@click.command()
@table_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of the steps.")
@connection_options
@framed
def doctor(as_json: bool, **given: Any) -> None:
    """Check what a delivery needs: environment, network and sign-in.

    If TABLE is passed, its schema, the grants and the opening of a stream are also checked. No row is written and no
    secret is shown. The exit code is that of the first step that failed.
    """
    from ..doctor import diagnose

    table = table_of(given)
    steps: list[Step] = []
    for step in diagnose(table, environ=environment_of(given)):
        steps.append(step)
        if not as_json:
            _print(step)
    if as_json:
        click.echo(json.dumps([step.as_dict() for step in steps], indent=2))
    sys.exit(next((exit_code(step.error) for step in steps if step.error is not None), 0))


def _print(step: Step) -> None:
    word, colour = _MARKS[step.status]
    click.echo(f"{click.style(f'{word:<8}', fg=colour or None)} {step.name}: {step.detail}")
    if step.advice:
        click.echo(f"{'':<8} -> {step.advice}")
