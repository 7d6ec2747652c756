"""Executes statements so that, with most drivers, the rows of a result stay in the database until they are fetched.

Also prevents drivers from changing values: PostgreSQL's intervals are read as the database's text, because a
``timedelta`` turns a month into 30 days.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any
from uuid import uuid4

__all__ = ["execute_on_server"]


def execute_on_server(connection: Any, sql: str, parameters: Any = None, *, as_text: bool = False) -> Any:
    """Execute ``sql`` on a DB-API connection and return the cursor.

    With most drivers, the rows stay in the database until they are fetched. psycopg, psycopg2, MySQLdb and pymysql
    would read the whole result into the client, so a special kind of cursor is used for them. Blocks while the database
    executes the statement; raises the driver's own errors.

    With ``as_text``, PostgreSQL's JSON is returned as text, so that ``DatabaseRows`` gets all digits of its numbers.
    Otherwise the driver parses the JSON.
    """
    driver = type(connection).__module__.partition(".")[0]
    if driver in {"psycopg", "psycopg2"}:
        cursor = connection.cursor(name=f"zerobus_{uuid4().hex}")
        _READERS[driver](cursor)
    elif driver in {"MySQLdb", "pymysql"}:
        cursor = connection.cursor(import_module(f"{driver}.cursors").SSCursor)
    else:
        cursor = connection.cursor()
    if as_text and driver in {"psycopg", "psycopg2"}:
        _read_json_as_text(cursor, driver)
    # Without parameters a driver leaves percent signs in the statement alone.
    cursor.execute(sql, *([] if parameters is None else [parameters]))
    if driver == "psycopg2":
        # psycopg2 learns the names of the columns with the first fetch, even one of no rows.
        cursor.fetchmany(0)
    return cursor


def _read_by_psycopg(cursor: Any) -> None:
    cursor.adapters.register_loader("interval", import_module("psycopg.types.string").TextLoader)


def _read_by_psycopg2(cursor: Any) -> None:
    extensions = import_module("psycopg2.extensions")
    text = extensions.new_type((_INTERVAL,), "INTERVAL_AS_TEXT", lambda value, _: value)
    extensions.register_type(text, cursor)
    extensions.register_type(extensions.new_array_type((_INTERVALS,), "INTERVALS_AS_TEXT", text), cursor)
    # Without this, psycopg2 would return an array of UUIDs as text.
    import_module("psycopg2.extras").register_uuid(None, cursor)


_READERS = {"psycopg": _read_by_psycopg, "psycopg2": _read_by_psycopg2}
# PostgreSQL's type codes (pg_type.oid) of interval and of arrays of intervals.
_INTERVAL, _INTERVALS = 1186, 1187
# PostgreSQL's type codes of json and jsonb, and of arrays of each.
_JSON = {"json": (114, 199), "jsonb": (3802, 3807)}


def _read_json_as_text(cursor: Any, driver: str) -> None:
    if driver == "psycopg":
        for name in _JSON:
            cursor.adapters.register_loader(name, import_module("psycopg.types.string").TextLoader)
        return
    extensions = import_module("psycopg2.extensions")
    for name, (code, array_code) in _JSON.items():
        text = extensions.new_type((code,), f"{name.upper()}_AS_TEXT", lambda value, _: value)
        extensions.register_type(text, cursor)
        extensions.register_type(extensions.new_array_type((array_code,), f"{name.upper()}S_AS_TEXT", text), cursor)
