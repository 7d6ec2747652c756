"""Delta tables as Arrow, with every pyarrow that the package runs on."""

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
    """The rows of the Delta table in this folder, as it is now; nothing is read yet.

    Fields of structs are nullable in it, as they are in the files: before version 20, pyarrow refuses to read them as
    NOT NULL.  The files are read by Arrow itself: with the file system of deltalake, which is written in Python, a
    thread that reads ahead can still be busy when the process ends, and pyarrow 16 aborts the process then.
    """
    delta = DeltaTable(path)
    files = SubTreeFileSystem(str(path), LocalFileSystem())
    schema = without_inner_not_null(pa.schema(delta.schema().to_arrow()))
    return delta.to_pyarrow_dataset(filesystem=files, schema=schema)
