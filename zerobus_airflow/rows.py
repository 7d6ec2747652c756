"""Prepares the records and sources that operators get, and keeps Airflow from rendering rows as templates.

Rows are written in the Dag, returned by another task or a function, or fetched from a database's cursor.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zerobus_core import ConfigurationError
from zerobus_core.hosting import UriWithFilesystem, shown_uri

from .compat import AirflowSkipException, ObjectStoragePath, XComArg, conn_id_of, literal
from .parameters import is_known

if TYPE_CHECKING:
    from .compat import Context

__all__ = ["Rows", "cursor_rows", "protected", "readable", "rendered", "resolve", "without_late_skip"]

_FETCH_ROWS = 1_000


class Rows:
    """A wrapper that makes Airflow's rendered template fields show only the type of the rows, such as ``<list>``.

    Airflow stores the rendered template fields of each task in its database, and shows them on the task's page.
    """

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __repr__(self) -> str:
        return f"<{type(self.rows).__name__}>"


def protected(records: Any) -> Any:
    """Return ``records`` in a form that keeps Airflow from rendering data as templates.

    The output of a task and text with a template are returned as they are, so that Airflow resolves them. Raises
    ConfigurationError if ``records`` cannot be rows.
    """
    if isinstance(records, Mapping):
        raise ConfigurationError("records is a dict, which is one record; pass a list of them: [record]")
    if isinstance(records, bytes) or (isinstance(records, str) and is_known(records)):
        raise ConfigurationError(
            f"records is the text {records!r}, which is neither rows nor a template; pass a path or URI as source"
        )
    # Airflow must see a task's output to resolve it, and a text to render it. Everything else is data.
    if records is None or isinstance(records, XComArg | str):
        return records
    if any(True for _ in XComArg.iter_xcom_references(records)):
        raise ConfigurationError(
            "records holds the output of a task inside a collection; pass the output itself as records, or combine "
            "several outputs in another task"
        )
    return literal(Rows(records))


def rendered(records: Any) -> Any:
    """Return the user's records; ``records`` is the value that ``protected`` returned, usually rendered by Airflow.

    If ``execute`` was called directly, Airflow has not rendered ``records``; the unrendered value is also accepted.

    Raises ConfigurationError if a template was rendered to text.
    """
    if isinstance(records, type(literal(None))):
        records = records.value
    if isinstance(records, Rows):
        return records.rows
    if isinstance(records, str):
        raise ConfigurationError(
            "records was rendered to text: a template becomes text unless the Dag sets "
            "render_template_as_native_obj=True. Pass the other task's output (`task.output`, or what calling a "
            "@task function returns) as records; pass a path or URI as source"
        )
    return records


def without_late_skip(records: Any) -> Any:
    """Return the records; an AirflowSkipException after a generator's first row becomes a ConfigurationError.

    A skipped task must not have delivered anything. An AirflowSkipException before the first row is passed on.
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
            f"AirflowSkipException was raised after the first row (rows so far: {count}), but a task that delivers "
            "rows must not be skipped; raise it before the first row, or end the generator with return"
        ) from error


def resolve(value: Any, context: Context) -> Any:
    """If ``value`` is an unresolved reference to a task's output, return this output; otherwise return ``value``.

    The output of a mapped task, which is a lazy sequence, becomes a list.
    """
    if isinstance(value, XComArg):
        value = value.resolve(context)
    # A lazy sequence of Airflow makes one request for each item, but only one for a slice.
    is_lazy = type(value).__module__.startswith("airflow.") and isinstance(value, Sequence)
    return list(value[:]) if is_lazy else value


def readable(source: Any) -> Any:
    """Return the source in a form that the core reads.

    An ObjectStoragePath becomes a URI. If the path has a connection, the result also keeps the file system of this
    connection.

    Raises ConfigurationError for an ObjectStoragePath that universal_pathlib before 0.3 turned into a local path,
    because a template supplies the protocol of the path.
    """
    if isinstance(source, list | tuple):
        return [readable(item) for item in source]
    if not isinstance(source, ObjectStoragePath):
        return source
    if not source.protocol and (found := re.match(r"/(\w[\w+.-]+):/", str(source))):
        raise ConfigurationError(
            f"source is an ObjectStoragePath that became the local path {shown_uri(str(source))!r}: this version of "
            "universal_pathlib treats a path that begins with a template as a local path. Write the protocol and the "
            f"bucket before the template: ObjectStoragePath('{found[1]}://…/{{{{ … }}}}')"
        )
    if not conn_id_of(source):
        return str(source)
    return UriWithFilesystem(f"{source.protocol}://{source.path}", source.fs, source.path)


def cursor_rows(cursor: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a cursor as dicts; fetch 1,000 rows at a time."""
    names = [column[0] for column in cursor.description]
    while rows := cursor.fetchmany(_FETCH_ROWS):
        for row in rows:
            yield dict(zip(names, row, strict=True))
