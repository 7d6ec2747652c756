"""Unity Catalog in a folder: catalogs, schemas, tables and grants, and the Delta tables behind them.

``catalog.json`` holds everything except the rows and the principals. Each change replaces the file atomically. After a
crash, ``settle`` completes the interrupted statement or undoes it:

* For CREATE TABLE and DROP, ``catalog.json`` decides which tables exist. CREATE TABLE builds the Delta table in a
  temporary folder, then writes ``catalog.json``, and then moves the folder into place. DROP writes ``catalog.json``
  first and then deletes the folders. Folders that a crash leaves behind are deleted when a table of the same name is
  created.
* For ALTER TABLE, the Delta log decides whether the statement took effect. The statement makes a single Delta commit,
  and ``catalog.json`` records the intended result before that commit.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import AlreadyExists, InvalidRequest, NotFound, UnknownTable
from ..model.names import TableName
from ..model.objects import Alteration, Check, Column, Grant, Namespace, State, Table
from ..sql.statements import (
    AddCheck,
    AddColumns,
    Comment,
    CreateCatalog,
    CreateSchema,
    CreateTable,
    Delete,
    Describe,
    DropCatalog,
    DropCheck,
    DropColumns,
    DropSchema,
    DropTable,
    GrantChange,
    Insert,
    Query,
    SetTags,
    ShowTables,
    Statement,
)
from ..wording import counted
from . import delta_tables
from .alterations import AlterTable, planned
from .atomic_file import write_atomically
from .changes import delete_rows, describe, insert_rows, list_tables
from .grants import without_securable
from .principals import Principals
from .query import run_query
from .table_locks import TableLocks
from .tags import tagged

__all__ = ["Catalog", "Check", "Column", "Result", "Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one statement.

    ``message`` says what was done. Each of the ``notes`` describes a part of the statement that has no effect here, or
    that has a different effect on Databricks.
    """

    message: str
    notes: tuple[str, ...] = ()
    rows: Any = None
    """A pyarrow.Table for SELECT, SHOW TABLES and DESCRIBE, otherwise None."""


class Catalog:
    """The catalog of one data folder. In a new folder, the constructor creates the schema ``main.default``.

    Thread-safe. Only one process at a time may change the folder (``zerobus-local`` locks the folder while it serves).
    """

    def __init__(self, data: Path) -> None:
        self.data = Path(data).resolve()
        self.data.mkdir(parents=True, exist_ok=True)
        self.principals = Principals(self.data / "principals.json")
        self._file = self.data / "catalog.json"
        self._lock = threading.RLock()  # one statement at a time; guards _state and _file
        self._when_dropped: list[Callable[[Table], None]] = []
        self.locks = TableLocks()
        if self._file.exists():
            self._state = State.from_json(json.loads(self._file.read_bytes()), self.data / "tables")
        else:
            self._save(_first_state(self.principals.default.client_id))

    @property
    def state(self) -> State:
        """The current state of the catalog.

        The object is immutable. A statement that changes the catalog replaces the object with a new one.
        """
        return self._state

    def table(self, full_name: str) -> Table:
        """Return the table with this name.

        Raises UnknownTable if the table does not exist, and InvalidRequest if the name is invalid.
        """
        name = TableName.parse(full_name)
        table = self._state.tables.get(name)
        if table is None:
            raise UnknownTable(f"Table '{name}' does not exist. {self._nearest(name)}")
        return table

    def tables(self) -> list[Table]:
        """Return all tables, sorted by name."""
        return sorted(self._state.tables.values(), key=lambda table: table.name)

    def when_dropped(self, listener: Callable[[Table], None]) -> None:
        """Register ``listener``, to be called with each table right after the table is dropped or replaced."""
        self._when_dropped.append(listener)

    def settle(self) -> None:
        """Complete or undo the statement that a crash interrupted.

        The caller must hold the folder's lock (``DataFolderLock``).
        """
        with self._lock:
            self._settle_alteration()
            for table in self._state.tables.values():
                delta_tables.put_in_place(table)

    def execute(self, text: str, *, owner: str | None = None) -> list[Result]:
        """Run a script of SQL statements, one after the other.

        ``owner`` is the client id of the principal who runs the script (None: the default principal). This principal
        owns the objects that the script creates, and is granted access to them.

        Raises a LocalZerobusError if a statement cannot be run. If the script contains an invalid or unsupported
        statement, no statement of the script is run. If a statement fails while it is run, the preceding statements
        keep their effects.
        """
        owner = owner or self.principals.default.client_id
        statements = _sql().parse(text)
        results = []
        for statement in statements:
            with self._lock:
                results.append(self._carry_out(statement, owner))
        return results

    def create_table(self, text: str) -> Table:
        """Run a single CREATE TABLE statement and return the table; raise InvalidRequest for any other SQL."""
        name = _sql().created_table(text)
        self.execute(text)
        return self.table(str(name))

    def _carry_out(self, statement: Statement, owner: str) -> Result:  # noqa: C901, PLR0911  # one line per statement
        match statement:
            case CreateCatalog():
                return self._create_catalog(statement, owner)
            case CreateSchema():
                return self._create_schema(statement, owner)
            case CreateTable():
                return self._create_table(statement, owner)
            case AddColumns() | DropColumns() | AddCheck() | DropCheck() | Comment():
                return self._alter(statement)
            case SetTags():
                return self._set_tags(statement)
            case DropTable():
                return self._drop_table(statement)
            case DropSchema():
                full_name = f"{statement.catalog}.{statement.schema}"
                return self._drop_namespaces("SCHEMA", full_name, statement)
            case DropCatalog():
                return self._drop_namespaces("CATALOG", statement.name, statement)
            case GrantChange():
                return self._grant(statement)
            case Query():
                tables = [self.table(str(name)) for name in statement.tables]
                rows = run_query(statement.sql, tables)
                return Result(message=counted(rows.num_rows, "row"), rows=rows)
            case ShowTables() | Describe() | Insert() | Delete():
                return self._look_or_change(statement)

    def _look_or_change(self, statement: ShowTables | Describe | Insert | Delete) -> Result:
        if isinstance(statement, ShowTables):
            if statement.schema is not None and statement.schema not in self._state.schemas:
                raise NotFound(f"schema {statement.schema} does not exist")
            rows = list_tables(self.tables(), statement.schema)
            return Result(message=counted(rows.num_rows, "table"), rows=rows)
        table = self.table(str(statement.name))
        if isinstance(statement, Describe):
            rows = describe(table)
            return Result(message=counted(rows.num_rows, "column"), rows=rows)
        if isinstance(statement, Insert):
            rows = run_query(statement.rows.sql, [self.table(str(name)) for name in statement.rows.tables])
            with self.locks.commit(table.table_id):
                number = insert_rows(table, statement.columns, rows)
            return Result(message=f"inserted {counted(number, 'row')} into {table.name}")
        with self.locks.alone(table):
            number = delete_rows(table, statement.condition)
        return Result(message=f"deleted {counted(number, 'row')} from {table.name}")

    def _save(self, state: State) -> None:
        self._write(state)
        self._state = state

    def _write(self, state: State) -> None:
        write_atomically(self._file, state.to_text().encode())

    def _nearest(self, name: TableName) -> str:
        others = [
            str(other) for other in self._state.tables if (other.schema, other.catalog) == (name.schema, name.catalog)
        ]
        return f"Tables in {name.full_schema}: {', '.join(sorted(others)[:10]) or 'none'}"

    def _create_catalog(self, statement: CreateCatalog, owner: str) -> Result:
        name = statement.name
        if name in self._state.catalogs:
            return _there_already(f"catalog {name}", accepted=statement.if_not_exists)
        made = Namespace(full_name=name, owner=owner, created_at=_now(), comment=statement.comment)
        grant = Grant("CATALOG", name, owner, "USE CATALOG")
        state = self._state
        self._save(replace(state, catalogs=state.catalogs | {name: made}, grants=state.grants | {grant}))
        return Result(message=f"created catalog {name}")

    def _create_schema(self, statement: CreateSchema, owner: str) -> Result:
        name = f"{statement.catalog}.{statement.schema}"
        if statement.catalog not in self._state.catalogs:
            raise NotFound(f"catalog {statement.catalog} does not exist: CREATE CATALOG {statement.catalog} first")
        if name in self._state.schemas:
            return _there_already(f"schema {name}", accepted=statement.if_not_exists)
        made = Namespace(full_name=name, owner=owner, created_at=_now(), comment=statement.comment)
        grant = Grant("SCHEMA", name, owner, "USE SCHEMA")
        state = self._state
        self._save(replace(state, schemas=state.schemas | {name: made}, grants=state.grants | {grant}))
        return Result(message=f"created schema {name}")

    def _create_table(self, statement: CreateTable, owner: str) -> Result:
        name = statement.name
        if name.full_schema not in self._state.schemas:
            raise NotFound(f"schema {name.full_schema} does not exist: CREATE SCHEMA {name.full_schema} first")
        before = self._state.tables.get(name)
        if before is not None and not statement.or_replace:
            return _there_already(f"table {name}", accepted=statement.if_not_exists)
        now = _now()
        table = Table(
            name=name,
            table_id=str(uuid.uuid4()),
            path=self.data / "tables" / name.catalog / name.schema / name.table,
            columns=statement.columns,
            checks=statement.checks,
            comment=statement.comment,
            partition_by=statement.partition_by,
            properties=dict(statement.properties),
            owner=owner,
            created_at=now,
            updated_at=now,
            next_position=len(statement.columns),
        )
        delta_tables.create(table)
        made = {Grant("TABLE", str(name), owner, privilege) for privilege in ("SELECT", "MODIFY")}
        grants = without_securable(self._state.grants, str(name)) | made
        state = replace(self._state, tables=self._state.tables | {name: table}, grants=grants)
        with self.locks.alone(*filter(None, (before, table))):
            self._write(state)
            try:
                delta_tables.put_in_place(table)
            finally:
                self._state = state
        if before is not None:
            self._tell_dropped(before)
        return Result(message=f"created table {name} in {table.path}", notes=statement.notes)

    def _alter(self, statement: AlterTable) -> Result:
        table = self.table(str(statement.name))
        with self.locks.alone(table):
            altered, commit = planned(table, statement)
            intended = Alteration(replace(altered, updated_at=_now()), delta_tables.definition(table.path))
            self._save(replace(self._state, alteration=intended))
            try:
                commit()
            finally:
                self._settle_alteration()
        return Result(message=f"altered table {table.name}", notes=getattr(statement, "notes", ()))

    def _set_tags(self, statement: SetTags) -> Result:
        table = self.table(str(statement.name))
        altered, notes = tagged(table, statement)
        with self.locks.alone(table):
            altered = replace(altered, updated_at=_now())
            self._save(replace(self._state, tables=self._state.tables | {table.name: altered}))
        return Result(message=f"altered table {table.name}", notes=notes)

    def _settle_alteration(self) -> None:
        """Make the catalog agree with the Delta log after an ALTER TABLE that may have been interrupted."""
        intended, tables = self._state.alteration, self._state.tables
        if intended is None:
            return
        if delta_tables.definition(intended.table.path) != intended.before:
            tables = tables | {intended.table.name: intended.table}
        # Set even if the write below fails: the Delta log has decided, and rows have to fit the Delta table.
        self._state = replace(self._state, tables=tables, alteration=None)
        self._write(self._state)

    def _drop_table(self, statement: DropTable) -> Result:
        if statement.name not in self._state.tables and statement.if_exists:
            return Result(message=f"table {statement.name} does not exist")
        table = self.table(str(statement.name))
        self._drop([table], replace(self._state, grants=without_securable(self._state.grants, table.full_name)))
        return Result(message=f"dropped table {table.name}")

    def _drop(self, tables: list[Table], state: State) -> None:
        """Save a copy of ``state`` that lacks ``tables``, and then delete the folders of these tables."""
        names = {table.name for table in tables}
        with self.locks.alone(*tables):
            self._save(replace(state, tables={n: table for n, table in state.tables.items() if n not in names}))
            for table in tables:
                delta_tables.remove(table.path)
        for table in tables:
            self._tell_dropped(table)

    def _tell_dropped(self, table: Table) -> None:
        for listener in self._when_dropped:
            listener(table)

    def _drop_namespaces(self, kind: str, full_name: str, statement: DropSchema | DropCatalog) -> Result:
        state = self._state
        if full_name not in (state.schemas if kind == "SCHEMA" else state.catalogs):
            if statement.if_exists:
                return Result(message=f"{kind.lower()} {full_name} does not exist")
            raise NotFound(f"{kind.lower()} {full_name} does not exist")
        tables = [table for table in self.tables() if table.full_name.startswith(f"{full_name}.")]
        schemas = [name for name in state.schemas if name == full_name or name.startswith(f"{full_name}.")]
        if not statement.cascade and (tables or schemas != [full_name] * (kind == "SCHEMA")):
            raise InvalidRequest(
                f"{kind.lower()} {full_name} is not empty: DROP {kind} {full_name} CASCADE also drops its content"
            )
        left = replace(
            state,
            schemas={name: value for name, value in state.schemas.items() if name not in schemas},
            catalogs={name: value for name, value in state.catalogs.items() if name != full_name},
            grants=without_securable(state.grants, full_name),
        )
        self._drop(tables, left)
        return Result(message=f"dropped {kind.lower()} {full_name}")

    def _grant(self, statement: GrantChange) -> Result:
        known = {
            "CATALOG": set(self._state.catalogs),
            "SCHEMA": set(self._state.schemas),
            "TABLE": {str(name) for name in self._state.tables},
        }
        if statement.full_name not in known[statement.kind]:
            error = UnknownTable if statement.kind == "TABLE" else NotFound
            raise error(f"{statement.kind.lower()} {statement.full_name} does not exist")
        principal = self.principals.find(statement.principal)
        grants = {
            Grant(statement.kind, statement.full_name, principal.client_id, privilege)
            for privilege in statement.privileges
        }
        before = self._state.grants
        self._save(replace(self._state, grants=before - grants if statement.revoke else before | grants))
        done = "revoked" if statement.revoke else "granted"
        return Result(message=f"{done} {', '.join(statement.privileges)} on {statement.full_name}: {principal.name}")


def _there_already(what: str, *, accepted: bool) -> Result:
    if not accepted:
        raise AlreadyExists(f"{what} already exists; add IF NOT EXISTS to keep the existing one")
    return Result(message=f"{what} already exists")


def _first_state(owner: str) -> State:
    """Return the state of a new folder: the catalog ``main`` with the schema ``default``.

    ``owner`` owns both, and is granted USE CATALOG and USE SCHEMA.
    """
    catalog = Namespace(full_name="main", owner=owner, created_at=_now())
    schema = replace(catalog, full_name="main.default")
    grants = {Grant("CATALOG", "main", owner, "USE CATALOG"), Grant("SCHEMA", "main.default", owner, "USE SCHEMA")}
    return State(catalogs={"main": catalog}, schemas={"main.default": schema}, grants=frozenset(grants))


def _sql() -> ModuleType:
    # Importing sqlglot takes as long as all other imports, and a server needs sqlglot only to run SQL.
    return import_module("..sql.script", __package__)


def _now() -> int:
    return int(time.time() * 1000)
