"""The columns of one table, as Unity Catalog describes them, and the descriptors, schemas and SQL derived from them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, SchemaError
from ..optional_imports import require_pyarrow
from ..records import UnfitError, members_of
from .catalog_json import table_info
from .format_limits import arrow_limits, protobuf_limits
from .parse import UnsupportedTypeError, parse_create_table, parse_type_json, parse_type_text
from .types import ArrayType, DataType, Field, MapType, StructType

if TYPE_CHECKING:
    import threading

    import pyarrow as pa
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    from ..workspace import Workspace

__all__ = ["MAX_COLUMNS", "TableSchema", "check_table_name"]

# From the service's quotas page, which counts the columns of the table.
MAX_COLUMNS = 2_000
_TABLE_NAME = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_]+")
# ASCII letters, digits and underscore (docs); a leading digit is refused by the SDK's conversion (schema.rs).
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TABLE_TYPES = ("MANAGED", "STREAMING_TABLE")


def _same(column: Field) -> Field:
    return column


def check_table_name(table: object) -> str:
    """Return ``table`` if it is a name of the form catalog.schema.table; raise ConfigurationError otherwise."""
    if isinstance(table, str) and _TABLE_NAME.fullmatch(table):
        return table
    raise ConfigurationError(
        f"{table!r} is not a full table name; expected catalog.schema.table of ASCII letters, digits and _ "
        "(catalog and schema can also contain -), for example main.default.flights"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchema:
    """The columns of a table, in order; instances can be compared, hashed and pickled.

    ``table`` is the table's full name; ``columns`` are sorted by position. Comparisons ignore comments and
    ``identity``.

    ``identity`` distinguishes tables that have the same name, for example a table and its replacement, or two tables of
    different workspaces. ``identity`` is the table's id in Unity Catalog. If Unity Catalog gives no id, ``fetch`` uses
    the workspace's URL instead, which distinguishes only tables of different workspaces. ``identity`` is None if the
    schema was built without an id, for example from SQL or sample rows.
    """

    table: str
    columns: tuple[Field, ...]
    identity: str | None = field(default=None, compare=False)

    @classmethod
    def fetch(
        cls,
        workspace: Workspace,
        table: str,
        *,
        timeout: float = 30.0,
        max_age: float = 60.0,
        stop: threading.Event | None = None,
    ) -> TableSchema:
        """Fetch a table's schema from Unity Catalog.

        Blocks for at most ``timeout`` seconds, or until ``stop`` is set. Uses a cached answer if this process got one
        for the same workspace, credentials and table in the last ``max_age`` seconds; with ``max_age=0``, always asks.

        Raises ConfigurationError for a malformed name, SchemaError for a table that Zerobus does not support, and
        IngestInterruptedError if ``stop`` is set. If the request fails, raises AuthenticationError, ConfigurationError,
        PermissionDeniedError, TableNotFoundError, ThrottledError, TransportError or IngestTimeoutError. An error that
        the ``token_supplier`` of FederatedCredentials raises is passed on.
        """
        # Imported late, because a caller who passes a schema never needs the client.
        from .unity_catalog import fetch_table_info

        info = fetch_table_info(workspace, check_table_name(table), timeout=timeout, max_age=max_age, stop=stop)
        identity = info.get("table_id") or workspace.workspace_url
        return cls.from_table_info({**info, "table_id": identity}, table=table)

    @staticmethod
    def forget(workspace: Workspace, table: str) -> None:
        """Discard the cached answer for the table, so that the next ``fetch`` of this process asks again."""
        from .unity_catalog import forget_table_info

        forget_table_info(workspace, check_table_name(table))

    @classmethod
    def from_table_info(cls, info: Mapping[str, Any], *, table: str | None = None) -> TableSchema:
        """Build the schema from Unity Catalog's answer to ``GET /api/2.1/unity-catalog/tables/{full_name}``.

        ``info`` is that answer, already parsed from JSON; ``table`` is the table's full name, by default the one in
        ``info``. If Zerobus does not support the table, raises a SchemaError that lists the reasons. Also raises
        SchemaError if ``info`` is not such an answer.
        """
        try:
            table = table or str(info.get("full_name") or "")
            parsers = [
                (str(column.get("name")), partial(_column, column, index))
                for index, column in enumerate(info.get("columns") or ())
            ]
            identity = info.get("table_id")
            return cls._checked(table, parsers, _table_problems(info), identity=str(identity) if identity else None)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise SchemaError(
                f"this is not Unity Catalog's description of a table ({type(error).__name__}: {error})", table=table
            ) from error

    @classmethod
    def from_sql(cls, statement: str) -> TableSchema:
        """Build the schema from a CREATE TABLE statement in Databricks SQL.

        Raises ConfigurationError if the statement does not have the table's full name, and SchemaError for text that is
        not such a statement or for a table that Zerobus does not support.
        """
        if not isinstance(statement, str):
            raise SchemaError(f"the SQL must be text, not {type(statement).__name__}")
        try:
            table, parsers = parse_create_table(statement)
        except ValueError as error:
            raise SchemaError(f"the SQL cannot be read: {error}") from error
        return cls._checked(check_table_name(table), parsers, [])

    @classmethod
    def from_arrow(cls, schema: pa.Schema, table: str, *, not_null: bool = False) -> TableSchema:
        """Build the schema of a table for Arrow data.

        Each field becomes a column of the type that fits its Arrow type. With ``not_null``, a field that is not
        nullable becomes a NOT NULL column. Raises SchemaError if the types of any fields fit no column type; the error
        lists all of these fields. If every type fits, ``from_columns`` can still raise its own errors.
        """
        from .arrow_inference import columns_of_arrow

        return cls.from_columns(columns_of_arrow(schema, not_null=not_null), table)

    @classmethod
    def from_records(
        cls, sample: Iterable[Any], table: str, *, not_null: bool = False, is_text: bool = False
    ) -> TableSchema:
        """Infer the schema of a table for rows like those of ``sample``.

        Rows are dicts, dataclasses, models or other records. ``sample`` is read to its end. A column can have a comment
        that says why its type is uncertain. With ``not_null``, a column that has a value in every row of the sample is
        NOT NULL. With ``is_text``, all values must be text or None, as in CSV files; a column's type is inferred from
        the form of its text values. Raises SchemaError for an item that is not a record or cannot be read, and for a
        column whose values fit no column type; also raises the errors of ``from_columns``.
        """
        from .inference import columns_of_records, columns_of_text

        records = []
        for at, record in enumerate(sample):
            try:
                members = members_of(record)
            except UnfitError as error:
                raise SchemaError(f"row {at} of the sample: {error}", table=table) from error
            if members is None:
                raise SchemaError(f"row {at} of the sample is a {type(record).__name__}, not a record", table=table)
            records.append(members)
        try:
            columns = (columns_of_text if is_text else columns_of_records)(records, not_null=not_null)
        except RecursionError as error:
            raise SchemaError("a value of the sample is nested too deeply for a column type", table=table) from error
        return cls.from_columns(columns, table)

    @classmethod
    def from_columns(cls, columns: Sequence[Field], table: str) -> TableSchema:
        """Build the schema of a table with these columns.

        Raises ConfigurationError if ``table`` is not a full table name, and SchemaError if there are no columns or too
        many columns, or if the names or positions of the columns are invalid or appear twice.
        """
        from .inference import column_name_error

        check_table_name(table)
        if not columns:
            raise SchemaError("there are no columns: the source has no rows, or its rows have no values", table=table)
        if (error := column_name_error(column.name for column in columns)) is not None:
            raise SchemaError(error.message, table=table)
        return cls._checked(table, [(column.name, partial(_same, column)) for column in columns], [])

    @classmethod
    def _checked(
        cls,
        table: str,
        parsers: Sequence[tuple[str, Callable[[], Field]]],
        problems: list[str],
        *,
        identity: str | None = None,
    ) -> TableSchema:
        columns: list[Field] = []
        for name, parse in parsers:
            try:
                columns.append(parse())
            except UnsupportedTypeError as error:
                problems.append(f"column {error.path} is {error.text.upper()}, a type that Zerobus does not support")
            except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                problems.append(f"the type of column {name} cannot be read: {error}")
        columns.sort(key=lambda column: column.position)
        problems += _name_problems(columns, "")
        if len({column.position for column in columns}) < len(columns):
            problems.append("two columns have the same position")
        if len(parsers) > MAX_COLUMNS:
            problems.append(f"it has {len(parsers)} columns, but Zerobus supports at most {MAX_COLUMNS}")
        if problems:
            raise SchemaError("Zerobus does not support this table: " + "; ".join(problems), table=table or None)
        return cls(table=table, columns=tuple(columns), identity=identity)

    @property
    def fingerprint(self) -> str:
        """A hash of the columns' names, types, order, positions and nullability. The table's name is not included."""
        shape = json.dumps([_shape_field(column) for column in self.columns], separators=(",", ":"))
        return "sha256:" + hashlib.sha256(shape.encode()).hexdigest()

    def descriptor_proto(self) -> bytes:
        """Return a serialized FileDescriptorProto whose first message describes a row of the table.

        The SDK's ``TableProperties`` takes these bytes, and sends only the first message. Raises SchemaError if a
        column has a type that protobuf records cannot carry.
        """
        return self._proto_file().SerializeToString(deterministic=True)

    def to_proto(self) -> str:
        """Return the text of a ``.proto`` file that describes a row of the table.

        protoc compiles this text to a message with the same wire format as that of ``descriptor_proto``. Raises
        SchemaError if a column has a type that protobuf records cannot carry.
        """
        from .proto_text import proto_text

        return proto_text(self._proto_file(), self.table, self.columns)

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of Arrow record batches for the table. It is equal to the schema that the service uses.

        Raises SchemaError if a column has a type that Arrow records cannot carry. Raises ConfigurationError if pyarrow
        is not installed.
        """
        self._refuse_limits("Arrow", arrow_limits(self.columns))
        require_pyarrow(f"the Arrow schema of {self.table}")
        from .arrow import arrow_schema

        return arrow_schema(self.columns)

    def to_sql(self) -> str:
        """Return a CREATE TABLE statement in Databricks SQL for a table with these columns."""
        from .sql_text import create_table_sql

        return create_table_sql(self.table, self.columns)

    def to_json(self) -> str:
        """Return the schema as JSON in the form in which Unity Catalog describes a table, with the fingerprint added.

        The parsed JSON can be passed to ``from_table_info``.
        """
        return json.dumps(table_info(self.table, self.fingerprint, self.columns), indent=2, ensure_ascii=False) + "\n"

    def _proto_file(self) -> FileDescriptorProto:
        from .protobuf import file_descriptor

        self._refuse_limits("protobuf", protobuf_limits(self.columns))
        return file_descriptor(self.table, self.columns)

    def _refuse_limits(self, record_format: str, limits: Iterable[str]) -> None:
        reasons = "; ".join(limits)
        if reasons:
            raise SchemaError(
                f'{record_format} records cannot carry this table; use record_format="json": {reasons}',
                table=self.table,
            )


def _table_problems(info: Mapping[str, Any]) -> list[str]:
    problems = []
    table_type = str(info.get("table_type") or "MANAGED")
    if table_type not in _TABLE_TYPES:
        what = table_type.lower().replace("_", " ")
        problems.append(f"it is of type {what}, but Zerobus supports only managed tables and streaming tables")
    data_format = str(info.get("data_source_format") or "DELTA")
    if data_format != "DELTA" and "VIEW" not in table_type:
        problems.append(f"its format is {data_format}, but Zerobus supports only DELTA")
    if not info.get("columns"):
        problems.append("Unity Catalog shows no columns for it")
    return problems


def _column(column: Mapping[str, Any], index: int) -> Field:
    name = str(column["name"])
    type_json, type_text = column.get("type_json"), column.get("type_text")
    if type_json and type_json != "{}":
        kind = parse_type_json(type_json, name)
    elif type_text:
        kind = parse_type_text(type_text, name)
    else:
        raise ValueError("has neither type_json nor type_text")
    position = column.get("position")
    return Field(
        name=name,
        type=kind,
        nullable=column.get("nullable") is not False,
        position=index if position is None else int(position),
        comment=column.get("comment") or None,
    )


def _name_problems(fields: Sequence[Field], prefix: str) -> list[str]:
    problems = []
    seen: set[str] = set()
    for member in fields:
        path = f"{prefix}{member.name}"
        if not _COLUMN_NAME.fullmatch(member.name):
            problems.append(
                f"the name {path!r} is invalid: it can have only ASCII letters, digits and _, and no digit at the start"
            )
        if member.name.lower() in seen:
            problems.append(f"the name {path!r} appears twice")
        seen.add(member.name.lower())
        problems += _nested_name_problems(member.type, path)
    return problems


def _nested_name_problems(kind: DataType, path: str) -> list[str]:
    if isinstance(kind, StructType):
        return _name_problems(kind.fields, f"{path}.")
    if isinstance(kind, ArrayType):
        return _nested_name_problems(kind.element, f"{path}[]")
    if isinstance(kind, MapType):
        return _nested_name_problems(kind.key, f"{path}[key]") + _nested_name_problems(kind.value, f"{path}[value]")
    return []


def _shape_field(field: Field) -> list[Any]:
    return [field.name, field.position, field.nullable, _shape(field.type)]


def _shape(kind: DataType) -> Any:
    if isinstance(kind, StructType):
        return ["STRUCT", [_shape_field(field) for field in kind.fields]]
    if isinstance(kind, ArrayType):
        return ["ARRAY", kind.contains_null, _shape(kind.element)]
    if isinstance(kind, MapType):
        return ["MAP", kind.value_contains_null, _shape(kind.key), _shape(kind.value)]
    return str(kind)
