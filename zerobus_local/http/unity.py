"""The part of Unity Catalog's REST API (2.1) that Zerobus clients use, and SCIM's "Me" endpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from ..catalog.grants import effective_privileges, may_read
from ..errors import InvalidRequest, NotFound, PermissionDenied, UnknownTable
from ..model.names import TableName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.objects import Column, DeltaType, Namespace, Table
    from .call import Call

__all__ = [
    "get_catalog",
    "get_effective_permissions",
    "get_permissions",
    "get_schema",
    "get_table",
    "get_table_exists",
    "list_catalogs",
    "list_schemas",
    "list_tables",
    "me",
]

_METASTORE = "00000000-0000-0000-0000-000000000000"


def get_table(call: Call) -> Response:
    """Answer GET /api/2.1/unity-catalog/tables/{full_name}."""
    return JSONResponse(table_info(_table(call)))


def get_table_exists(call: Call) -> Response:
    """Answer GET /api/2.1/unity-catalog/tables/{full_name}/exists."""
    call.identity()
    name = TableName.parse(call.path["full_name"])
    return JSONResponse({"table_exists": name in call.service.catalog.state.tables})


def list_tables(call: Call) -> Response:
    """Answer GET /api/2.1/unity-catalog/tables?catalog_name=…&schema_name=… with the tables that the caller may see."""
    caller = call.identity()
    catalog, schema = (_required(call, name) for name in ("catalog_name", "schema_name"))
    if f"{catalog}.{schema}" not in call.service.catalog.state.schemas:
        raise NotFound(f"Schema '{catalog}.{schema}' does not exist.")
    tables = [
        table_info(table)
        for table in call.service.catalog.tables()
        if table.name.full_schema == f"{catalog}.{schema}"
        and may_read(call.service.catalog.state, caller.client_id, table.name)
    ]
    return JSONResponse({"tables": tables})


def _required(call: Call, name: str) -> str:
    value = call.query.get(name, "")
    if not value:
        raise InvalidRequest(f"the URL needs the query parameter {name}: {call.method} …?{name}=…")
    return value.lower()


def list_catalogs(call: Call) -> Response:
    """Answer GET /api/2.1/unity-catalog/catalogs."""
    call.identity()
    catalogs = call.service.catalog.state.catalogs.values()
    return JSONResponse({"catalogs": [_namespace_info(catalog) for catalog in catalogs]})


def get_catalog(call: Call) -> Response:
    """Answer GET /api/2.1/unity-catalog/catalogs/{name}."""
    call.identity()
    return _namespace("Catalog", call.path["name"], call.service.catalog.state.catalogs)


def list_schemas(call: Call) -> Response:
    """Answer GET /api/2.1/unity-catalog/schemas?catalog_name=…."""
    call.identity()
    catalog = _required(call, "catalog_name")
    if catalog not in call.service.catalog.state.catalogs:
        raise NotFound(f"Catalog '{catalog}' does not exist.")
    schemas = call.service.catalog.state.schemas.values()
    found = [_namespace_info(schema) for schema in schemas if schema.full_name.startswith(f"{catalog}.")]
    return JSONResponse({"schemas": found})


def get_schema(call: Call) -> Response:
    """Answer GET /api/2.1/unity-catalog/schemas/{full_name}."""
    call.identity()
    return _namespace("Schema", call.path["full_name"], call.service.catalog.state.schemas)


def get_permissions(call: Call) -> Response:
    """Answer GET /api/2.1/unity-catalog/permissions/{securable_type}/{full_name}.

    The answer does not include inherited grants.
    """
    call.identity()
    kind, full_name = _securable(call)
    held: dict[str, list[str]] = {}
    for grant in sorted(call.service.catalog.state.grants):
        if (grant.kind, grant.full_name) == (kind, full_name):
            held.setdefault(grant.principal, []).append(grant.privilege.replace(" ", "_"))
    only = call.query.get("principal")
    named = {p.client_id for p in call.service.catalog.principals.all() if only in (p.client_id, p.name)}
    assignments = [
        {"principal": principal, "privileges": privileges}
        for principal, privileges in held.items()
        if only in (None, principal) or principal in named
    ]
    return JSONResponse({"privilege_assignments": assignments})


def get_effective_permissions(call: Call) -> Response:
    """Answer GET /api/2.1/unity-catalog/effective-permissions/{securable_type}/{full_name}.

    The answer includes inherited grants.
    """
    call.identity()
    kind, full_name = _securable(call)
    catalog = call.service.catalog
    only = call.query.get("principal")
    principals = [p.client_id for p in catalog.principals.all() if only in (None, p.client_id, p.name)]
    assignments = []
    for principal in principals:
        privileges: list[dict[str, str]] = []
        for privilege, grant in effective_privileges(catalog.state, kind, full_name, principal).items():
            entry = {"privilege": privilege.replace(" ", "_")}
            if grant.kind != kind:
                entry |= {"inherited_from_type": grant.kind, "inherited_from_name": grant.full_name}
            privileges.append(entry)
        if privileges:
            assignments.append({"principal": principal, "privileges": privileges})
    return JSONResponse({"privilege_assignments": assignments})


def me(call: Call) -> Response:
    """Answer GET /api/2.0/preview/scim/v2/Me."""
    caller = call.identity()
    body = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": caller.client_id,
        "userName": caller.client_id,
        "displayName": caller.name,
        "active": True,
    }
    return JSONResponse(body, headers={"x-databricks-org-id": "1"})


def table_info(table: Table) -> dict[str, Any]:
    """Return the JSON object that describes ``table`` in the answers of the tables API."""
    checks = {f"delta.constraints.{check.name}": check.sql for check in table.checks}
    return {
        "name": table.name.table,
        "catalog_name": table.name.catalog,
        "schema_name": table.name.schema,
        "full_name": table.full_name,
        "table_id": table.table_id,
        "table_type": "MANAGED",
        "data_source_format": "DELTA",
        "columns": [_column_info(column, table) for column in table.columns],
        "storage_location": table.path.as_uri(),
        "comment": table.comment,
        "properties": table.properties | checks,
        "owner": table.owner,
        "created_at": table.created_at,
        "created_by": table.owner,
        "updated_at": table.updated_at,
        "updated_by": table.owner,
        "metastore_id": _METASTORE,
        "securable_type": "TABLE",
        "securable_kind": "TABLE_DELTA",
    }


def _column_info(column: Column, table: Table) -> dict[str, Any]:
    info: dict[str, Any] = {
        "name": column.name,
        "type_text": column.type_text,
        "type_name": _type_name(column.type, column.type_text),
        "type_json": json.dumps(column.delta_field(stored=False), separators=(",", ":")),
        "type_precision": 0,
        "type_scale": 0,
        "position": column.position,
        "nullable": column.nullable,
    }
    if column.comment is not None:
        info["comment"] = column.comment
    if column.type_text.startswith("decimal("):
        precision, scale = column.type_text[len("decimal(") : -1].split(",")
        info |= {"type_precision": int(precision), "type_scale": int(scale)}
    if column.name in table.partition_by:
        info["partition_index"] = table.partition_by.index(column.name)
    return info


def _type_name(type_: DeltaType, type_text: str) -> str:
    """Return a column's ``type_name`` in the tables API, for example LONG, INT, DECIMAL or STRUCT."""
    if isinstance(type_, dict):
        return str(type_["type"]).upper()
    if type_text.startswith("char("):
        return "CHAR"
    if type_.startswith("decimal"):
        return "DECIMAL"
    return "INT" if type_ == "integer" else type_.upper()


def _namespace(what: str, name: str, known: Mapping[str, Namespace]) -> Response:
    namespace = known.get(name.lower())
    if namespace is None:
        raise NotFound(f"{what} '{name}' does not exist.")
    return JSONResponse(_namespace_info(namespace))


def _namespace_info(namespace: Namespace) -> dict[str, Any]:
    catalog, _, schema = namespace.full_name.partition(".")
    info = {
        "name": schema or catalog,
        "full_name": namespace.full_name,
        "owner": namespace.owner,
        "comment": namespace.comment,
        "created_at": namespace.created_at,
        "metastore_id": _METASTORE,
    }
    return info | ({"catalog_name": catalog} if schema else {"catalog_type": "MANAGED_CATALOG"})


def _table(call: Call) -> Table:
    caller = call.identity()
    name = TableName.parse(call.path["full_name"])
    state = call.service.catalog.state
    if name.catalog not in state.catalogs:
        raise NotFound(f"Catalog '{name.catalog}' does not exist.")
    if name.full_schema not in state.schemas:
        raise NotFound(f"Schema '{name.full_schema}' does not exist.")
    table = call.service.catalog.table(str(name))
    if not may_read(state, caller.client_id, name):
        raise PermissionDenied(
            f"Service principal {caller.client_id} may not read the schema of {name}: the principal needs USE CATALOG, "
            "USE SCHEMA and a privilege on the table"
        )
    return table


def _securable(call: Call) -> tuple[str, str]:
    kind, full_name = call.path["securable_type"].upper(), call.path["full_name"].lower()
    state = call.service.catalog.state
    there = {"CATALOG": state.catalogs, "SCHEMA": state.schemas, "TABLE": {str(name) for name in state.tables}}
    if kind not in there:
        raise InvalidRequest(f"securable type {kind!r} is not known; use one of {', '.join(there)}")
    if full_name not in there[kind]:
        error = UnknownTable if kind == "TABLE" else NotFound
        raise error(f"{kind.capitalize()} '{full_name}' does not exist.")
    return kind, full_name
