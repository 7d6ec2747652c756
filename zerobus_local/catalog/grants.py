"""Evaluates Unity Catalog's grants, as far as Zerobus and the tables API depend on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.objects import Grant, State

if TYPE_CHECKING:
    from ..model.names import TableName

__all__ = ["effective_privileges", "may_read", "missing_for_zerobus", "without_securable"]


def missing_for_zerobus(state: State, principal: str, name: TableName) -> list[str]:
    """Return the grants that Zerobus needs for this table and that the principal lacks; empty if none is missing.

    SELECT and MODIFY must be granted on the table itself, by these names. ALL PRIVILEGES is not enough, and neither is
    a grant on the schema or the catalog: if a principal has only such grants, the service answers with code 4024.
    USE CATALOG and USE SCHEMA can come from ALL PRIVILEGES, and USE SCHEMA can be inherited from the catalog.
    """
    missing = []
    if not _uses(state, principal, "CATALOG", name):
        missing.append(f"USE CATALOG on catalog {name.catalog}")
    if not _uses(state, principal, "SCHEMA", name):
        missing.append(f"USE SCHEMA on schema {name.full_schema}")
    missing += [
        f"{privilege} on table {name}"
        for privilege in ("SELECT", "MODIFY")
        if Grant("TABLE", str(name), principal, privilege) not in state.grants
    ]
    return missing


def may_read(state: State, principal: str, name: TableName) -> bool:
    """Return whether the tables API shows the table to the principal.

    The principal needs USE CATALOG, USE SCHEMA and at least one privilege on the table. That privilege can be inherited
    from the schema or the catalog.
    """
    has_uses = _uses(state, principal, "CATALOG", name) and _uses(state, principal, "SCHEMA", name)
    return has_uses and bool(effective_privileges(state, "TABLE", str(name), principal))


def effective_privileges(state: State, kind: str, full_name: str, principal: str) -> dict[str, Grant]:
    """Return the principal's privileges on a securable, each with the grant that it comes from.

    If several grants give the same privilege, the result has the nearest grant: first the grant on the securable
    itself, then the one on its schema, then the one on its catalog. For a table, the result omits privileges whose
    names start with USE or CREATE.
    """
    parts = full_name.split(".")
    above = {"CATALOG": parts[0], "SCHEMA": ".".join(parts[:2]), "TABLE": full_name}
    levels = [level for level in above if list(above).index(level) <= list(above).index(kind)]
    found: dict[str, Grant] = {}
    for level in reversed(levels):
        for grant in sorted(state.grants):
            if (grant.kind, grant.full_name, grant.principal) == (level, above[level], principal):
                found.setdefault(grant.privilege, grant)
    if kind == "TABLE":
        found = {name: grant for name, grant in found.items() if not name.startswith(("USE ", "CREATE "))}
    return found


def without_securable(grants: frozenset[Grant], full_name: str) -> frozenset[Grant]:
    """Return ``grants`` minus the grants on the securable ``full_name`` and on the securables inside it."""
    return frozenset(
        grant for grant in grants if grant.full_name != full_name and not grant.full_name.startswith(f"{full_name}.")
    )


def _uses(state: State, principal: str, kind: str, name: TableName) -> bool:
    catalog = {Grant("CATALOG", name.catalog, principal, privilege) for privilege in _USE[kind]}
    schema = {Grant("SCHEMA", name.full_schema, principal, privilege) for privilege in _USE["SCHEMA"]}
    return bool(state.grants & (catalog if kind == "CATALOG" else catalog | schema))


_USE = {"CATALOG": ("USE CATALOG", "ALL PRIVILEGES"), "SCHEMA": ("USE SCHEMA", "ALL PRIVILEGES")}
