"""New rows of PostgreSQL and MariaDB: every type of column comes back as the value that the database compares equal."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.services.databases import MariaDb, Postgres
from zerobus_core import ConfigurationError, Handoff, IngestOptions, NewRows, Receipt, hand_over
from zerobus_core.errors import WatermarkPrecisionError
from zerobus_local import LocalZerobus

Connect = Callable[[], Any]


@pytest.fixture
def connect(postgres: Postgres) -> Connect:
    url = postgres.url(postgres.new_database())
    return lambda: psycopg.connect(url)


def execute(connect: Connect, *statements: str) -> None:
    with connect() as connection:
        for statement in statements:
            connection.execute(statement)


# Column type, three ascending values that differ in the last digit, options
TYPES = {
    "timestamptz": (
        "timestamptz", "2026-01-01 00:00:00.000001+00", "2026-01-01 02:00:00.000002+02",
        "2026-01-01 00:00:00.000003+00", {"lag": 60.0},
    ),
    "timestamp": (
        "timestamp", "2026-01-01 00:00:00.000001", "2026-01-01 00:00:00.000002", "2026-01-01 00:00:00.000003",
        {"lag": 60.0},
    ),
    "date": ("date", "2026-01-01", "2026-01-02", "2026-01-03", {"lag": 86400.0}),
    "bigint": ("bigint", "9223372036854775805", "9223372036854775806", "9223372036854775807", {"lag_rows": 0}),
    "numeric": (
        "numeric", "1.0000000000000000000000000000000001", "1.0000000000000000000000000000000002", "1e30",
        {"lag_rows": 0},
    ),
    "double": ("double precision", "0.1", "0.30000000000000004", "1e300", {"commits_in_order": True}),
    "text": ('text COLLATE "C"', "Straße", "a'b\"c%", "日本", {"commits_in_order": True}),
    "uuid": (
        "uuid", "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058",
        "01890a5e-0000-7000-8000-000000000000", {"lag_rows": 0},
    ),
    "bytea": ("bytea", r"\x0001", r"\x0002ff", r"\xff00", {"commits_in_order": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_a_watermark_survives_the_state(
    name: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path, connect: Connect
) -> None:
    kind, *values, options = TYPES[name]
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    execute(connect, f'CREATE TABLE "Orders" (id bigint, "Changed" {kind})')

    def run() -> Receipt:
        source = NewRows(connect, 'SELECT id, "Changed" FROM "Orders"', column="Changed", key="id", **options)
        # The table does not have the column that says what is new.
        chosen = IngestOptions(select=["id"])
        return hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json", options=chosen)

    for number, value in enumerate(values):
        quoted = value.replace("'", "''")
        execute(connect, f"INSERT INTO \"Orders\" VALUES ({number}, '{quoted}'), ({number + 10}, '{quoted}')")
        receipt = run()
        assert receipt.rows_acked == 2, f"{name}: {receipt}"
        assert json.dumps(receipt.as_dict())
        assert run().rows_read == 0
    assert sorted(zerobus.read(table_name).column("id").to_pylist()) == [0, 1, 2, 10, 11, 12]


def test_rows_within_lag_wait_by_the_clock_of_the_database(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, connect: Connect
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, at TIMESTAMP)")
    execute(
        connect,
        "CREATE TABLE o (id bigint, at timestamptz)",
        "INSERT INTO o VALUES (1, now() - interval '1 hour'), (2, now() - interval '10 seconds')",
        "INSERT INTO o VALUES (3, now() + interval '1 day')",
        "INSERT INTO o VALUES (4, 'infinity'), (5, '-infinity'), (6, NULL)",
    )
    source = NewRows(connect, "SELECT * FROM o", column="at", key="id", lag=600.0)
    receipt = hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json")
    assert receipt.rows_acked == 1
    assert receipt.handoff
    assert receipt.handoff["waiting_rows"] == 2
    assert (receipt.handoff["null_rows"], receipt.handoff["not_finite_rows"]) == (1, 2)
    assert zerobus.read(table_name).column("id").to_pylist() == [1]


def test_a_time_without_zone_is_taken_for_the_earlier_of_utc_and_the_session(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, postgres: Postgres
) -> None:
    """An application that writes UTC into a session of Berlin would lose its lag otherwise."""
    url = postgres.url(postgres.new_database())

    def connect() -> Any:
        return psycopg.connect(url, options="-c TimeZone=Asia/Tokyo")

    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, at TIMESTAMP_NTZ)")
    execute(
        connect,
        "CREATE TABLE o (id bigint, at timestamp)",
        "INSERT INTO o VALUES (1, now() AT TIME ZONE 'UTC' - interval '1 hour'), (2, now() AT TIME ZONE 'UTC')",
    )
    source = NewRows(connect, "SELECT * FROM o", column="at", lag=600.0)
    assert hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json").rows_acked == 1
    stated = NewRows(connect, "SELECT * FROM o", column="at", lag=0.0, clock="now() AT TIME ZONE 'Asia/Tokyo'")
    assert hand_over(zerobus.workspace, table_name, stated, state=tmp_path / "s.json").rows_acked == 1


def test_a_float_that_the_driver_widens_is_refused(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, connect: Connect
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, x DOUBLE)")
    execute(connect, "CREATE TABLE o (id bigint, x real)", "INSERT INTO o VALUES (1, 0.1)")
    source = NewRows(connect, "SELECT * FROM o", column="x", commits_in_order=True)
    with pytest.raises(WatermarkPrecisionError, match=r"CAST\(x AS DOUBLE PRECISION\)"):
        hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()


def test_numeric_nan_does_not_become_the_watermark(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, connect: Connect
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, x DECIMAL(10, 2))")
    execute(
        connect,
        "CREATE TABLE o (id bigint, x numeric)",
        "INSERT INTO o VALUES (1, 1.5), (2, 'NaN'), (3, 2.5), (4, 'Infinity'), (5, '-Infinity')",
    )
    source = NewRows(connect, "SELECT * FROM o", column="x", key="id", commits_in_order=True)
    receipt = hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json")
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["to"], receipt.handoff["not_finite_rows"]) == (2, "2.5", 3)
    assert sorted(zerobus.read(table_name).column("x").to_pylist()) == [Decimal("1.50"), Decimal("2.50")]


def test_an_initial_that_cannot_be_compared_is_refused(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, connect: Connect
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, at TIMESTAMP)")
    execute(connect, "CREATE TABLE o (id bigint, at timestamptz, j json)", "INSERT INTO o VALUES (1, now(), '{}')")
    for options, words in [
        ({"initial": 5}, "holds times"),
        ({"initial": datetime(2026, 1, 1)}, "have a time zone"),
        ({"column": "j", "commits_in_order": True, "lag": None}, "cannot be a watermark|database answered"),
    ]:
        source = NewRows(connect, "SELECT * FROM o", **{"column": "at", "lag": 1.0, **options})  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=words):
            hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()


def test_a_rewind_and_an_explicit_slice_take_times(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, connect: Connect
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, at TIMESTAMP)")
    execute(
        connect,
        "CREATE TABLE o (id bigint, at timestamptz)",
        "INSERT INTO o SELECT n, timestamptz '2026-01-01 00:00+00' + n * interval '1 hour' FROM generate_series(1, 5) n",  # noqa: E501
    )

    def handoff() -> Handoff:
        source = NewRows(connect, "SELECT * FROM o", column="at", key="id", lag=1.0)
        return Handoff(zerobus.workspace, table_name, source, state=tmp_path / "s.json")

    assert handoff().run().rows_acked == 5
    handoff().rewind(datetime(2026, 1, 1, 3, tzinfo=UTC))
    assert handoff().run().rows_acked == 2
    again = handoff().deliver_between("2026-01-01T00:00:00+00:00", "2026-01-01T02:00:00+00:00")
    assert (again.rows_acked, again.rows_redelivered) == (2, 2)
    with pytest.raises(ConfigurationError, match="not a time like those of the column"):
        handoff().rewind("2026-01-01T00:00:00")
    counts = sorted(zerobus.read(table_name).column("id").to_pylist())
    assert counts == [1, 1, 2, 2, 3, 4, 4, 5, 5]


def test_new_rows_of_mariadb(zerobus: LocalZerobus, table_name: str, tmp_path: Path, mariadb: MariaDb) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, changed_at TIMESTAMP_NTZ, note STRING)")
    database = mariadb.new_database()
    now = datetime.now(UTC).replace(tzinfo=None)
    with mariadb.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE o (id BIGINT, changed_at DATETIME(6), note VARCHAR(20))")
        cursor.execute("INSERT INTO o VALUES (1, %s, '100%%'), (2, %s, 'b')", [now - timedelta(hours=1), now])
        connection.commit()
    source = NewRows(
        lambda: mariadb.connect(database),
        "SELECT * FROM o WHERE note LIKE '%'",
        column="changed_at",
        key="id",
        lag=600.0,
    )
    receipt = hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json")
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["waiting_rows"]) == (1, 1)
    assert hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json").rows_read == 0
    assert zerobus.read(table_name).column("note").to_pylist() == ["100%"]


# Type, the oldest value, the newest value, and the newest value in another spelling.
TIES = {
    "bigint": ("bigint", "1", "2", "2"),
    "uuid": (
        "uuid", "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5e-0000-7000-8000-000000000000",
        "01890A5E-0000-7000-8000-000000000000",
    ),
    "numeric": ("numeric", "1.5", "2.5", "2.50"),
    "text": ("text", "a", "b", "b"),
}  # fmt: skip


@pytest.mark.parametrize("name", TIES)
def test_lag_rows_leaves_rows_with_equal_values_of_postgresql(
    name: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path, connect: Connect
) -> None:
    kind, low, high, same = TIES[name]
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    execute(
        connect,
        f"CREATE TABLE o (id bigint, x {kind})",
        f"INSERT INTO o VALUES (1, '{low}'), (2, '{high}'), (3, '{same}'), (4, '{high}'), (5, NULL)",
    )
    source = NewRows(connect, "SELECT * FROM o", column="x", key="id", lag_rows=2)
    chosen = IngestOptions(select=["id"])
    receipt = hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json", options=chosen)
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["waiting_rows"], receipt.handoff["null_rows"]) == (1, 3, 1)
    assert zerobus.read(table_name).column("id").to_pylist() == [1]


def test_lag_rows_leaves_rows_with_equal_values_of_mariadb(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, mariadb: MariaDb
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    database = mariadb.new_database()
    with mariadb.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE o (id BIGINT, x VARCHAR(20) COLLATE utf8mb4_general_ci)")
        cursor.execute("INSERT INTO o VALUES (1, 'a'), (2, 'b'), (3, 'B'), (4, 'b'), (5, NULL)")
        connection.commit()
    source = NewRows(lambda: mariadb.connect(database), "SELECT * FROM o", column="x", key="id", lag_rows=2)
    chosen = IngestOptions(select=["id"])
    receipt = hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json", options=chosen)
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["to"], receipt.handoff["waiting_rows"]) == (1, "a", 3)
