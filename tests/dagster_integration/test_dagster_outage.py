"""An event log that is out of reach while a delivery runs: its rows are durable, and the step says so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zerobus_dagster import ZerobusResource
from zerobus_local import LocalZerobus

ROWS = 100


@pytest.fixture
def outage(tmp_path: Path) -> Path:
    """While this file is there, the event log refuses everything."""
    return tmp_path / "outage"


@pytest.fixture(params=[[], ["root"]], ids=["Dagster's loggers", "Python's loggers too"])
def failing_instance(
    request: pytest.FixtureRequest, tmp_path: Path, outage: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    overrides = {
        "event_log_storage": {
            "module": "failing_event_log",
            "class": "FailingEventLogStorage",
            "config": {"base_dir": str(tmp_path / "events"), "outage": str(outage)},
        },
        "python_logs": {"managed_python_loggers": request.param},
    }
    with dg.instance_for_test(overrides=overrides, temp_dir=str(tmp_path)) as instance:
        yield instance


def test_an_event_log_that_fails_does_not_fail_a_delivery_whose_rows_are_durable(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, failing_instance: dg.DagsterInstance, outage: Path
) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for n in range(ROWS):
            if n == ROWS // 2:
                outage.touch()
            yield {"id": n, "carrier": "UA", "delay": 0.0}

    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        try:
            return zerobus.ingest(context, table, rows(), options={"batch_rows": 10, "source_version": "1"})
        finally:
            outage.unlink()  # before Dagster's own events

    result = dg.materialize([flights], resources={"zerobus": zerobus}, instance=failing_instance, raise_on_error=False)
    assert result.success
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/rows_acked"].value == ROWS
    assert sorted(server.read(table)["id"].to_pylist()) == list(range(ROWS))
