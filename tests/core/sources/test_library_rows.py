"""Results, cursors, rows and frames as the libraries hand them out, and what to pass where that is not rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import ConfigurationError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus

ROWS = [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}]
QUERY = "SELECT 1 AS id, 'a' AS n UNION ALL SELECT 2, 'b'"


class Base(orm.DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    n: orm.Mapped[str]


@pytest.fixture
def session() -> Iterator[orm.Session]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    Base.metadata.create_all(engine)
    with orm.Session(engine) as opened:
        opened.add_all([Thing(**row) for row in ROWS])
        opened.flush()
        yield opened
    engine.dispose()


def read(records: Any) -> list[Any]:
    chunks = source_of(records, IngestOptions(batch_rows=1)).chunks(RowRanges())
    return [row for chunk in chunks for row in (chunk.rows if isinstance(chunk.rows, list) else chunk.rows.to_pylist())]


RESULTS: dict[str, Any] = {
    "execute": lambda s: s.execute(sa.text(QUERY)),
    "yield_per": lambda s: s.execute(sa.text(QUERY).execution_options(yield_per=1)),
    "mappings": lambda s: s.execute(sa.text(QUERY)).mappings(),
    "all": lambda s: s.execute(sa.text(QUERY)).all(),
    "mappings().all": lambda s: s.execute(sa.text(QUERY)).mappings().all(),
    "partitions, flattened": lambda s: (row for part in s.execute(sa.text(QUERY)).partitions(1) for row in part),
    "a select of columns": lambda s: s.execute(sa.select(Thing.id, Thing.n).order_by(Thing.id)),
    "scalars": lambda s: s.scalars(sa.select(Thing).order_by(Thing.id)),
    "execute().scalars": lambda s: s.execute(sa.select(Thing).order_by(Thing.id)).scalars(),
    "scalars().all": lambda s: s.scalars(sa.select(Thing).order_by(Thing.id)).all(),
    "query": lambda s: s.query(Thing).order_by(Thing.id),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_every_row_of_a_result_of_sqlalchemy_arrives(
    zerobus: LocalZerobus, table_name: str, session: orm.Session, kind: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, n STRING)")
    assert ingest(zerobus.workspace, table_name, RESULTS[kind](session)).rows_acked == 2
    assert sorted(zerobus.read(table_name).to_pylist(), key=lambda row: row["id"]) == ROWS


@pytest.mark.parametrize("kind", ["execute", "mappings", "scalars"])
def test_a_result_that_was_given_to_an_earlier_delivery_is_refused(session: orm.Session, kind: str) -> None:
    result = RESULTS[kind](session)
    next(source_of(result, IngestOptions(batch_rows=1)).chunks(RowRanges()))
    with pytest.raises(ConfigurationError, match="given to an earlier delivery"):
        source_of(result, IngestOptions())


def test_rows_that_hold_one_object_each_name_scalars(session: orm.Session) -> None:
    with pytest.raises(ConfigurationError, match=r"one Thing in it; pass result.scalars\(\)"):
        read(session.execute(sa.select(Thing)))


def test_rows_of_sqlite_with_names_are_records_and_tuples_are_not() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(ConfigurationError, match="values without names; pass the cursor itself"):
        read(connection.execute(QUERY).fetchall())
    assert read(connection.execute(QUERY)) == ROWS
    connection.row_factory = sqlite3.Row
    assert list(map(dict, read(connection.execute(QUERY).fetchall()))) == ROWS
    assert list(map(dict, read(row for row in connection.execute(QUERY)))) == ROWS
    connection.close()


def test_a_relation_of_duckdb_is_read_again_by_each_delivery() -> None:
    with duckdb.connect() as connection:
        relation = connection.sql(QUERY)
        assert read(relation) == read(relation) == ROWS


def test_a_lazy_frame_is_computed_in_batches_whenever_it_is_read() -> None:
    class Lazy(pl.LazyFrame):
        pass

    frame = pl.LazyFrame({"id": [1, 2], "n": ["a", "b"]})
    assert read(frame) == read(frame.filter(pl.col("id") > 0)) == ROWS
    assert read(Lazy({"id": [1, 2], "n": ["a", "b"]})) == ROWS
    assert source_of(frame, IngestOptions()).is_arrow


def test_batches_and_frames_that_come_one_after_the_other_are_read() -> None:
    table = pa.Table.from_pylist(ROWS)
    assert read(batch for batch in table.to_batches(max_chunksize=1)) == ROWS
    assert read(iter([pl.DataFrame(ROWS[:1]), pl.DataFrame(ROWS[1:])])) == ROWS


@pytest.mark.parametrize("pages", [[ROWS, ROWS], [tuple(ROWS)], (page for page in [ROWS]), [iter(ROWS)], [[], ROWS]])
def test_pages_of_rows_are_refused_and_the_message_flattens_them(pages: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"\(row for page in records for row in page\)"):
        read(pages)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (dict, "records is the class dict"),
        (Thing, "records is the class Thing"),
        (read, "records is the function read; pass what it returns"),
        ([1], "the first record is of type builtins.int"),
        ([(1, "a")], "values without names"),
        ([None], "None"),
    ],
)
def test_what_is_no_rows_is_named(records: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(records)
