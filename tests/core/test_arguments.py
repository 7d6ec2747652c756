"""The public calls with every wrong argument: an error of ours that names the right form, and nothing from inside."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zerobus_core
from zerobus_core import (
    ClientCredentials,
    ConfigurationError,
    FederatedCredentials,
    FileCheckpointStore,
    IngestOptions,
    NewFiles,
    NewItems,
    NewRows,
    StreamManager,
    TableSchema,
    Workspace,
    ZerobusIngestError,
    aingest,
    hand_over,
    ingest,
)
from zerobus_local import LocalZerobus


class Hollow:
    """An object without anything."""


WRONG: dict[str, Any] = {
    "None": None, "a number": 5, "a float": 0.5, "True": True, "text": "x", "empty text": "", "bytes": b"x",
    "a list": ["x"], "a dict": {"x": 1}, "a dict of numbers": {1: 2}, "a set": {1}, "an object": Hollow(),
    "a class": Hollow, "a function": Hollow.__init__, "a tuple": (1, 2), "a generator": (n for n in ()),
}  # fmt: skip


@pytest.fixture
def table(zerobus: LocalZerobus, table_name: str) -> str:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    return table_name


def awaited(*arguments: Any, **named: Any) -> Any:
    return asyncio.run(aingest(*arguments, **named))


def managed(workspace: Any, table: Any, records: Any, **named: Any) -> Any:
    with StreamManager(workspace, table, **named) as streams:
        streams.send(records)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (call, name)
        for call in (ingest, awaited, managed)
        for name in ("workspace", "table", "records", "options", "checkpoint", "on_progress", "stop")
        if call is not managed or name not in {"checkpoint", "stop"}
    ],
)
def test_a_wrong_argument_of_a_delivery_is_an_error_of_ours(  # noqa: PLR0917 - fixtures
    zerobus: LocalZerobus, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    call: Callable[..., Any], name: str, wrong: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)  # a text is the path of a checkpoint
    given = {"workspace": zerobus.workspace, "table": table, "records": [{"id": 1}]} | {name: WRONG[wrong]}
    with contextlib.suppress(ZerobusIngestError):
        call(given.pop("workspace"), given.pop("table"), given.pop("records"), **given)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    "name", ["workspace", "table", "source", "state", "name", "options", "on_busy", "on_progress", "stop"]
)
def test_a_wrong_argument_of_a_handoff_is_an_error_of_ours(
    zerobus: LocalZerobus, table: str, tmp_path: Path, name: str, wrong: str
) -> None:
    given = {"workspace": zerobus.workspace, "table": table, "source": NewFiles(str(tmp_path / "*.jsonl"))}
    with contextlib.suppress(ZerobusIngestError), contextlib.chdir(tmp_path):
        hand_over(**{**given, "state": tmp_path / "state.json", name: WRONG[wrong]})  # type: ignore[arg-type]


ALONE: dict[str, Callable[[Any], Any]] = {
    "endpoint": lambda value: Workspace(endpoint=value, workspace_url="w", credentials=None),  # type: ignore[arg-type]
    "workspace_url": lambda value: Workspace(
        endpoint="http://127.0.0.1:1",
        workspace_url=value,
        credentials=ClientCredentials(client_id="a", client_secret="b"),
    ),
    "credentials": lambda value: Workspace(
        endpoint="http://127.0.0.1:1", workspace_url="http://127.0.0.1:1", credentials=value
    ),
    "client_id": lambda value: ClientCredentials(client_id=value, client_secret="b"),
    "client_secret": lambda value: ClientCredentials(client_id="a", client_secret=value),
    "token_supplier": lambda value: FederatedCredentials(token_supplier=value),
    "environ": lambda value: Workspace.from_env(value if value is not None else {}),
    "from_mapping": IngestOptions.from_mapping,
    "from_sql": TableSchema.from_sql,
    "NewFiles": NewFiles,
    "NewItems": NewItems,
    "NewRows": lambda value: NewRows(value, value, column=value, key=value, lag=value),
    "FileCheckpointStore": FileCheckpointStore,
} | {
    f"IngestOptions.{name}": lambda value, name=name: IngestOptions(**{name: value})  # type: ignore[misc]
    for name in IngestOptions.__dataclass_fields__
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", ALONE)
def test_a_wrong_value_of_a_public_class_is_an_error_of_ours(name: str, wrong: str) -> None:
    with contextlib.suppress(ZerobusIngestError):
        ALONE[name](WRONG[wrong])


def test_what_a_person_guesses_first_works(zerobus: LocalZerobus, table: str, tmp_path: Path) -> None:
    receipt = ingest(zerobus, table, [{"id": 1}], options={"streams": 2}, checkpoint=tmp_path / "x.ck")  # type: ignore[arg-type]
    assert receipt.rows_acked == 1
    assert ingest(zerobus, table, [{"id": 1}], checkpoint=str(tmp_path / "x.ck")).rows_skipped == 1  # type: ignore[arg-type]
    with StreamManager(zerobus, table, options={"streams": 2}) as streams:  # type: ignore[arg-type]
        streams.send([{"id": 2}])
    assert streams.receipt.rows_acked == 1


GOLDEN: list[tuple[dict[str, Any], str]] = [
    ({"workspace": "https://dbc-1"}, "workspace must be a Workspace, not str; pass Workspace.from_env()"),
    ({"workspace": LocalZerobus}, "workspace must be a Workspace, not the class LocalZerobus"),
    ({"table": None}, 'table must be a name such as "main.default.flights", not None'),
    ({"options": "streams=2"}, "options must be IngestOptions or a mapping of its fields"),
    ({"options": {"stream": 2}}, "no such ingest option: stream"),
    ({"options": {"streams": "2"}}, "IngestOptions.streams must be a whole number from 1 to 64, not '2'"),
    ({"checkpoint": 5}, "checkpoint must be a path, a URI or a checkpoint store (epoch, load, save), not int"),
    ({"on_progress": "x"}, "on_progress must be a function of one argument, not str"),
    ({"stop": asyncio.Event()}, "stop must be a threading.Event, not asyncio.locks.Event"),
    ({"stop": threading.Event}, "stop must be a threading.Event, not the class Event"),
    ({"records": {"id": 1}}, "records is a dict, which is one record; pass a list of records: [record]"),
    ({"options": {"extra_columns": "keep"}}, '.extra_columns must be "error", "drop", "variant:COLUMN" or "rescue"'),
    ({"options": {"extra_columns": "variant:rest"}}, "column 'rest', which the table does not have; use a VARIANT"),
    (
        {"options": {"constants": {"id": 1}}},
        "options.constants fills 'id', which the source also has; leave the source's column out with drop",
    ),
    ({"options": {"select": "id"}}, "IngestOptions.select must be a list of names of columns, not 'id'"),
    ({"options": {"select": ["a"], "drop": ["a"]}}, "IngestOptions.select must be a list that does not contain 'a'"),
    ({"options": {"rename": {"a": "x", "b": "x"}}}, "rename must be a mapping that gives each column a different name"),
    ({"options": {"transform": "clean"}}, 'transform must be a function of one row, or "package.module:function"'),
    ({"options": {"transform": "no_such:clean"}}, "'no_such:clean' cannot be imported: No module named 'no_such'"),
    ({"options": {"transform_version": "1"}}, "transform_version must be omitted if there is no transform"),
    ({"options": {"format": "xml"}}, "IngestOptions.format must be one of arrow, avro, csv, excel, json, jsonl"),
    ({"options": {"format": {"type": "parquet", "sheet": "a"}}}, "the format parquet has no options; leave out sheet"),
    ({"options": {"format": {"type": "excel", "sheet": 1}}}, "ExcelFormat.sheet must be the name of a sheet, or None"),
    ({"options": {"format": "parquet"}}, "options.format applies only to files, but records is of type"),
    ({"records": None}, "records is None (did the function that makes it return nothing?)"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), GOLDEN)
def test_wrong_calls_have_these_messages(
    zerobus: LocalZerobus, table: str, wrong: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"workspace": zerobus.workspace, "table": table, "records": [{"id": 1}]} | wrong
    with pytest.raises(ConfigurationError) as refused:
        ingest(given.pop("workspace"), given.pop("table"), given.pop("records"), **given)
    assert message in str(refused.value)


def test_every_public_name_has_a_help_text() -> None:
    for name in zerobus_core.__all__:
        assert (getattr(zerobus_core, name).__doc__ or "").strip(), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"endpoint": 5}, "endpoint must be text, not a value of type int"),
        ({"endpoint": None}, "endpoint is empty"),
        ({"workspace_url": b"http://127.0.0.1"}, "workspace_url must be text, not a value of type bytes"),
        ({"workspace_url": " "}, "workspace_url is empty"),
    ],
)
def test_a_missing_url_is_called_empty_and_another_type_is_named(changes: Any, message: str) -> None:
    parts = {"endpoint": "http://127.0.0.1:9", "workspace_url": "http://127.0.0.1:8"}
    credentials = ClientCredentials(client_id="a", client_secret="b")
    with pytest.raises(ConfigurationError, match=message):
        Workspace(**parts | changes, credentials=credentials)


@pytest.mark.parametrize(("secret", "message"), [(5, "must be text, not a value of type int"), (None, "is empty")])
def test_a_missing_secret_is_called_empty_and_another_type_is_named(secret: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"client_secret {message}"):
        ClientCredentials(client_id="a", client_secret=secret)
