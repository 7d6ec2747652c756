"""Names of catalogs, schemas, tables, columns and constraints.

Zerobus accepts only ASCII letters, digits and underscores (docs.databricks.com, zerobus-quotas), so every valid name
can also be a folder name. Unity Catalog stores the names of catalogs, schemas and tables in lower case, and ignores
case when it looks up such a name. Column names keep their case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import InvalidRequest

__all__ = ["TableName", "checked_name"]

_NAME = re.compile(r"[A-Za-z0-9_]{1,255}")
_PARTS = 3


def checked_name(what: str, name: str) -> str:
    """Return ``name`` if Zerobus accepts it, otherwise raise InvalidRequest.

    ``what`` is the kind of name, such as ``"table"``. The error message starts with ``what``.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{what} name {name[:80]!r} cannot be used: Zerobus accepts 1 to 255 ASCII letters, digits and underscores"
        )
    return name


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """The three parts of a table's name, in lower case."""

    catalog: str
    schema: str
    table: str

    def __post_init__(self) -> None:
        for what in ("catalog", "schema", "table"):
            object.__setattr__(self, what, checked_name(what, getattr(self, what)).lower())

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Parse ``catalog.schema.table``; raise InvalidRequest for any other text.

        Each of the three parts may be in backticks.
        """
        parts = [part.strip("`") for part in text.split(".")]
        if len(parts) != _PARTS:
            raise InvalidRequest(f"{text[:200]!r} is not a table name: use catalog.schema.table")
        return cls(*parts)

    @property
    def full_schema(self) -> str:
        """The full name of the schema: ``catalog.schema``."""
        return f"{self.catalog}.{self.schema}"

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"
