"""OpenTelemetry: deliveries in child processes, each with providers of its own, and what those received."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zerobus_core import ClientCredentials, Workspace
from zerobus_local import LocalZerobus

TABLE = "main.default.t"

PROVIDERS = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
"""

DELIVER = """
import json, sys, threading
from zerobus_core import IngestOptions, StreamManager, Workspace, ZerobusIngestError, ingest

workspace, table = Workspace.from_env(), "main.default.t"
options = IngestOptions(batch_rows=10, max_attempts=2, backoff=0.01)
"""

TELL = """
def points(metric):
    return [{"attributes": dict(point.attributes)} |
            ({"count": point.count, "sum": point.sum} if hasattr(point, "count") else {"value": point.value})
            for point in metric.data.data_points]

data = reader.get_metrics_data()
print(json.dumps({
    "receipt": globals().get("receipt") and receipt.as_dict(),
    "spans": [{"name": span.name, "kind": span.kind.name, "status": span.status.status_code.name,
               "seconds": (span.end_time - span.start_time) / 1e9, "events": len(span.events),
               "attributes": dict(span.attributes)}
              for span in spans.get_finished_spans()],
    "metrics": {metric.name: points(metric) for resource in data.resource_metrics
                for scope in resource.scope_metrics for metric in scope.metrics} if data else {},
}))
"""


def run(workspace: Workspace, script: str) -> dict[str, Any]:
    assert isinstance(workspace.credentials, ClientCredentials)
    known = {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=os.environ | known,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report | {"stderr": done.stderr}


@pytest.fixture
def workspace(server: LocalZerobus) -> Workspace:
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL)")
    return server.workspace


def test_a_delivery_is_one_span_with_counts_and_its_metrics_add_up(server: LocalZerobus, workspace: Workspace) -> None:
    server.faults.add(action="cut", stream=1, message=2, at="after_commit")
    report = run(
        workspace,
        PROVIDERS
        + DELIVER
        + 'receipt = ingest(workspace, table, [{"id": n} for n in range(95)], options=options)\n'
        + TELL,
    )
    receipt = report["receipt"]
    (span,) = report["spans"]
    assert (span["name"], span["kind"], span["status"], span["events"]) == ("zerobus.ingest", "CLIENT", "UNSET", 0)
    assert span["seconds"] >= receipt["duration_s"]
    assert span["attributes"] == {
        "zerobus.table": TABLE,
        "zerobus.record_format": "protobuf",
        "zerobus.outcome": "delivered",
        "zerobus.rows.read": 95,
        "zerobus.rows.acked": 95,
        "zerobus.rows.skipped": 0,
        "zerobus.rows.dead_lettered": 0,
        "zerobus.rows.filtered": 0,
        "zerobus.rows.resent": receipt["rows_resent"],
        "zerobus.bytes_sent": receipt["bytes_sent"],
        "zerobus.reconnects": 1,
    }
    same = {"zerobus.table": TABLE, "zerobus.record_format": "protobuf"}
    assert report["metrics"]["zerobus.rows_acked"] == [{"attributes": same, "value": 95}]
    assert report["metrics"]["zerobus.rows_resent"] == [{"attributes": same, "value": receipt["rows_resent"]}]
    assert report["metrics"]["zerobus.bytes_sent"] == [{"attributes": same, "value": receipt["bytes_sent"]}]
    assert report["metrics"]["zerobus.reconnects"] == [{"attributes": same, "value": 1}]
    assert report["metrics"]["zerobus.open_streams"] == [{"attributes": same, "value": 0}]
    (latency,) = report["metrics"]["zerobus.ack_latency"]
    assert latency["count"] == receipt["batches"] == 10
    assert 0 < latency["sum"] <= 10 * receipt["ack_latency_s"]["max"]


def test_a_failure_and_a_stop_are_told_apart_and_quote_no_row(server: LocalZerobus, workspace: Workspace) -> None:
    report = run(
        workspace,
        PROVIDERS
        + DELIVER
        + """
def expect(call):
    try:
        call()
    except (ZerobusIngestError, KeyError):
        return
    raise AssertionError("no error")

def of_its_own():
    yield {"id": 1}
    raise KeyError("the source's own")

stop = threading.Event()
stop.set()
expect(lambda: ingest(workspace, table, [{"id": 1}, {"id": "quoted"}]))
expect(lambda: ingest(workspace, table, of_its_own()))
expect(lambda: ingest(workspace, table, [{"id": 1}], stop=stop))
with StreamManager(workspace, table) as streams:
    with trace.get_tracer("user").start_as_current_span("of the user"):
        streams.send([{"id": 1}])
"""
        + TELL,
    )
    outcomes = [
        (span["attributes"]["zerobus.outcome"], span["attributes"].get("error.type"), span["status"])
        for span in report["spans"]
        if span["name"] == "zerobus.ingest"
    ]
    assert outcomes == [
        ("failed", "RecordError", "ERROR"),
        ("failed", "KeyError", "ERROR"),
        ("stopped", "IngestInterruptedError", "ERROR"),
        ("delivered", None, "UNSET"),
    ]
    assert "quoted" not in json.dumps(report["spans"])


def test_what_an_earlier_try_counted_as_sent_twice_is_not_counted_again(
    server: LocalZerobus, workspace: Workspace, tmp_path: Path
) -> None:
    server.faults.add(action="cut", stream=1, message=2, at="after_commit")
    again = f"""
from zerobus_core import FileCheckpointStore
options = IngestOptions(batch_rows=10, backoff=0.01, source_version="1")
store = FileCheckpointStore({str(tmp_path / "checkpoint.json")!r})
for _ in range(2):
    receipt = ingest(workspace, table, [{{"id": n}} for n in range(95)], options=options, checkpoint=store)
"""
    report = run(workspace, PROVIDERS + DELIVER + again + TELL)
    assert (report["receipt"]["rows_skipped"], len(report["spans"])) == (95, 2)
    (resent,) = report["metrics"]["zerobus.rows_resent"]
    assert resent["value"] == report["receipt"]["rows_resent"] > 0


def test_without_opentelemetry_a_delivery_goes_as_ever(workspace: Workspace) -> None:
    report = run(
        workspace,
        "import sys\nsys.modules['opentelemetry'] = None\n"
        + DELIVER
        + 'receipt = ingest(workspace, table, [{"id": 1}])\nprint(json.dumps(receipt.as_dict()))\n',
    )
    assert report["rows_acked"] == 1


def test_telemetry_that_raises_costs_the_delivery_nothing(server: LocalZerobus, workspace: Workspace) -> None:
    report = run(
        workspace,
        """
from opentelemetry import metrics, trace

class Broken:
    def __getattr__(self, name):
        raise RuntimeError("broken " + name)

trace.get_tracer = lambda *_: Broken()
"""
        + DELIVER
        + 'receipt = ingest(workspace, table, [{"id": 1}])\nprint(json.dumps(receipt.as_dict()))\n',
    )
    assert report["rows_acked"] == 1
    assert "telemetry failed and is off for this delivery: RuntimeError: broken start_span" in report["stderr"]
    assert server.read(TABLE).num_rows == 1
