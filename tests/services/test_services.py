"""The core delivers what real database drivers give, and the local server's page works in a real browser."""

from __future__ import annotations

import datetime as dt
import decimal
import struct
import uuid
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import redis as redis_client
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.services.browser import Chromium
from tests.services.databases import MariaDb, Postgres, Redis
from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import ZerobusIngestError
from zerobus_local import LocalZerobus
from zerobus_local.faults import ACTIONS

COLUMNS = "id BIGINT NOT NULL, amount DECIMAL(20,6), at TIMESTAMP, day DATE, note STRING, data BINARY"
ROWS = [
    (
        1,
        decimal.Decimal("12345678901234.567891"),
        dt.datetime(2026, 3, 29, 1, 30, 0, 123456),
        dt.date(1970, 1, 1),
        "é",
        b"\0",
    ),
    (2, decimal.Decimal("-0.000001"), dt.datetime(1969, 12, 31, 23, 59, 59, 999999), dt.date(9999, 12, 31), "", b""),
    (3, None, None, None, None, None),
]


def delivered(server: LocalZerobus, table: str) -> list[tuple[object, ...]]:
    rows = server.read(table).sort_by("id").to_pylist()
    return [
        tuple(value.replace(tzinfo=None) if name == "at" and value else value for name, value in row.items())
        for row in rows
    ]


def test_a_psycopg_cursor_is_delivered_value_by_value(
    postgres: Postgres, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} ({COLUMNS})")
    with psycopg.connect(postgres.url(postgres.new_database())) as connection:
        connection.execute("SET timezone TO 'Asia/Tokyo'")
        connection.execute(
            "CREATE TABLE t (id bigint, amount numeric(20, 6), at timestamptz, day date, note text, data bytea)"
        )
        with connection.cursor() as cursor:
            rows = [(*row[:2], row[2] and row[2].replace(tzinfo=dt.UTC), *row[3:]) for row in ROWS]
            cursor.executemany("INSERT INTO t VALUES (%s, %s, %s, %s, %s, %s)", rows)
            cursor.execute("SELECT * FROM t ORDER BY id")
            receipt = ingest(zerobus.workspace, table_name, cursor)
    assert (receipt.rows_read, receipt.rows_acked) == (3, 3)
    assert delivered(zerobus, table_name) == ROWS


def test_a_server_side_cursor_with_named_columns_is_delivered_in_order(
    postgres: Postgres, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, note STRING)")
    with psycopg.connect(postgres.dsn) as connection, connection.cursor("named") as cursor:
        cursor.execute("SELECT n AS id, 'row ' || n AS note FROM generate_series(1, 12345) AS n ORDER BY n")
        receipt = ingest(zerobus.workspace, table_name, cursor, options=IngestOptions(batch_rows=1_000))
    assert receipt.rows_acked == 12_345
    assert zerobus.read(table_name).sort_by("id")["note"].to_pylist() == [f"row {n}" for n in range(1, 12_346)]


def test_databases_of_one_postgres_are_apart(postgres: Postgres) -> None:
    first, second = postgres.new_database(), postgres.new_database()
    with psycopg.connect(postgres.url(first)) as connection:
        connection.execute("CREATE TABLE only_here (id int)")
    with psycopg.connect(postgres.url(second)) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM only_here")


def test_a_pymysql_cursor_is_delivered_value_by_value(mariadb: MariaDb, zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} ({COLUMNS.replace('at TIMESTAMP', 'at TIMESTAMP_NTZ')})")
    with mariadb.connect(mariadb.new_database()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE t"
            " (id bigint, amount decimal(20, 6), at datetime(6), day date, note varchar(20), data varbinary(20))"
        )
        cursor.executemany("INSERT INTO t VALUES (%s, %s, %s, %s, %s, %s)", ROWS)
        cursor.execute("SELECT * FROM t ORDER BY id")
        receipt = ingest(zerobus.workspace, table_name, cursor)
    assert (receipt.rows_read, receipt.rows_acked) == (3, 3)
    assert delivered(zerobus, table_name) == ROWS


def test_redis_passes_messages_between_its_clients(redis: Redis) -> None:
    key = str(uuid.uuid4())
    with redis_client.Redis.from_url(redis.url(1)) as producer, redis_client.Redis.from_url(redis.url(1)) as consumer:
        producer.lpush(key, "first", "second")
        assert consumer.brpop([key], timeout=10) == (key.encode(), b"first")
        with redis_client.Redis.from_url(redis.url(2)) as elsewhere:
            assert not elsewhere.exists(key)


def test_the_page_shows_its_tables_in_a_browser(chromium: Chromium, zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    ingest(zerobus.workspace, table_name, [{"id": number} for number in range(17)])
    assert table_name in chromium.dom(zerobus.workspace_url)
    picture = chromium.screenshot(zerobus.workspace_url, width=800, height=600)
    assert size_of_png(picture) == (800, 600)
    with chromium.driver() as driver:
        driver.get(zerobus.workspace_url)
        WebDriverWait(driver, 30).until(lambda page: table_name in page.find_element(By.TAG_NAME, "body").text)
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def shown_fields(driver: webdriver.Chrome) -> set[str]:
    return {
        str(field.get_attribute("name"))
        for field in driver.find_elements(By.CSS_SELECTOR, "form.fault input, form.fault select")
        if field.is_displayed()
    }


def test_the_form_for_a_fault_shows_the_fields_of_its_action(chromium: Chromium, zerobus: LocalZerobus) -> None:
    when = {"action", "table", "stream", "message", "times", "probability"}
    with chromium.driver() as driver:
        driver.get(zerobus.workspace_url)
        chosen = Select(driver.find_element(By.CSS_SELECTOR, "form.fault select[name=action]"))
        for action, fields in ACTIONS.items():
            chosen.select_by_visible_text(action)
            assert shown_fields(driver) == when | fields, action
        chosen.select_by_visible_text("cut")
        Select(driver.find_element(By.NAME, "at")).select_by_visible_text("after_commit")
        driver.find_element(By.NAME, "times").send_keys("many")
        driver.find_element(By.CSS_SELECTOR, "form.fault button").click()
        wait = WebDriverWait(driver, 30)
        alert = wait.until(lambda page: page.find_element(By.CSS_SELECTOR, "[role=alert]"))
        assert "times" in alert.text
        assert shown_fields(driver) == when | {"at"}
        times = driver.find_element(By.NAME, "times")
        times.clear()
        times.send_keys("3")
        driver.find_element(By.CSS_SELECTOR, "form.fault button").click()
        wait.until(lambda page: not page.find_elements(By.CSS_SELECTOR, "[role=alert]"))
    (rule,) = zerobus.faults.list().values()
    assert rule.as_dict() == {"action": "cut", "at": "after_commit", "times": 3}
    zerobus.faults.clear()


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_its_window_with_short_rows(
    chromium: Chromium, zerobus: LocalZerobus, table_name: str, width: int
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING, note STRING, at TIMESTAMP)")
    note = "a longer text with many words in it, as people write them " * 3
    rows = [{"id": number, "name": "x", "note": note, "at": datetime(2026, 1, 2, tzinfo=UTC)} for number in range(9)]
    ingest(zerobus.workspace, table_name, rows)
    with pytest.raises(ZerobusIngestError):
        ingest(zerobus.workspace, table_name, [{"nothing": 1}], options={"max_attempts": 1})
    zerobus.faults.add(action="cut", at="after_commit", table=table_name, stream=[3, 4, 5], message=[1, 2, 3], times=3)
    with chromium.driver(width=max(width, 500)) as driver:
        driver.set_window_size(width, 1024)
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 1024, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        driver.get(zerobus.workspace_url)
        WebDriverWait(driver, 30).until(lambda page: table_name in page.find_element(By.TAG_NAME, "body").text)
        # The page changes each second, so all of it is measured at once.
        heights, scroll_width, (streams, form) = driver.execute_script(
            "for (const part of document.querySelectorAll('details')) part.open = true;"
            "const box = (name) => document.querySelector(`section.${name}`).getBoundingClientRect().toJSON();"
            "return [[...document.querySelectorAll('tr')].map(row => row.offsetHeight),"
            "document.documentElement.scrollWidth, [box('streams'), box('switch')]]"
        )
        assert len(heights) > 10
        assert max(heights) < 100
        assert scroll_width <= width
        is_beside = form["x"] >= streams["x"] + streams["width"] and form["y"] == streams["y"]
        assert is_beside == (width == 1280)
    zerobus.faults.clear()


def size_of_png(path: Path) -> tuple[int, int]:
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:24])
    return width, height
