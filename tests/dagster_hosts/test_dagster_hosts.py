"""A whole Dagster: code server, webserver and daemon as processes, each run and each step in a process of its own.

Runs are launched, terminated and re-executed as the UI does it.  Each ends as it should, and the table has exactly the
rows that it should, or no more than the receipt admits.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.dagster_hosts.deployment import LAUNCHPAD, RESOURCES, Deployment, connection, figures, wait_for
from tests.dagster_hosts.hosted import DAYS, HALF, POISONED_DAY, ROWS
from tests.services.browser import Chromium
from zerobus_local import LocalZerobus

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]

# Seconds from an interrupt to the end of a delivery: the law says 1, where nothing else wants the processor.
AT_ONCE = 20.0


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, zerobus: LocalZerobus) -> Iterator[Deployment]:
    for name in ("launched", "terminated", "killed", "daily"):
        zerobus.create_table(f"CREATE OR REPLACE TABLE main.default.{name} (id BIGINT NOT NULL, note STRING)")
    running = Deployment(tmp_path_factory.mktemp("dagster"), zerobus)
    try:
        yield running
    finally:
        running.close()


def ids_in(zerobus: LocalZerobus, name: str) -> list[int]:
    return sorted(zerobus.read(f"main.default.{name}").column("id").to_pylist())


def wait_for_half(deployment: Deployment, zerobus: LocalZerobus, name: str) -> int:
    """The process of a step that has delivered half of its rows."""
    pid_file = deployment.home / "steps" / name / "pid"
    wait_for(pid_file.exists, f"the step of {name}")
    wait_for(lambda: len(ids_in(zerobus, name)) >= HALF, f"half of the rows of {name}")
    return int(pid_file.read_text())


def rows_durable(deployment: Deployment, name: str) -> int:
    """What the asset's latest observation says."""
    return next((int(figures(event).get("rows_durable", 0)) for event in deployment.graphql.history(name)), 0)


def test_a_run_that_is_terminated_ends_within_a_second_and_its_reexecution_leaves_the_exact_table(
    deployment: Deployment, zerobus: LocalZerobus
) -> None:
    graphql = deployment.graphql
    run_id = deployment.launch("terminated_job")
    wait_for_half(deployment, zerobus, "terminated")
    graphql.terminate(run_id)
    assert graphql.wait_for_end(run_id) == "CANCELED"
    folder = deployment.home / "steps" / "terminated"
    took = float((folder / "left").read_text()) - float((folder / "signalled").read_text())
    print(f"the delivery ended {took:.2f} s after the interrupt")
    assert took < AT_ONCE
    log = [event["message"] for event in graphql.events(run_id) if "message" in event]
    advice = f"stopped, {HALF} rows are durable; re-execute the run from failure to send the rest"
    assert any(advice in message for message in log), log

    again = graphql.reexecute_from_failure(run_id)
    assert graphql.wait_for_end(again) == "SUCCESS"
    receipt = figures(graphql.history("terminated")[0])
    assert (receipt["rows_read"], receipt["rows_skipped"], receipt["rows_acked"]) == (ROWS, HALF, ROWS - HALF)
    assert ids_in(zerobus, "terminated") == list(range(ROWS))
    assert any("re-execution from failure of run" in event.get("message", "") for event in graphql.events(again))


def test_a_step_whose_process_is_killed_is_retried_and_resumes(deployment: Deployment, zerobus: LocalZerobus) -> None:
    graphql = deployment.graphql
    run_id = deployment.launch("killed_job")
    process = wait_for_half(deployment, zerobus, "killed")
    wait_for(lambda: rows_durable(deployment, "killed") > 0, "a checkpoint", every=0.5)
    start = time.monotonic()
    os.kill(process, signal.SIGKILL)
    assert graphql.wait_for_end(run_id) == "SUCCESS"
    print(f"the retry had delivered the rest {time.monotonic() - start:.1f} s after the kill")
    kinds = [event["__typename"] for event in graphql.events(run_id)]
    assert kinds.count("ExecutionStepUpForRetryEvent") == kinds.count("MaterializationEvent") == 1
    receipt = figures(graphql.history("killed")[0])
    assert receipt["rows_read"] == ROWS
    assert receipt["rows_skipped"] > 0
    ids = ids_in(zerobus, "killed")
    assert set(ids) == set(range(ROWS))
    assert len(ids) - ROWS <= receipt["rows_resent"]


def test_a_backfill_of_thirty_days_delivers_all_but_the_days_of_the_run_with_a_bad_row(
    deployment: Deployment, zerobus: LocalZerobus
) -> None:
    graphql, days = deployment.graphql, DAYS.get_partition_keys()
    start = time.monotonic()
    backfill = graphql.wait_for_backfill(graphql.backfill("daily", days), timeout=600.0)
    print(f"the backfill took {time.monotonic() - start:.0f} s")
    failed = [run["runId"] for run in backfill["runs"] if run["status"] == "FAILURE"]
    assert (len(days), len(backfill["runs"]), len(failed)) == (30, 6, 1)
    (reason,) = [event["error"]["message"] for event in graphql.events(failed[0]) if event.get("stepKey")]
    assert "row 50" in reason
    assert "id" in reason
    materialized = {event["partition"] for event in materializations(deployment, "daily")}
    first = days.index(POISONED_DAY) // 5 * 5
    missing = days[first : first + 5]
    assert materialized == {*days} - {*missing}

    (deployment.home / "steps" / "daily" / "repaired").touch()
    again = graphql.reexecute_from_failure(failed[0])
    assert graphql.wait_for_end(again) == "SUCCESS"
    figures_of_day = {event["partition"]: figures(event) for event in materializations(deployment, "daily")}
    # The days before the bad row were durable, and are not sent again.
    skipped = {day: figures_of_day[day]["rows_skipped"] for day in missing}
    assert skipped == {day: 100 if day < POISONED_DAY else 0 for day in missing}
    delivered = zerobus.read("main.default.daily").select(["note", "id"]).to_pylist()
    assert sorted((row["note"], row["id"]) for row in delivered) == [(day, n) for day in days for n in range(100)]


def materializations(deployment: Deployment, name: str) -> list[dict[str, Any]]:
    """The latest ones first."""
    events = deployment.graphql.history(name, limit=1_000)
    return [event for event in events if event["__typename"] == "MaterializationEvent"]


def test_the_launchpad_of_a_browser_delivers_and_the_pages_show_what_came_and_no_secret(
    deployment: Deployment, zerobus: LocalZerobus, chromium: Chromium, tmp_path: Path
) -> None:
    graphql, selector = deployment.graphql, deployment.selector
    job = {**selector, "pipelineName": "launched_job"}
    default = graphql.ask(LAUNCHPAD, selector=job)["runConfigSchemaOrError"]["rootDefaultYaml"]
    # What the launchpad fills in by itself has no credentials, and delivers.
    assert "DATABRICKS_HOST" in default
    assert "client_secret" not in default
    resources = graphql.ask(RESOURCES, selector=selector)["allTopLevelResourceDetailsOrError"]["results"]
    values = {value["key"]: value for each in resources for value in each["configuredValues"]}
    assert (values["client_secret"]["type"], values["client_secret"]["value"]) == (
        "ENV_VAR",
        "DATABRICKS_CLIENT_SECRET",
    )

    secret = connection(zerobus)["DATABRICKS_CLIENT_SECRET"]
    with chromium.driver(width=1500, height=1400) as driver:
        pages = Pages(driver, graphql.url, tmp_path)
        pages.open("/locations/hosted/jobs/launched_job/playground", "Launch run")
        button = wait_for(lambda: enabled_button(driver, "Launch run"), "the launchpad's button")
        button.click()
        WebDriverWait(driver, 120).until(lambda page: "/runs/" in page.current_url)
        run_id = driver.current_url.partition("/runs/")[2].partition("?")[0]
        assert graphql.wait_for_end(run_id) == "SUCCESS"
        # A second delivery, so that there is something to plot.
        again = deployment.launch("launched_job", yaml.safe_load(default))
        assert graphql.wait_for_end(again) == "SUCCESS"
        assert ids_in(zerobus, "launched") == sorted([*range(ROWS), *range(ROWS)])

        pages.open("/assets/launched?view=events", "rows_acked")
        pages.open("/assets/launched?view=overview", "rows_acked")
        plots = wait_for(lambda: enabled_button(driver, "Plots"), "the button for plots")
        plots.click()
        wait_for(lambda: driver.find_elements(By.TAG_NAME, "canvas"), "a plot", every=0.5)
        pages.keep("plots")
        pages.open("/assets/launched?view=checks", "zerobus_delivery")
        pages.open(f"/runs/{run_id}", "ASSET_MATERIALIZATION")
    assert not [name for name, text in pages.texts.items() if secret in text]
    print(f"screenshots in {tmp_path}")


class Pages:
    """Opens pages, and keeps the document and a screenshot of each when it shows what is waited for."""

    def __init__(self, driver: webdriver.Chrome, url: str, folder: Path) -> None:
        self.texts: dict[str, str] = {}
        self._driver, self._url, self._folder = driver, url, folder

    def open(self, path: str, shows: str) -> None:
        start, driver = time.monotonic(), self._driver
        driver.get(self._url + path)
        name = path.partition("?view=")[2] or path.strip("/").partition("/")[0]
        try:
            WebDriverWait(driver, 120).until(lambda page: shows.lower() in text_of(page).lower())
        finally:
            self.keep(name)
        print(f"{path} showed {shows!r} after {time.monotonic() - start:.1f} s")

    def keep(self, name: str) -> None:
        self._driver.save_screenshot(str(self._folder / f"{name}.png"))
        self.texts[name] = self._driver.page_source


def text_of(driver: webdriver.Chrome) -> str:
    """The text of the page as people see it; none while the page is being built again."""
    return str(driver.execute_script("return document.body ? document.body.innerText : ''"))


def enabled_button(driver: webdriver.Chrome, label: str) -> webdriver.remote.webelement.WebElement | None:
    for button in driver.find_elements(By.TAG_NAME, "button"):
        if label.lower() in button.text.lower() and button.is_enabled():
            return button
    return None


def test_no_secret_is_in_an_answer_an_event_or_a_file_of_dagster(deployment: Deployment, zerobus: LocalZerobus) -> None:
    """After all of the above: the event log, the run storage, compute logs and the logs of the processes are files."""
    secret = connection(zerobus)["DATABRICKS_CLIENT_SECRET"]
    assert secret
    assert not [answer for answer in deployment.graphql.answers if secret in answer]
    files = [path for path in deployment.home.rglob("*") if path.is_file()]
    assert {".db", ".log", ".out", ".err"} <= {path.suffix for path in files}
    assert not [path for path in files if secret.encode() in content_of(path)]


def content_of(path: Path) -> bytes:
    """What is in a file; SQLite removes the files next to a database that nobody uses at the moment."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
