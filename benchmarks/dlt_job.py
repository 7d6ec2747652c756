"""Runs dlt's own load job for Zerobus on one Parquet file; ``benchmarks.cases.dlt`` starts it in dlt's environment.

Reads a JSON document from standard input: the workspace, the table, the table's columns, the file, and the number of
turns. Delivers the file once to warm up and once per turn, and prints a JSON list with the seconds of each turn. Leaves
out grants, which would need a SQL warehouse.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("RUST_LOG", "off")
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

from dlt.common.configuration.container import Container
from dlt.common.storages.file_storage import FileStorage
from dlt.common.storages.load_package import LoadPackageStateInjectableContext, PackageStorage
from dlt.common.storages.load_storage import LoadPackageInfo  # noqa: F401  # fails early in other versions of dlt
from dlt.destinations import databricks
from dlt.destinations.impl.databricks.configuration import (
    DatabricksCredentials,
    DatabricksZerobusConfiguration,
    DatabricksZerobusCredentials,
)
from dlt.destinations.impl.databricks.databricks import DatabricksZerobusParquetLoadJob


def deliver(given: dict[str, Any], path: Path) -> float:
    """Run one load job, and return its seconds."""
    credentials = DatabricksCredentials()
    credentials.catalog, credentials.server_hostname = "main", given["workspace_url"]
    zerobus = DatabricksZerobusConfiguration()
    zerobus.endpoint_url = given["endpoint"]
    zerobus.credentials = DatabricksZerobusCredentials()
    zerobus.credentials.client_id, zerobus.credentials.client_secret = given["client_id"], given["client_secret"]
    # dlt's own configuration would put https:// in front of the host name, but the local server speaks http.
    config = SimpleNamespace(
        zerobus=zerobus, credentials=SimpleNamespace(to_workspace_url=lambda: given["workspace_url"])
    )
    job = DatabricksZerobusParquetLoadJob(str(path), config, {})  # type: ignore[arg-type]
    job._load_table = {"name": "flights", "columns": given["columns"]}  # type: ignore[typeddict-item]
    job._job_client = SimpleNamespace(  # type: ignore[assignment]
        grant_zerobus_permissions=lambda _: None,
        capabilities=databricks().capabilities(),
        sql_client=SimpleNamespace(make_qualified_table_name=lambda *_, **__: given["table"]),
    )
    started = time.perf_counter()
    job.run()
    return time.perf_counter() - started


def main() -> None:
    """Deliver as standard input says, and print the seconds of each turn."""
    given = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        packages = PackageStorage(FileStorage(folder, makedirs=True), "new")
        packages.create_package("1")
        taken = []
        with Container().injectable_context(LoadPackageStateInjectableContext(storage=packages, load_id="1")):
            for turn in range(given["turns"] + 1):
                path = Path(folder, f"flights.{turn:010d}.0.parquet")
                shutil.copy(given["path"], path)
                taken.append(deliver(given, path))
    print(json.dumps(taken[1:]))


if __name__ == "__main__":
    main()
