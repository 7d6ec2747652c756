"""Prints the receipt of a delivery: as a summary if stdout is a terminal, otherwise as JSON."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING

import click

from ..wording import plural

if TYPE_CHECKING:
    from ..receipt import Receipt

__all__ = ["print_receipt"]

_log = logging.getLogger("zerobus_core")


def print_receipt(receipt: Receipt, *, as_json: bool) -> None:
    """Print the receipt as a summary if stdout is a terminal and ``as_json`` is not set, otherwise as JSON."""
    try:
        is_for_a_person = not as_json and sys.stdout is not None and sys.stdout.isatty()
        click.echo(_shown(receipt) if is_for_a_person else json.dumps(receipt.as_dict(), indent=2))
    except OSError as error:
        # Every row is durable, so the delivery has not failed, even if nobody can read the receipt.
        _log.warning("the receipt cannot be written to stdout: %s", error)


def _shown(receipt: Receipt) -> str:
    """Return the receipt as text for a person: durable rows, bad rows, possible duplicates, and the receipt's notes."""
    durable = receipt.rows_acked + receipt.rows_skipped
    lines = [
        f"{receipt.table}: {durable:,} of {receipt.rows_read:,} {plural(receipt.rows_read, 'row')} "
        f"{plural(durable, 'is', 'are')} durable, "
        f"{receipt.rows_acked:,} of them sent in {receipt.duration_s:,.1f} s ({receipt.rows_per_s:,.0f} rows/s)"
    ]
    if receipt.rows_dead_lettered:
        bad = plural(receipt.rows_dead_lettered, "bad row is", "bad rows are")
        lines.append(f"{receipt.rows_dead_lettered:,} {bad} in the dead-letter file")
    if receipt.rows_resent:
        lines.append(f"at most {receipt.rows_resent:,} {plural(receipt.rows_resent, 'row')} may be in the table twice")
    return "\n".join([*lines, *receipt.notes])
