"""Bad input: a named error before anything is frozen or sent, and a state that stays as it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zerobus_core import ConfigurationError, NewFiles, NewItems, NewRows, hand_over
from zerobus_core.errors import HandoffStateError
from zerobus_local import LocalZerobus


class World:
    """A folder and a database, of which one slice each was delivered; and then something is new in both."""

    def __init__(self, zerobus: LocalZerobus, table: str, folder: Path) -> None:
        self.zerobus, self.table, self.folder = zerobus, table, folder
        zerobus.create_table(f"CREATE TABLE {table} (id BIGINT, at STRING, payload STRING)")
        zerobus.create_table(f"CREATE TABLE {table}_b (id BIGINT, at STRING, payload STRING)")
        self.connection = sqlite3.connect(folder / "orders.db")
        self.connection.execute("CREATE TABLE orders (id INTEGER, at TEXT, payload TEXT)")
        (folder / "landing").mkdir()
        self.grow(1)
        self.run(self.files(), "files.json")
        self.run(self.rows(), "rows.json")
        self.grow(2)
        self.before = self.everything()

    def grow(self, number: int) -> None:
        (self.folder / "landing" / f"{number}.jsonl").write_text(json.dumps({"id": number}) + "\n")
        self.connection.execute("INSERT INTO orders VALUES (?, ?, NULL)", (number, f"2026-01-0{number}"))
        self.connection.commit()

    def files(self, glob: str = "landing/*.jsonl", **options: Any) -> NewFiles:
        return NewFiles(f"{self.folder}/{glob}" if glob.startswith("landing") else glob, **options)

    def rows(self, query: str = "SELECT * FROM orders", **options: Any) -> NewRows:
        chosen = {"column": "at", "key": "id", "commits_in_order": True, **options}
        return NewRows(lambda: sqlite3.connect(self.folder / "orders.db"), query, **chosen)

    def run(self, source: Any, state: str, **options: Any) -> Any:
        table = options.pop("table", self.table)
        return hand_over(self.zerobus.workspace, table, source, state=self.folder / state, **options)

    def change_state(self, state: str, change: Callable[[str], str]) -> None:
        (self.folder / state).write_text(change((self.folder / state).read_text()))
        self.before = self.everything()

    def everything(self) -> tuple[dict[str, bytes], int]:
        """What the handoffs keep, and how many rows the tables hold."""
        kept = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and ".json" in str(path.relative_to(self.folder)) and "landing" not in path.parts
        }
        tables = (self.table, f"{self.table}_b")
        return kept, sum(self.zerobus.read(table).num_rows for table in tables)


@pytest.fixture
def world(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> Any:
    one = World(zerobus, table_name, tmp_path)
    yield one
    one.connection.close()


def in_the_future(text: str) -> str:
    return json.dumps({**json.loads(text), "written_at": "2099-01-01T00:00:00+00:00"})


BAD: dict[str, tuple[Callable[[World], Any], type[Exception], str]] = {
    "a column that is not there": (
        lambda world: world.run(world.rows(column="changed"), "new.json"),
        ConfigurationError,
        r"'changed' is not a column of the query, which has 'id', 'at', 'payload'",
    ),
    "a key that is not there": (
        lambda world: world.run(world.rows(key="number"), "new.json"),
        ConfigurationError,
        r"key 'number' is not a column",
    ),
    "a column that is not comparable": (
        lambda world: world.run(
            NewRows(duckdb.connect, "SELECT 1 AS id, true AS c", column="c", commits_in_order=True), "new.json"
        ),
        ConfigurationError,
        r"column 'c' has values of type bool, which cannot be a watermark",
    ),
    "an initial of another type": (
        lambda world: world.run(world.rows(initial=5), "new.json"),
        ConfigurationError,
        r"column 'at' holds text, which cannot be compared",
    ),
    "a watermark of another type than the state's": (
        lambda world: (
            world.connection.executescript("DROP TABLE orders; CREATE TABLE orders (id INTEGER, at INTEGER, payload);"),
            world.connection.execute("INSERT INTO orders VALUES (3, 3, NULL)"),
            world.connection.commit(),
            world.run(world.rows(), "rows.json"),
        ),
        ConfigurationError,
        r"column 'at' holds numbers, which cannot be compared",
    ),
    "two sources with one state": (
        lambda world: world.run(world.files("landing/*.csv"), "files.json"),
        ConfigurationError,
        r"belongs to another source of files",
    ),
    "two queries with one state": (
        lambda world: world.run(world.rows(column="id"), "rows.json"),
        ConfigurationError,
        r"belongs to another source of rows",
    ),
    "a state of another table": (
        lambda world: world.run(world.files(), "files.json", table=f"{world.table}_b"),
        ConfigurationError,
        r"belongs to table",
    ),
    "a state of another handoff": (
        lambda world: world.run(world.files(), "files.json", name="other"),
        ConfigurationError,
        r"belongs to handoff 'files', not 'other'",
    ),
    "a state of another kind of source": (
        lambda world: world.run(NewItems(lambda since, upto: ([], 1)), "files.json"),
        ConfigurationError,
        r"belongs to a source of files, but this is a source of items",
    ),
    "a damaged state": (
        lambda world: (
            world.change_state("files.json", lambda text: text[:-20]), world.run(world.files(), "files.json")
        ),
        HandoffStateError,
        r"cannot be used: it is not valid JSON",
    ),
    "a state that another release wrote": (
        lambda world: (
            world.change_state("rows.json", lambda text: text.replace('"version": 1', '"version": 9')),
            world.run(world.rows(), "rows.json"),
        ),
        HandoffStateError,
        r"has version 9, but this release reads version 1",
    ),
    "a clock in the future": (
        lambda world: (world.change_state("rows.json", in_the_future), world.run(world.rows(), "rows.json")),
        HandoffStateError,
        r"later than this machine's clock",
    ),
    "a glob without a fixed part": (
        lambda world: world.run(world.files("**/*.jsonl"), "new.json"),
        ConfigurationError,
        r"has no fixed part",
    ),
    "a negative lag": (
        lambda world: world.run(world.rows(lag=-1.0, commits_in_order=False), "rows.json"),
        ConfigurationError,
        r"lag must be",
    ),
    "a lag for a column that is not a time": (
        lambda world: world.run(world.rows(lag=5.0), "rows.json"),
        ConfigurationError,
        r"holds no times, so lag=5 does not apply to it",
    ),
    "a negative settle": (
        lambda world: world.run(world.files(settle=-1), "files.json"),
        ConfigurationError,
        r"settle must be",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_by_name_and_freezes_and_sends_nothing(what: str, world: World) -> None:
    run, kind, words = BAD[what]
    with pytest.raises(ConfigurationError, match=words) as caught:
        run(world)
    assert type(caught.value) is kind
    assert not caught.value.retryable
    assert world.everything() == world.before
