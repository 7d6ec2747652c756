"""Finds mistakes in the metadata of assets when definitions are loaded, instead of when a run fails."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from zerobus_core import ConfigurationError

from .io_manager import ZerobusIOManager, not_append
from .options import checked_options
from .table_name import plain

__all__ = ["check_definitions"]


def check_definitions(definitions: dg.Definitions) -> dg.Definitions:
    """Check the assets that use a ZerobusIOManager, and return the definitions unchanged.

    Wrap ``Definitions`` in this call, so that mistakes are found when definitions are loaded, for example by
    ``dg check defs``. Raises a ConfigurationError that lists the mistakes, each after the key of its asset. The
    call finds these mistakes:

    - an output with the annotation None, because Dagster never calls the IO manager for it
    - an incomplete table name, or metadata that gives two different table names
    - a ``write_mode`` other than append
    - invalid ``ingest_options``
    - a ``partition_expr`` of an asset without partitions
    """
    managers = {
        key: resource
        for key, resource in (definitions.resources or {}).items()
        if isinstance(resource, ZerobusIOManager)
    }
    problems = [
        f"asset {key.to_user_string()}: {problem}"
        for assets in definitions.assets or ()
        if isinstance(assets, dg.AssetsDefinition)
        for key, output in _outputs(assets)
        if output.io_manager_key in managers
        for problem in _problems(managers[output.io_manager_key], assets.specs_by_key[key], output)
    ]
    if problems:
        raise ConfigurationError("; ".join(problems))
    return definitions


def _outputs(assets: dg.AssetsDefinition) -> Iterator[tuple[dg.AssetKey, dg.OutputDefinition]]:
    for name, key in assets.keys_by_output_name.items():
        if assets.is_executable:
            yield key, assets.node_def.output_dict[name]


def _problems(manager: ZerobusIOManager, spec: dg.AssetSpec, output: dg.OutputDefinition) -> Iterator[str]:
    metadata = {key: plain(value) for key, value in spec.metadata.items()}
    if output.dagster_type.is_nothing:
        yield "it is annotated to return None, so Dagster never calls the IO manager; annotate the type that it returns"
    try:
        manager.table_of({}, metadata, spec.key.path, output=f"the output {output.name!r}")
        checked_options(dict(metadata.get("ingest_options") or {}))
    except ConfigurationError as error:
        yield str(error)
    write_mode = metadata.get("write_mode", "append")
    if write_mode != "append":
        yield not_append(write_mode)
    if metadata.get("partition_expr") is not None and spec.partitions_def is None:
        yield "it has a partition_expr but no partitions_def, so the partition_expr would be ignored"
