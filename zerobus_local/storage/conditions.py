"""Evaluates SQL conditions on rows that are not stored yet: CHECK constraints, and the conditions of injected faults.

sqlglot translates the Databricks SQL, and DuckDB evaluates it. As in Delta, a row violates a constraint if the
condition is false or NULL for the row; in standard SQL, a condition that is NULL is not a violation. Databricks does
not document how the service treats CHECK constraints.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..decode.refusal import RefusedRecordError
from ..errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model.objects import Check

__all__ = ["ConditionError", "Conditions", "check_condition"]

_log = logging.getLogger("zerobus_local")
_ROW = "__zerobus_row"
_MOST_CHARACTERS = 100_000
_SHOWN = 200


class ConditionError(ValueError):
    """The text is not a SQL condition, or the condition cannot be evaluated on the columns of the rows."""


class Conditions:
    """Evaluates conditions on rows. Not thread-safe; ``close`` frees the SQL engine."""

    def __init__(self) -> None:
        # Imported here, because only tables with constraints and faults with predicates need the engine.
        import duckdb

        self._errors = duckdb.Error
        self._engine = duckdb.connect(config={"threads": 1, "enable_external_access": "false"})

    def close(self) -> None:
        """Free the SQL engine; can be called twice."""
        self._engine.close()

    def refuse_broken(self, batch: pa.RecordBatch, checks: Iterable[Check]) -> None:
        """Raise RefusedRecordError if a row violates a constraint.

        The error contains the first violated constraint, and the first row that violates it. A constraint that
        the engine cannot evaluate is skipped here; the Delta writer enforces it at the commit.
        """
        for check in checks:
            try:
                row = self.first_where(batch, f"({check.sql}) IS NOT TRUE")
            except ConditionError as error:
                _log.warning("constraint %s is checked at the commit only: %s", check.name, error)
                continue
            if row is not None:
                raise RefusedRecordError(row, None, f"violates the constraint {check.name} CHECK ({check.sql})")

    def first_where(self, batch: pa.RecordBatch, condition: str) -> int | None:
        """Return the index of the first row for which the condition is true, or None if there is no such row.

        Raises ConditionError if the condition cannot be evaluated.
        """
        rows = pa.Table.from_batches([batch]).append_column(_ROW, pa.array(range(batch.num_rows), pa.int64()))
        try:
            self._engine.register("batch", rows)
            # The condition is SQL by design; the engine can read only this batch.
            query = f"SELECT min({_ROW}) FROM batch WHERE {_translated(condition)}"  # noqa: S608
            found: Any = self._engine.execute(query).fetchall()
        except self._errors as error:
            raise ConditionError(f"{condition!r} cannot be evaluated: {error}") from error
        finally:
            self._engine.unregister("batch")
        row = found[0][0]
        return None if row is None else int(row)


def check_condition(condition: str) -> None:
    """Raise ConditionError if the text cannot be parsed as SQL, or is too long or too deeply nested.

    Does not check that the text is a condition, or that its columns exist.
    """
    _translated(condition)


def _translated(condition: str) -> str:
    if len(condition) > _MOST_CHARACTERS:
        raise ConditionError(f"{condition[:80]!r}… is longer than {_MOST_CHARACTERS} characters")
    import sqlglot  # slow to import, and most servers never see a condition

    from ..sql.bounds import check_bounds

    shown = repr(condition if len(condition) <= _SHOWN else f"{condition[:_SHOWN]}…")
    try:
        tree = sqlglot.parse_one(condition, read="databricks")
        check_bounds(tree)
        return tree.sql(dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise ConditionError(f"{shown} is not a SQL condition: {error}") from error
    except InvalidRequest as error:
        raise ConditionError(f"{shown}: {error}") from error
    except RecursionError as error:
        raise ConditionError(f"{shown}: the SQL is nested too deeply") from error
