"""The processes of one Dagster (code server, webserver, daemon) and its GraphQL interface."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from tests.services.programs import free_port
from zerobus_core import ClientCredentials
from zerobus_local import LocalZerobus

# Seconds for what Dagster does in its own time, on a busy machine.
PATIENCE = 180.0
BINARIES = Path(sys.executable).parent
INSTANCE = """
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator:
  module: dagster._core.run_coordinator
  class: QueuedRunCoordinator
  config: {max_concurrent_runs: 3, dequeue_interval_seconds: 1}
"""
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
REEXECUTE = """
mutation ($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
BACKFILL_RUNS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status runs { runId status } }
  }
}
"""
LAUNCHPAD = """
query ($selector: PipelineSelector!) {
  runConfigSchemaOrError(selector: $selector) { ... on RunConfigSchema { rootDefaultYaml } }
}
"""
RESOURCES = """
query ($selector: RepositorySelector!) {
  allTopLevelResourceDetailsOrError(repositorySelector: $selector) {
    __typename
    ... on ResourceDetailsList { results { name configuredValues { key value type } } }
  }
}
"""
TERMINATE = "mutation ($run: String!) { terminateRun(runId: $run) { __typename } }"
RUN = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
EVENTS = """
query ($run: ID!, $cursor: String) {
  logsForRun(runId: $run, afterCursor: $cursor) {
    ... on EventConnection {
      cursor
      hasMore
      events {
        __typename
        ... on MessageEvent { message }
        ... on ExecutionStepFailureEvent { stepKey error { message } }
      }
    }
  }
}
"""
HISTORY = """
query ($asset: AssetKeyInput!, $limit: Int!) {
  assetOrError(assetKey: $asset) {
    ... on Asset {
      assetEventHistory(limit: $limit, eventTypeSelectors: [MATERIALIZATION, OBSERVATION]) {
        results {
          __typename
          ... on MessageEvent { runId timestamp }
          ... on DisplayableEvent { metadataEntries { ...entry } }
          ... on MaterializationEvent { partition }
          ... on ObservationEvent { partition }
        }
      }
    }
  }
}
fragment entry on MetadataEntry {
  label
  ... on IntMetadataEntry { intValue }
  ... on FloatMetadataEntry { floatValue }
  ... on TextMetadataEntry { text }
  ... on JsonMetadataEntry { jsonString }
}
"""
Answer = TypeVar("Answer")


def wait_for(condition: Callable[[], Answer], what: str, timeout: float = PATIENCE, every: float = 0.1) -> Answer:
    """The result of ``condition`` as soon as it is true."""
    end = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < end, f"{what}: not within {timeout} s"
        time.sleep(every)
    return answer


def connection(server: LocalZerobus) -> dict[str, str]:
    """The variables by which code finds the service."""
    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    return {
        "ZEROBUS_SERVER_ENDPOINT": server.workspace.endpoint,
        "DATABRICKS_HOST": server.workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
    }


class Program:
    """A program of Dagster as a process of its own session, with its output in a file."""

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str], *arguments: str) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [BINARIES / arguments[0], *arguments[1:]],
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # A test run in the background ignores interrupts, and so would this process.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], Answer], what: str, timeout: float = PATIENCE) -> Answer:
        """As ``wait_for``, but fails with the output as soon as the program has ended."""

        def reached() -> Answer:
            answer = condition()
            assert answer or self._process.poll() is None, f"{what}: exited\n{self.output[-5_000:]}"
            return answer

        try:
            return wait_for(reached, what, timeout)
        except AssertionError:
            print(self.output[-5_000:])
            raise

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        return self._process.wait(timeout=PATIENCE)

    def kill(self) -> None:
        """End the program and all that it started, as a machine that is gone."""
        for process in [*self.descendants(), psutil.Process(self._process.pid)]:
            process.kill()
        self._process.wait()

    def interrupt(self) -> int:
        """Send SIGINT and return the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=PATIENCE)

    def descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def close(self) -> None:
        """Kill the program and all that it started."""
        for process in self.descendants():
            process.kill()
        self._process.kill()
        self._process.wait()


class GraphQL:
    """A client of a webserver, which keeps the text of all answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[str] = []
        self._client = httpx.Client(base_url=url, timeout=120.0)

    def is_up(self) -> bool:
        try:
            return self._client.get("/server_info").is_success
        except httpx.TransportError:
            return False

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of an answer without errors."""
        answer = self._client.post("/graphql", json={"query": query, "variables": variables})
        self.answers.append(answer.text)
        document = answer.json()
        assert "errors" not in document, document["errors"]
        return document["data"]

    def launch(self, selector: Mapping[str, str], job: str, config: Any = None, assets: Sequence[str] = ()) -> str:
        """The id of a new run of a job, or of some assets of it."""
        chosen = {"assetSelection": [{"path": [asset]} for asset in assets]} if assets else {}
        params = {"selector": {**selector, "pipelineName": job, **chosen}, "runConfigData": config or {}}
        return self._launched(self.ask(LAUNCH, params=params)["launchRun"])

    def reexecute_from_failure(self, run_id: str) -> str:
        params = {"parentRunId": run_id, "strategy": "FROM_FAILURE"}
        return self._launched(self.ask(REEXECUTE, params=params)["launchRunReexecution"])

    @staticmethod
    def _launched(answer: Any) -> str:
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def backfill(self, asset: str, partitions: Sequence[str]) -> str:
        """The id of a new backfill of some partitions of an asset."""
        params = {"assetSelection": [{"path": [asset]}], "partitionNames": list(partitions)}
        answer = self.ask(BACKFILL, params=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return str(answer["backfillId"])

    def wait_for_backfill(self, backfill_id: str, timeout: float) -> dict[str, Any]:
        """The status and the runs of a backfill that has ended."""

        def ended() -> dict[str, Any] | None:
            answer = dict(self.ask(BACKFILL_RUNS, id=backfill_id)["partitionBackfillOrError"])
            return answer if answer["status"].startswith(("COMPLETED", "FAILED", "CANCELED")) else None

        answer = wait_for(ended, f"the end of backfill {backfill_id}", timeout, every=1.0)
        assert answer is not None
        return answer

    def terminate(self, run_id: str) -> None:
        answer = self.ask(TERMINATE, run=run_id)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def status(self, run_id: str) -> str:
        return str(self.ask(RUN, run=run_id)["runOrError"]["status"])

    def wait_for_end(self, run_id: str, timeout: float = PATIENCE) -> str:
        """The status of a run that has ended."""
        ends = ("SUCCESS", "FAILURE", "CANCELED")
        return wait_for(
            lambda: status if (status := self.status(run_id)) in ends else "", f"the end of run {run_id}", timeout, 0.5
        )

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """All events of a run's log, oldest first."""
        found: list[dict[str, Any]] = []
        cursor, has_more = None, True
        while has_more:
            page = self.ask(EVENTS, run=run_id, cursor=cursor)["logsForRun"]
            found += page["events"]
            cursor, has_more = page["cursor"], page["hasMore"]
        return found

    def history(self, asset: str, limit: int = 100) -> list[dict[str, Any]]:
        """The latest materializations and observations of an asset, newest first, as the asset's page asks for them."""
        asked = self.ask(HISTORY, asset={"path": [asset]}, limit=limit)["assetOrError"]
        return list(asked["assetEventHistory"]["results"]) if "assetEventHistory" in asked else []

    def close(self) -> None:
        self._client.close()


def figures(event: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an event's metadata, by its label."""
    return {
        entry["label"].removeprefix("dagster-zerobus/"): next(
            (value for key, value in entry.items() if key != "label"), None
        )
        for entry in event["metadataEntries"]
    }


class Deployment:
    """A Dagster instance in a folder, with the assets of hosted.py in a code server, a webserver and a daemon."""

    selector = {"repositoryLocationName": "hosted", "repositoryName": "__repository__"}  # noqa: RUF012

    def __init__(self, home: Path, server: LocalZerobus) -> None:
        self.home = home
        (home / "dagster.yaml").write_text(INSTANCE)
        environ = {**os.environ, **connection(server), "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes"}
        code, web = free_port(), free_port()
        workspace = home / "workspace.yaml"
        workspace.write_text(f"load_from: [grpc_server: {{host: 127.0.0.1, port: {code}, location_name: hosted}}]\n")
        self.graphql = GraphQL(f"http://127.0.0.1:{web}")
        self._programs: list[Program] = []
        try:
            file = str(Path(__file__).with_name("hosted.py"))
            command = ["dagster", "api", "grpc", "-f", file, "-h", "127.0.0.1", "-p", str(code)]
            self.code = self._start("code", environ, *command)
            self.code.wait_until(lambda: "Started Dagster code server" in self.code.output, "the code server")
            self._start("daemon", environ, "dagster-daemon", "run", "-w", str(workspace))
            here = ["-h", "127.0.0.1", "-p", str(web)]
            webserver = self._start("webserver", environ, "dagster-webserver", *here, "-w", str(workspace))
            webserver.wait_until(self.graphql.is_up, "the webserver")
        except BaseException:
            self.close()
            raise

    def _start(self, name: str, environ: Mapping[str, str], *arguments: str) -> Program:
        program = Program(name, self.home, environ, *arguments)
        self._programs.append(program)
        return program

    def launch(self, job: str, config: Any = None) -> str:
        return self.graphql.launch(self.selector, job, config)

    def close(self) -> None:
        for program in self._programs:
            program.close()
        self.graphql.close()
