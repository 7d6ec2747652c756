"""The objects in the catalog (columns, tables, namespaces and grants), as values that can be converted to JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
from deltalake import Schema

from .names import TableName

__all__ = ["RESCUE_TAG", "Alteration", "Check", "Column", "DeltaType", "Grant", "Namespace", "State", "Table"]

RESCUE_TAG = "zerobus-rescue"
"""The tag of the rescue column (docs: zerobus-rescue-column).

This nullable VARIANT column gets the members of JSON records that do not fit the table.
"""

DeltaType: TypeAlias = "str | dict[str, Any]"
"""A type in the JSON form of the Delta protocol, for example ``"long"`` or ``{"type": "array", …}``."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column. ``position`` is its number in Unity Catalog, starting at 0; DROP COLUMN leaves gaps."""

    name: str
    type: DeltaType
    """CHAR and VARCHAR are ``"string"`` here; VARIANT is ``"variant"``, though it is stored as a string."""
    type_text: str
    """The type in SQL, such as ``"varchar(20)"`` or ``"array<struct<x:int>>"``.

    It is in lower case, except that names of struct fields keep their case.
    """
    nullable: bool = True
    position: int = 0
    comment: str | None = None
    default: str | None = None
    """The DEFAULT expression. Neither Zerobus nor this server applies it."""
    tags: dict[str, str] = field(default_factory=dict)
    """Unity Catalog's tags of the column; they are not part of the Delta table."""

    @property
    def is_rescue(self) -> bool:
        """Whether the column has the tag and the type of a rescue column, and is nullable."""
        return RESCUE_TAG in self.tags and self.type == "variant" and self.nullable

    def delta_field(self, *, stored: bool) -> dict[str, Any]:
        """Return the column as a field of a Delta schema.

        If ``stored`` is true, the field describes the column in the Delta table, where VARIANT is a string and
        DEFAULT is missing. If ``stored`` is false, the field describes the column as it was declared.
        """
        metadata: dict[str, str] = {}
        if self.comment is not None:
            metadata["comment"] = self.comment
        if self.type_text.startswith(("char(", "varchar(")):
            metadata["__CHAR_VARCHAR_TYPE_STRING"] = self.type_text
        if self.default is not None:
            metadata["CURRENT_DEFAULT"] = self.default
        if stored:
            metadata.pop("CURRENT_DEFAULT", None)  # a DEFAULT needs a Delta writer feature that delta-rs lacks
        return {
            "name": self.name,
            "type": _stored(self.type) if stored else self.type,
            "nullable": self.nullable,
            "metadata": metadata,
        }


@dataclass(frozen=True, slots=True)
class Check:
    """A CHECK constraint: its name, and a condition in Databricks SQL that must be true for every row."""

    name: str
    sql: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A managed Delta table. If a table is dropped and created again, it gets a new ``table_id``."""

    name: TableName
    table_id: str
    path: Path
    """The Delta table's folder."""
    columns: tuple[Column, ...]
    checks: tuple[Check, ...] = ()
    comment: str | None = None
    partition_by: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    owner: str = ""
    created_at: int = 0
    """Milliseconds since 1970, as in Unity Catalog."""
    updated_at: int = 0
    next_position: int = 0

    @property
    def full_name(self) -> str:
        """``catalog.schema.table``, in lower case."""
        return str(self.name)

    @cached_property
    def delta_schema(self) -> Schema:
        """The schema of the stored Delta table, in which VARIANT, CHAR and VARCHAR are strings."""
        fields = [column.delta_field(stored=True) for column in self.columns]
        return Schema.from_json(json.dumps({"type": "struct", "fields": fields}))

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow form of ``delta_schema``."""
        return pa.schema(self.delta_schema.to_arrow())

    @cached_property
    def text(self) -> str:
        """The table as JSON. The JSON does not contain ``path``, so that the data folder can be moved."""
        plain = asdict(self) | {"name": self.full_name}
        del plain["path"]
        return json.dumps(plain)

    @classmethod
    def from_json(cls, plain: dict[str, Any], path: Path) -> Table:
        """Build a table from ``plain``: the value of the property ``Table.text``, parsed as JSON.

        ``path`` is the folder of the Delta table.
        """
        return cls(
            **plain
            | {
                "name": TableName.parse(plain["name"]),
                "path": path,
                "columns": tuple(Column(**column) for column in plain["columns"]),
                "checks": tuple(Check(**check) for check in plain["checks"]),
                "partition_by": tuple(plain["partition_by"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A catalog (``main``) or a schema (``main.default``)."""

    full_name: str
    owner: str
    created_at: int
    comment: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One privilege of one principal on one securable; ``kind`` is CATALOG, SCHEMA or TABLE."""

    kind: str
    full_name: str
    principal: str
    privilege: str


@dataclass(frozen=True, slots=True)
class Alteration:
    """An ALTER TABLE or COMMENT ON TABLE statement that was started, but perhaps not completed."""

    table: Table
    """The table after the Delta commit."""
    before: str
    """The result of ``delta_tables.definition`` before the commit."""


@dataclass(frozen=True, kw_only=True)
class State:
    """The content of ``catalog.json``. Immutable: a statement that changes the catalog creates a new state."""

    catalogs: dict[str, Namespace] = field(default_factory=dict)
    schemas: dict[str, Namespace] = field(default_factory=dict)
    tables: dict[TableName, Table] = field(default_factory=dict)
    grants: frozenset[Grant] = frozenset()
    alteration: Alteration | None = None

    def to_text(self) -> str:
        """Return the state as JSON, with the grants sorted.

        Every change of the catalog writes the whole state. To save time, the JSON of tables and grants is cached.
        """
        begun = self.alteration
        parts = {
            "format": "1",
            "catalogs": _listed(json.dumps(asdict(namespace)) for namespace in self.catalogs.values()),
            "schemas": _listed(json.dumps(asdict(namespace)) for namespace in self.schemas.values()),
            "tables": _listed(table.text for table in self.tables.values()),
            "grants": _listed(sorted(map(_grant_text, self.grants))),
            "alteration": f'{{"table": {begun.table.text}, "before": {json.dumps(begun.before)}}}' if begun else "null",
        }
        return "{" + ",\n".join(f'"{name}": {part}' for name, part in parts.items()) + "}"

    @classmethod
    def from_json(cls, plain: dict[str, Any], tables_folder: Path) -> State:
        """Build a state from ``plain``: the result of ``to_text``, parsed as JSON.

        ``tables_folder`` is the folder that contains the folders of the Delta tables.
        """
        tables = (_table(entry, tables_folder) for entry in plain["tables"])
        begun = plain.get("alteration")
        return cls(
            catalogs={entry["full_name"]: Namespace(**entry) for entry in plain["catalogs"]},
            schemas={entry["full_name"]: Namespace(**entry) for entry in plain["schemas"]},
            tables={table.name: table for table in tables},
            grants=frozenset(Grant(**entry) for entry in plain["grants"]),
            alteration=begun and Alteration(_table(begun["table"], tables_folder), begun["before"]),
        )


def _listed(texts: Iterable[str]) -> str:
    return "[" + ",\n".join(texts) + "]"


@lru_cache(maxsize=16_384)
def _grant_text(grant: Grant) -> str:
    return json.dumps(asdict(grant))


def _table(plain: dict[str, Any], tables_folder: Path) -> Table:
    name = TableName.parse(plain["name"])
    return Table.from_json(plain, tables_folder / name.catalog / name.schema / name.table)


def _stored(type_: DeltaType) -> DeltaType:
    """Return the type with every VARIANT replaced by string, at any depth."""
    if isinstance(type_, str):
        return "string" if type_ == "variant" else type_
    stored = dict(type_)
    for key in ("elementType", "keyType", "valueType"):
        if key in stored:
            stored[key] = _stored(stored[key])
    if "fields" in stored:
        stored["fields"] = [nested | {"type": _stored(nested["type"])} for nested in stored["fields"]]
    return stored
