"""Frames of a subclass are frames like any other, and no library is imported to find out."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pandas as pd
import polars as pl
import pytest

from zerobus_core import IngestOptions
from zerobus_core.errors import ConfigurationError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.libraries.frame_kinds import is_instance

FIVES = IngestOptions(batch_rows=5)


class Frame(pd.DataFrame):
    """As geopandas' and pandera's are."""

    @property
    def _constructor(self) -> type[Frame]:
        return Frame


class Bare(pd.DataFrame):
    """One whose parts are plain frames."""


class Column(pd.Series):  # type: ignore[type-arg]
    pass


class Polars(pl.DataFrame):
    pass


class Lazy(pl.LazyFrame):
    pass


def read(records: Any) -> tuple[bool, list[Any]]:
    source = source_of(records, FIVES)
    rows = [
        row
        for chunk in source.chunks(RowRanges())
        for row in (chunk.rows if isinstance(chunk.rows, list) else chunk.rows.to_pylist())
    ]
    return source.is_arrow, rows


FRAMES: dict[str, Callable[[Any], Any]] = {
    "dicts": lambda kind: kind({"p": [{"a": 1}, {"b": 2}]}),
    "dates and datetimes": lambda kind: kind({"v": [date(2024, 1, 1), datetime(2024, 1, 1, 5)]}),
    "True among numbers": lambda kind: kind({"v": pd.Series([1, True], dtype=object)}),
    "a named index": lambda kind: kind({"n": ["a", "b"]}).rename_axis(index="id"),
    "an unnamed index": lambda kind: kind({"n": ["a", "b", "c"]}).iloc[[0, 2]],
    "a named index and objects": lambda kind: kind({"n": [{"a": 1}, {}]}).rename_axis(index="id"),
    "several levels": lambda kind: kind(
        {"n": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "x"), (2, "y")], names=["id", None])
    ),
    "missing values": lambda kind: kind({"n": pd.array([1, None], dtype="Int64"), "f": [1.5, float("nan")]}),
}


@pytest.mark.parametrize("kind", [Frame, Bare])
@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES.keys())
def test_a_frame_of_a_subclass_is_read_as_a_plain_one(kind: Any, make: Callable[[Any], Any]) -> None:
    assert read(make(kind)) == read(make(pd.DataFrame))
    assert read([make(kind), make(kind)]) == read([make(pd.DataFrame), make(pd.DataFrame)])
    assert read(make(kind) for _ in range(3)) == read(make(pd.DataFrame) for _ in range(3))
    assert source_of(make(kind), FIVES).fingerprint == source_of(make(pd.DataFrame), FIVES).fingerprint


def test_a_polars_frame_of_a_subclass_is_read_as_a_plain_one() -> None:
    values = {"id": [1, 2], "v": [{"a": 1}, {"a": 2}]}
    assert read(Polars(values)) == read(pl.DataFrame(values))
    assert read(Polars(values) for _ in range(3)) == read(pl.DataFrame(values) for _ in range(3))
    with pytest.raises(ConfigurationError, match="polars type Object"):
        source_of(Polars({"id": [object()]}), FIVES)


@pytest.mark.parametrize(
    "value", [Column({"id": 1}), [Column({"id": 1})], pd.Series({"id": 1}), [pd.Series({"id": 1})]]
)
def test_a_series_of_a_subclass_is_refused_as_a_plain_one(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"pass series.to_frame\(\)"):
        read(value)
    with pytest.raises(ConfigurationError, match=r"pass series.to_frame\(\)"):
        read(each for each in (value if isinstance(value, list) else [value]))


def test_to_look_at_records_imports_no_library_of_frames() -> None:
    code = (
        "import sys; from zerobus_core import IngestOptions; from zerobus_core.sources import source_of;"
        "[source_of(r, IngestOptions()) for r in ([{'a': 1}], ({'a': n} for n in range(3)))];"
        "sys.exit(sorted({'pandas', 'polars', 'pyarrow', 'pydantic', 'sqlalchemy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_library_whose_import_is_put_off_stays_unimported(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.find_spec("this")  # any module that nothing else has imported
    assert spec is not None
    assert spec.loader is not None
    monkeypatch.delitem(sys.modules, "this", raising=False)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "this", module)
    spec.loader.exec_module(module)
    assert not is_instance({}, "this", "DataFrame")
    assert "s" not in object.__getattribute__(module, "__dict__")  # which the module has when it runs
