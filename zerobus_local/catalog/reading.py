"""Opens Delta tables as Arrow datasets, in a way that works with every supported version of pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from ..model.nullability import without_inner_not_null

if TYPE_CHECKING:
    import pyarrow.dataset as ds

__all__ = ["dataset_at"]


def dataset_at(path: Path) -> ds.Dataset:
    """Return a dataset of the current version of the Delta table in this folder; no rows are read yet.

    Fields of structs are nullable in the dataset's schema, because pyarrow before 20 refuses to read them as NOT NULL.
    """
    delta = DeltaTable(path)
    files = SubTreeFileSystem(str(path), LocalFileSystem())
    schema = without_inner_not_null(pa.schema(delta.schema().to_arrow()))
    return delta.to_pyarrow_dataset(filesystem=files, schema=schema)
