"""Rows that a Dag or another task's output holds: past Airflow's rendering, and known by their content."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import orjson
from airflow.providers.common.compat.sdk import XComArg, literal

from zerobus_core.errors import ConfigurationError

__all__ = ["Rows", "content_version", "protected", "rendered"]

_HASHED_AT_ONCE = 1_000


class Rows:
    """Holds rows past Airflow's rendering, and shows their kind instead of their content.

    Airflow keeps the rendered template fields of each task in its database, and shows them to everyone.
    """

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __repr__(self) -> str:
        return f"<{type(self.rows).__name__}>"


def protected(records: Any) -> Any:
    """What an operator keeps of ``records``, so that Airflow resolves outputs and templates, and leaves data alone."""
    # A task's output has to be seen by Airflow, and a text may be a template; all else is data.
    if records is None or isinstance(records, XComArg | str):
        return records
    if any(True for _ in XComArg.iter_xcom_references(records)):
        raise ConfigurationError(
            "records holds the output of a task inside a collection; give the output itself as records, "
            "or combine several in a task in between"
        )
    return literal(Rows(records))


def rendered(records: Any) -> Any:
    """The records, after Airflow has rendered what ``protected`` returned."""
    if isinstance(records, Rows):
        return records.rows
    if isinstance(records, str):
        raise ConfigurationError(
            "records was rendered to a text: a template gives text unless the Dag sets "
            "render_template_as_native_obj=True. Give the other task's output (`task.output`, or what calling a "
            "@task function returns) as records; a path or URI belongs in source"
        )
    return records


def content_version(rows: Any) -> str | None:
    """A hash of rows that are plain values, in their order: what says that another try has the same ones.

    None for anything but a list or tuple (frames and Arrow tables the core knows by their content itself), and for
    values whose content cannot be told exactly.
    """
    if not isinstance(rows, list | tuple):
        return None
    digest = hashlib.blake2b(digest_size=16)
    try:
        for first in range(0, len(rows), _HASHED_AT_ONCE):
            part = rows[first : first + _HASHED_AT_ONCE]
            digest.update(orjson.dumps(part, default=_exact, option=orjson.OPT_NON_STR_KEYS))
    except orjson.JSONEncodeError:
        return None
    return f"{len(rows)} rows {digest.hexdigest()}"


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    raise TypeError
