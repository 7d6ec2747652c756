"""The connection form of Airflow 2, in a real browser. That of Airflow 3 is looked at in tests/airflow_hosts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

pytestmark = [
    pytest.mark.matrix,
    pytest.mark.skipif(not version("apache-airflow").startswith("2."), reason="the form of Airflow 2"),
]
PATIENCE = 120.0


@pytest.fixture(scope="module")
def web_server(airflow):
    """The URL of Airflow's own web server, in which everybody may do everything."""
    (airflow.home / "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\nWTF_CSRF_ENABLED = False\n")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [Path(sys.executable).with_name("airflow"), "webserver", "--hostname", "127.0.0.1", "--port", str(port)]
    with (airflow.home / "webserver.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--workers", "1"], env=airflow.environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        end = time.monotonic() + PATIENCE
        while not is_up(url):
            assert process.poll() is None, (airflow.home / "webserver.log").read_text()[-5_000:]
            assert time.monotonic() < end, "the web server does not answer"
            time.sleep(1.0)
        yield url
    finally:
        os.killpg(process.pid, 9)  # the workers of gunicorn, too
        process.wait()


def is_up(url):
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_the_connection_form_names_its_fields(web_server, chromium, tmp_path):
    with chromium.driver(width=1200, height=1300) as driver:
        driver.get(f"{web_server}/connection/add")
        wait = WebDriverWait(driver, PATIENCE)
        choice = wait.until(lambda page: page.find_element(By.ID, "conn_type"))
        Select(choice).select_by_visible_text("Databricks Zerobus")
        wait.until(lambda page: "Workspace URL" in page.find_element(By.TAG_NAME, "body").text)
        driver.save_screenshot(str(tmp_path / "form.png"))
        print(f"screenshot: {tmp_path / 'form.png'}")
        shown = [label.text for label in driver.find_elements(By.TAG_NAME, "label") if label.text]
    for text in ("Workspace URL", "Client ID", "Client secret", "Zerobus endpoint", "Federated token file"):
        assert any(label.startswith(text) for label in shown), (text, shown)
    assert not any(label.startswith(("Port", "Schema", "Host", "Login")) for label in shown), shown
