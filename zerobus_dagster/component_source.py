"""The sources of a component's rows: files, a query, or a Python function."""

# Dagster needs the annotations of fields as types, not as text: no `from __future__ import annotations` here.
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, cast

import dagster as dg
from pydantic import Field, model_validator

from zerobus_core import ConfigurationError
from zerobus_core.hosting import check_table_name, sql_fingerprint

from .component_handoff import ZerobusHandoff
from .options import ingest_options

__all__ = ["ZerobusSource", "ZerobusTable"]

PARTITION = "{partition_key}"

Read = Callable[[dg.AssetExecutionContext], Any]


class ZerobusSql(dg.Model, dg.Resolvable):
    """Pushes the rows of a query, from any database that SQLAlchemy supports."""

    query: str = Field(
        description="The statement; :partition_key is the partition of the run.",
        examples=["SELECT * FROM orders WHERE day = :partition_key ORDER BY id"],
    )
    url_env: str = Field(
        default="DATABASE_URL", description="The environment variable that holds the SQLAlchemy URL of the database."
    )
    order_by: str | list[str] | None = Field(
        default=None,
        description=(
            "The columns in the query's ORDER BY, if they determine the order of all rows. Then a retry sends only the "
            "missing rows; without order_by, it sends all rows again."
        ),
    )

    def version(self, partition: str | None) -> str | None:
        """Return a ``source_version`` that is the same in every attempt; None if ``order_by`` is not set.

        See ``IngestOptions.source_version``.
        """
        return sql_fingerprint(self.query, {"partition_key": partition}, order_by=self.order_by, database=self.url_env)

    def rows(self, partition: str | None) -> Iterator[Any]:
        """Run the query, and yield each row as a mapping from column name to value."""
        from sqlalchemy import create_engine, text

        url = os.environ.get(self.url_env)
        if not url:
            raise ConfigurationError(
                f"the environment variable {self.url_env} must have the SQLAlchemy URL of a database"
            )
        engine = create_engine(url)
        try:
            with engine.connect().execution_options(stream_results=True) as connection:
                statement = text(self.query)
                known = {"partition_key": partition} if "partition_key" in statement._bindparams else {}
                yield from connection.execute(statement, known).mappings()
        finally:
            engine.dispose()


class ZerobusSource(dg.Model, dg.Resolvable):
    """The fields for a table's source and asset, shared by the component and its tables."""

    source: str | None = Field(
        default=None,
        description=(
            "Files to push: a path (relative to this component's folder), a glob, a directory or an fsspec URI; "
            "{partition_key} stands for the partition of the run."
        ),
        examples=["data/flights-*.parquet", "s3://lake/flights/{partition_key}.parquet"],
    )
    records: str | None = Field(
        default=None,
        description="Instead of source: a function that takes the context and returns records.",
        examples=["my_project.api.fetch_orders"],
    )
    sql: ZerobusSql | None = Field(default=None, description="Instead of source: a query.")
    handoff: ZerobusHandoff | None = Field(
        default=None, description="Deliver only what is new since the last run; everything in each run if left out."
    )
    asset: dg.ResolvedAssetSpec | None = Field(
        default=None, description="The asset; without it, an asset with the table's name as its key."
    )
    options: dict[str, Any] = Field(
        default={}, description="Options of the delivery, by the names of IngestOptions.", examples=[{"streams": 4}]
    )


class ZerobusTable(ZerobusSource):
    """A table, and the source of its rows: one of source, records and sql."""

    table: str = Field(description="The full name of the table.", examples=["main.default.flights"])

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(map(bool, (self.source, self.records, self.sql))) != 1:
            raise ValueError(
                "set one of source (files to push), records (a function that returns rows) and sql (a query)"
            )
        return self

    def check(self, spec: dg.AssetSpec) -> None:
        """Raise an error if a field is invalid. Called when definitions are loaded, before any run."""
        check_table_name(self.table)
        ingest_options(self.options)
        if self.handoff is not None:
            is_partitioned = spec.partitions_def is not None
            self.handoff.check(is_files=bool(self.source), is_sql=self.sql is not None, is_partitioned=is_partitioned)
        if spec.partitions_def is not None:
            return
        if PARTITION in (self.source or ""):
            raise ValueError(f"source {self.source!r} contains {PARTITION}, but the asset has no partitions_def")
        if self.sql is not None and ":partition_key" in self.sql.query:
            raise ValueError("the query contains :partition_key, but the asset has no partitions_def")

    def reader(self, folder: Path) -> Read:
        """Return a function that takes a step's context and returns its records; paths are relative to ``folder``."""
        if self.records is not None:
            return _function(self.records)
        if self.sql is not None and self.handoff is not None:
            rows = self.handoff.new_rows(self.sql.query, self.sql.url_env)
            return lambda _: rows
        if self.sql is not None:
            return lambda context: _by_partition(context, self.sql.rows)  # type: ignore[union-attr]  # it is not None
        source = str(self.source)
        pattern = source if "://" in source else str(folder / source)
        if self.handoff is not None:
            files = self.handoff.new_files(pattern)
            return lambda _: files
        if PARTITION not in pattern:
            return lambda _: pattern
        return lambda context: _by_partition(context, lambda key: pattern.replace(PARTITION, str(key)))

    def options_in(self, context: dg.AssetExecutionContext, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a run: ``defaults``, and the table's own ``options``, which override them.

        If the source is a query that has ``order_by`` but no handoff, a ``source_version`` that depends on the run's
        partitions is added, unless the options already contain one.
        """
        options = {**defaults, **self.options}
        if self.sql is None or self.handoff is not None or "source_version" in options:
            return options
        keys = context.partition_keys if context.has_partition_key_range or context.has_partition_key else [None]
        version = self.sql.version(f"{keys[0]}...{keys[-1]}" if keys[0] is not None else None)
        return options if version is None else {**options, "source_version": version}


def _by_partition(context: dg.AssetExecutionContext, read: Callable[[str | None], Any]) -> Any:
    if context.has_partition_key:
        return read(context.partition_key)
    if context.has_partition_key_range:
        return {key: read(key) for key in context.partition_keys}
    return read(None)


def _function(path: str) -> Read:
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"records must be the name of a function, not {path!r} ({error}); write package.module.function"
        ) from error
    if not callable(found):
        raise TypeError(f"records must be the name of a function, but {path!r} is of type {type(found).__name__}")
    return cast("Read", found)
