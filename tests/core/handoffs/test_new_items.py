"""New items of an API: from token to token, each once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zerobus_core import ConfigurationError, Handoff, NewItems, hand_over
from zerobus_core.handoffs import Owner
from zerobus_local import LocalZerobus


class Api:
    """Items are numbers; ``stop`` raises in the middle of the records, as an API does that fails."""

    def __init__(self) -> None:
        self.newest = 3
        self.calls: list[tuple[Any, Any]] = []
        self.committed: list[Any] = []
        self.shift = 0
        self.fails_after: int | None = None

    def fetch(self, since: int | None, upto: int | None) -> tuple[Iterator[dict[str, int]], int]:
        self.calls.append((since, upto))
        upto = self.newest if upto is None else upto
        return self.records(since or 0, upto), upto

    def records(self, since: int, upto: int) -> Iterator[dict[str, int]]:
        for number, item in enumerate(range(since + 1, upto + 1)):
            if number == self.fails_after:
                raise ConnectionError("the API went away")
            yield {"id": item + self.shift}


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def table(zerobus: LocalZerobus, table_name: str) -> str:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    return table_name


def ids(zerobus: LocalZerobus, table: str) -> list[int]:
    return sorted(zerobus.read(table).column("id").to_pylist())


def test_each_run_fetches_after_the_last_token(zerobus: LocalZerobus, table: str, tmp_path: Path, api: Api) -> None:
    def run() -> Any:
        return hand_over(zerobus.workspace, table, NewItems(api.fetch), state=tmp_path / "s.json").handoff

    first = run()
    assert (first["from"], first["to"]) == (None, 3)
    assert run()["slice"] is None
    api.newest = 5
    assert (run()["from"], run()["to"]) == (3, 5)
    assert api.calls == [(None, None), (3, None), (3, None), (5, None)]
    assert ids(zerobus, table) == [1, 2, 3, 4, 5]


def test_a_retry_passes_the_frozen_token(zerobus: LocalZerobus, table: str, tmp_path: Path, api: Api) -> None:
    api.fails_after = 2
    with pytest.raises(ConnectionError):
        hand_over(zerobus.workspace, table, NewItems(api.fetch), state=tmp_path / "s.json")
    api.fails_after, api.newest = None, 7
    receipt = hand_over(zerobus.workspace, table, NewItems(api.fetch), state=tmp_path / "s.json")
    assert api.calls == [(None, None), (None, 3), (3, None)]
    assert receipt.handoff
    assert (receipt.handoff["from"], receipt.handoff["to"]) == (None, 7)
    assert set(ids(zerobus, table)) == set(range(1, 8))
    assert len(ids(zerobus, table)) - 7 <= receipt.rows_resent


def test_commit_comes_after_the_state_and_is_repeated_until_it_worked(
    zerobus: LocalZerobus, table: str, tmp_path: Path, api: Api
) -> None:
    state = tmp_path / "s.json"
    outage = True

    def commit(upto: Any) -> None:
        if outage:
            raise ConnectionError("no")
        api.committed.append((upto, Handoff(zerobus.workspace, table, source, state=state).show()["done"]))

    source = NewItems(api.fetch, commit=commit)
    assert hand_over(zerobus.workspace, table, source, state=state).rows_acked == 3, "the rows are durable"
    with pytest.raises(ConnectionError):
        hand_over(zerobus.workspace, table, source, state=state)
    outage = False
    hand_over(zerobus.workspace, table, source, state=state)
    hand_over(zerobus.workspace, table, source, state=state)
    assert api.committed == [(3, 3)]
    api.newest = 4
    hand_over(zerobus.workspace, table, source, state=state)
    assert api.committed == [(3, 3), (4, 4)]
    assert ids(zerobus, table) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "must return"),
        ([{"id": 1}], "must return"),
        (([], object()), "JSON value"),
        (([], float("nan")), "JSON value"),
        (([], (1, 2)), "is not the same after it is written as JSON"),
        (([], "x" * 20_000), "bytes"),
    ],
)
def test_a_bad_answer_is_refused_before_anything_is_frozen(
    zerobus: LocalZerobus, table: str, tmp_path: Path, answer: Any, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        hand_over(zerobus.workspace, table, NewItems(lambda since, upto: answer), state=tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()


def test_another_end_on_a_retry_is_refused(zerobus: LocalZerobus, table: str, tmp_path: Path, api: Api) -> None:
    handoff = Handoff(
        zerobus.workspace, table, NewItems(api.fetch), state=tmp_path / "s.json", owner=Owner(key="r", chain="1")
    )
    handoff.freeze()
    moved = NewItems(lambda since, upto: ([], 99), source_name="Api.fetch")
    with pytest.raises(ConfigurationError, match="every attempt of a slice must return the same records"):
        Handoff(
            zerobus.workspace, table, moved, state=tmp_path / "s.json", owner=Owner(key="r", chain="1")
        ).run()  # fmt: skip


def test_a_rewind_and_an_explicit_slice_take_tokens(
    zerobus: LocalZerobus, table: str, tmp_path: Path, api: Api
) -> None:
    def handoff() -> Handoff:
        return Handoff(zerobus.workspace, table, NewItems(api.fetch), state=tmp_path / "s.json")

    handoff().run()
    handoff().rewind("1")
    assert handoff().run().rows_acked == 2
    receipt = handoff().deliver_between(0, "2")
    assert (receipt.rows_acked, receipt.rows_redelivered) == (2, 2)
    assert handoff().show()["done"] == 3
    assert ids(zerobus, table) == [1, 1, 2, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("initial", "masked"),
    [("secret", "(a token)"), ({"cursor": "secret"}, "(a token)"), (["secret"], "(a token)"), (7, 7), (None, None)],
)
def test_a_token_is_masked_in_logs_and_in_show(
    zerobus: LocalZerobus, table: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, initial: Any, masked: Any
) -> None:
    source = NewItems(lambda since, _: ([], since), initial=initial, source_name="quiet")
    for position in (None, source.parsed(json.dumps(initial))):
        assert source.shown(position) == initial
        assert source.shown(position, values=False) == masked
    handoff = Handoff(zerobus.workspace, table, source, state=tmp_path / "s.json")
    with caplog.at_level(logging.DEBUG, "zerobus_core"):
        assert handoff.run().rows_read == 0
    assert "no item is" in caplog.text
    assert "secret" not in caplog.text
    assert handoff.show()["done"] == masked
