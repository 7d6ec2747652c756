"""Rows that a Dag or another task's output holds: past Airflow's rendering."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zerobus_core import ConfigurationError
from zerobus_core.hosting import UriWithFilesystem

from .compat import AirflowSkipException, ObjectStoragePath, XComArg, conn_id_of, literal
from .parameters import is_known

if TYPE_CHECKING:
    from .compat import Context

__all__ = ["Rows", "cursor_rows", "protected", "readable", "rendered", "resolve", "without_late_skip"]

_FETCH_ROWS = 1_000


class Rows:
    """Keeps rows out of Airflow's rendered template fields: only their type is shown, not their content.

    Airflow keeps the rendered template fields of each task in its database, and shows them to everyone.
    """

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __repr__(self) -> str:
        return f"<{type(self.rows).__name__}>"


def protected(records: Any) -> Any:
    """The ``records`` in a form in which Airflow resolves outputs and templates, and does not touch data."""
    if isinstance(records, Mapping):
        raise ConfigurationError("records is a dict, which is one record; give a list of them: [record]")
    if isinstance(records, bytes) or (isinstance(records, str) and is_known(records)):
        raise ConfigurationError(
            f"records is the text {records!r}, and neither rows nor a template of them; a path or URI belongs in source"
        )
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
    """The records, after Airflow rendered what ``protected`` returned, or before if ``execute`` is called alone."""
    if isinstance(records, type(literal(None))):
        records = records.value
    if isinstance(records, Rows):
        return records.rows
    if isinstance(records, str):
        raise ConfigurationError(
            "records was rendered to text: a template gives text unless the Dag sets "
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


def resolve(value: Any, context: Context) -> Any:
    """The output of a task, also if its reference was left in place, and of a mapped one as a list."""
    if isinstance(value, XComArg):
        value = value.resolve(context)
    # Airflow's lazy sequences ask for each item by itself, and for a slice at once.
    is_lazy = type(value).__module__.startswith("airflow.") and isinstance(value, Sequence)
    return list(value[:]) if is_lazy else value


def readable(source: Any) -> Any:
    """The source as the core reads it; an ObjectStoragePath of a connection brings its own file system."""
    if isinstance(source, list | tuple):
        return [readable(item) for item in source]
    if not isinstance(source, ObjectStoragePath):
        return source
    if not conn_id_of(source):
        return str(source)
    return UriWithFilesystem(f"{source.protocol}://{source.path}", source.fs, source.path)


def cursor_rows(cursor: Any) -> Iterator[dict[str, Any]]:
    """The rows of a cursor as dicts, fetched a part at a time."""
    names = [column[0] for column in cursor.description]
    while rows := cursor.fetchmany(_FETCH_ROWS):
        for row in rows:
            yield dict(zip(names, row, strict=True))
