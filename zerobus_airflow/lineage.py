"""The lineage of a delivery for OpenLineage: the table, its columns, and the inputs.

If the OpenLineage provider is not installed, no lineage is made.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import zerobus_core
from zerobus_core.hosting import is_of_signal, shown_uri

from .compat import ObjectStoragePath

if TYPE_CHECKING:
    from zerobus_core import Receipt, Workspace

__all__ = ["DeliveryTask", "delivery_lineage", "file_datasets", "query_datasets"]

# Seconds. The delivery fetched the same schema, so the cache usually has one that is young enough.
_SCHEMA_TIMEOUT = 10.0
_SCHEMA_AGE = 3_600.0

_log = logging.getLogger(__name__)


class DeliveryTask(Protocol):
    """The attributes of a ``ZerobusDeliveryOperator`` that ``delivery_lineage`` reads."""

    receipt: Receipt | None
    workspace: Workspace | None

    def lineage_inputs(self) -> list[Any]:
        """Return the data sets that the rows came from."""


def delivery_lineage(operator: DeliveryTask) -> Any:
    """Return the ``OperatorLineage`` of a delivery.

    Returns None if the operator has no receipt, and also if OpenLineage is not installed. Raises only exceptions that a
    signal handler raised.
    """
    receipt, workspace = operator.receipt, operator.workspace
    if receipt is None or workspace is None:
        return None
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
    except ImportError:
        return None
    try:
        inputs = operator.lineage_inputs()
    except Exception as error:  # a SQL parser or a storage can fail; the output is reported even then
        if is_of_signal(error):
            raise
        _log.info("OpenLineage: the inputs are not known: %s: %s", type(error).__name__, error)
        inputs = []
    try:
        outputs = [_table_dataset(receipt, workspace)]
    except ImportError as error:  # an installed version of OpenLineage that lacks one of these classes
        _log.info("OpenLineage: the table cannot be described: %s", error)
        outputs = []
    return OperatorLineage(inputs=inputs, outputs=outputs)


def file_datasets(source: Any) -> list[Any]:
    """Return an OpenLineage data set for each path, URI, glob or ``ObjectStoragePath`` in ``source``.

    ``source`` is one of these, a list of them, or a shard. For a shard, the data sets are those of the source that was
    split. If that source has a secret or a connection of its own, the shard does not contain the source, and the
    returned list is empty.
    """
    if isinstance(source, Mapping):  # a shard
        source = source.get("source") or []
    sources = source if isinstance(source, list | tuple) else [source]
    return [_file_dataset(item) for item in sources]


def query_datasets(hook: Any, sql: str, conn_id: str) -> list[Any]:
    """Return an OpenLineage data set for each table that, according to OpenLineage's parser, the query reads.

    The list is empty if OpenLineage does not know how to name tables of this database. Some versions of OpenLineage ask
    the database for the columns of the tables.
    """
    from airflow.providers.openlineage.sqlparser import get_openlineage_facets_with_sql

    lineage = get_openlineage_facets_with_sql(hook=hook, sql=sql, conn_id=conn_id, database=None)
    return list(lineage.inputs) if lineage is not None else []


def _table_dataset(receipt: Receipt, workspace: Workspace) -> Any:
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )

    assert Dataset is not None  # the same module defines both, or neither
    host = urlsplit(workspace.workspace_url).netloc
    statistics = OutputStatisticsOutputDatasetFacet(rowCount=receipt.rows_acked, size=receipt.bytes_sent)
    return OutputDataset(
        namespace=f"databricks://{host}",
        name=receipt.table,
        facets=_schema_facets(workspace, receipt.table),
        outputFacets={"outputStatistics": statistics},
    )


def _schema_facets(workspace: Workspace, table: str) -> dict[str, Any]:
    from airflow.providers.common.compat.openlineage.facet import SchemaDatasetFacet, SchemaDatasetFacetFields

    try:
        schema = zerobus_core.TableSchema.fetch(workspace, table, timeout=_SCHEMA_TIMEOUT, max_age=_SCHEMA_AGE)
    except Exception as error:  # any error of the workspace or the network; report the table without its columns
        if is_of_signal(error):
            raise
        _log.info("OpenLineage: the columns of %s are not known: %s", table, error)
        return {}
    columns = [
        SchemaDatasetFacetFields(name=column.name, type=str(column.type), description=column.comment)
        for column in schema.columns
    ]
    return {"schema": SchemaDatasetFacet(fields=columns)}


def _file_dataset(source: Any) -> Any:
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = f"{source.protocol}://{source.path}" if isinstance(source, ObjectStoragePath) else str(source)
    parts = urlsplit(shown_uri(uri))
    if not parts.scheme or parts.scheme in {"file", "local"}:
        return Dataset(namespace="file", name=parts.path or uri)
    return Dataset(namespace=f"{parts.scheme}://{parts.netloc}", name=parts.path.lstrip("/") or "/")
