"""Rows that a Dag or another task's output holds: past Airflow's rendering."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import XComArg, literal

from zerobus_core import ConfigurationError

__all__ = ["Rows", "protected", "rendered"]


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
