"""What people see in Airflow's own pages: the form of a connection, and a task that delivered, in a real browser."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60.0


class Page:
    """A page of the deployment in a browser."""

    def __init__(self, driver, deployment):
        self._driver, self._deployment = driver, deployment
        self._wait = WebDriverWait(driver, PATIENCE)

    def open(self, path):
        self._driver.get(f"{self._deployment.url}{path}")

    @property
    def text(self):
        return self._driver.find_element(By.TAG_NAME, "body").text

    def shows(self, *texts):
        """Wait until the page has each of these texts."""
        for text in texts:
            self._wait.until(lambda _, text=text: text in self.text, f"{text!r} is not in:\n{self.text}")

    def find(self, selector):
        return self._wait.until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector), selector)

    def click(self, text):
        path = f"//button[normalize-space()='{text}'] | //a[normalize-space()='{text}']"
        self._wait.until(lambda driver: driver.find_element(By.XPATH, path), text).click()

    def expand(self, section):
        """Open a section of a form; a click while the form still moves is lost, and so is tried again."""

        def is_open(driver):
            button = driver.find_element(By.XPATH, f"//button[normalize-space()='{section}']")
            if button.get_attribute("aria-expanded") != "true":
                button.click()
            return button.get_attribute("aria-expanded") == "true"

        self._wait.until(is_open, section)

    def keep(self, file):
        self._driver.save_screenshot(str(file))
        print(f"screenshot: {file}")


@pytest.fixture
def page(chromium, deployment):
    with chromium.driver(width=1400, height=1500) as driver:
        yield Page(driver, deployment)


def test_the_connection_form_names_its_fields(page, tmp_path):
    page.open("/connections")
    page.click("Add Connection")
    choice = page.find("input[role='combobox'], input[id*='select']")
    choice.send_keys("zerobus")
    page.shows("Databricks Zerobus")
    choice.send_keys(Keys.ENTER)
    page.shows("Workspace URL", "Client ID", "Client secret")
    page.keep(tmp_path / "form.png")
    page.expand("Extra Fields")
    page.shows("Zerobus endpoint", "Federated token file")
    page.keep(tmp_path / "extra_fields.png")


def test_the_pages_of_a_task_show_its_receipt_and_the_link_to_its_table(
    page, deployment, zerobus, table_name, tmp_path
):
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, note STRING)")
    run_id = deployment.trigger("finished", table=table_name)
    deployment.wait_for_state("finished", run_id, "success")
    page.open(f"/dags/finished/runs/{quote(run_id)}/tasks/push")
    page.shows("Success", f"Deliver to {table_name}", "1000 rows: 1000 acknowledged")
    page.keep(tmp_path / "log.png")
    page.click("Storage")
    page.shows("zerobus/delivery", '"rows_acked": 1000')
    page.keep(tmp_path / "state.png")
    page.click("Details")
    link = page.find("a[href*='/explore/data/']")
    assert (link.text, link.get_attribute("href").rpartition("/data/")[2]) == (
        "Table in Catalog Explorer",
        table_name.replace(".", "/"),
    )
    page.keep(tmp_path / "details.png")
