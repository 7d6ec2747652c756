"""Rows that a Dag or another task's output holds: past Airflow's rendering."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException, XComArg, literal

from zerobus_core import ConfigurationError

__all__ = ["Rows", "protected", "rendered", "without_late_skip"]


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


def without_late_skip(records: Any) -> Any:
    """The records; a generator whose AirflowSkipException after its first row is an error.

    A task that is skipped has delivered nothing.  Before the first row the exception is raised as it is.
    """
    return _rows_without_late_skip(records) if inspect.isgenerator(records) else records


def _rows_without_late_skip(rows: Iterator[Any]) -> Iterator[Any]:
    count = 0
    try:
        for row in rows:
            count += 1
            yield row
    except AirflowSkipException as error:
        if not count:
            raise
        raise ConfigurationError(
            f"the rows ended with AirflowSkipException after {count} of them, but a task that delivered rows is not "
            "skipped; raise it before the first row, or end the rows with return"
        ) from error
