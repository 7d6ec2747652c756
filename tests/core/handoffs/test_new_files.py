"""New files: each is delivered once, whatever comes, changes or goes in between."""

from __future__ import annotations

import json
import os
import pickle
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zerobus_core import ConfigurationError, Handoff, IngestOptions, NewFiles, Receipt, TransportError, hand_over
from zerobus_core.errors import (
    DeliveredFileChangedError,
    FrozenFileError,
    HandoffBusyError,
    HandoffStateError,
    SliceForgottenError,
    ZerobusIngestError,
)
from zerobus_core.handoffs import FileStateStore, Owner, StateConflict
from zerobus_core.handoffs.freezing import open_slice
from zerobus_core.ranges import RowRanges
from zerobus_local import LocalZerobus


class Landing:
    """A folder of files, a table, and a state."""

    def __init__(self, zerobus: LocalZerobus, table: str, folder: Path) -> None:
        self.zerobus, self.table, self.folder = zerobus, table, folder
        zerobus.create_table(f"CREATE TABLE {table} (id BIGINT, note STRING)")
        self.landing = folder / "landing"
        self.landing.mkdir()
        self.state = folder / "state" / "orders.handoff.json"

    def write(self, name: str, *ids: int, note: str = "x") -> Path:
        path = self.landing / name
        path.parent.mkdir(exist_ok=True, parents=True)
        pq.write_table(pa.table({"id": pa.array(ids, pa.int64()), "note": [note] * len(ids)}), path)
        return path

    def source(self, **options: Any) -> NewFiles:
        return NewFiles(self.landing / "**" / "*.parquet", **options)

    def handoff(self, owner: Owner | None = None, **options: Any) -> Handoff:
        return Handoff(self.zerobus.workspace, self.table, self.source(**options), state=self.state, owner=owner)

    def run(self, **options: Any) -> Receipt:
        return hand_over(self.zerobus.workspace, self.table, self.source(**options), state=self.state)

    def ids(self) -> list[int]:
        return sorted(self.zerobus.read(self.table).column("id").to_pylist())


@pytest.fixture
def landing(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> Landing:
    return Landing(zerobus, table_name, tmp_path)


def test_each_run_delivers_the_files_that_are_new(landing: Landing) -> None:
    landing.write("a.parquet", 1, 2)
    landing.write("sub/b.parquet", 3)
    receipt = landing.run()
    assert receipt.rows_acked == 3
    assert receipt.handoff is not None
    assert receipt.handoff["files"] == 2
    assert (receipt.handoff["from"], receipt.handoff["to"], receipt.handoff["remaining"]) == (0, 2, False)
    assert receipt.handoff["name"] == "orders"
    assert json.dumps(receipt.as_dict())
    again = landing.run()
    assert (again.rows_read, again.handoff and again.handoff["slice"]) == (0, None)
    landing.write("a2.parquet", 4)
    assert landing.run().rows_acked == 1
    assert landing.ids() == [1, 2, 3, 4]


def test_nothing_there_yet_is_no_error_and_leaves_no_state(landing: Landing) -> None:
    receipt = landing.run()
    assert receipt.rows_read == 0
    assert not landing.state.exists()


def test_a_slice_is_bounded_by_files_and_bytes(landing: Landing) -> None:
    sizes = [landing.write(f"{name}.parquet", number).stat().st_size for number, name in enumerate("abcd")]
    first = landing.run(max_files=2)
    assert first.handoff
    assert (first.handoff["files"], first.handoff["remaining"]) == (2, True)
    second = landing.run(max_bytes=sizes[2] + 1)
    assert second.handoff
    assert (second.handoff["files"], second.handoff["remaining"]) == (1, True)
    third = landing.run(max_bytes=1)
    assert third.handoff
    assert (third.handoff["files"], third.handoff["remaining"]) == (1, False)
    assert landing.ids() == [0, 1, 2, 3]


def test_the_state_and_what_lies_next_to_it_are_private_and_free_of_litter(landing: Landing) -> None:
    for name in "abc":
        landing.write(f"{name}.parquet", 1)
        landing.run()
    side = landing.state.with_name("orders.handoff.json.d")
    assert stat.S_IMODE(landing.state.stat().st_mode) == 0o600
    assert stat.S_IMODE(side.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in side.glob("*.ledger")} == {0o600}
    assert len(list(side.glob("*.ledger"))) == 1
    text = landing.state.read_text()
    assert "landing" in text
    assert "endpoint" not in text


def test_a_delivered_file_that_changed_stops_the_run_by_name(landing: Landing) -> None:
    landing.write("a.parquet", 1)
    landing.run()
    landing.write("a.parquet", 10, 11)
    landing.write("b.parquet", 2)
    before = landing.state.read_text()
    with pytest.raises(DeliveredFileChangedError, match=r"a\.parquet"):
        landing.run()
    assert landing.state.read_text() == before
    assert landing.run(on_changed="ignore").rows_acked == 1
    assert landing.ids() == [1, 2]
    assert landing.run(on_changed="deliver").rows_acked == 2
    assert landing.run().rows_read == 0
    assert landing.ids() == [1, 2, 10, 11]


def test_a_delivered_file_that_changed_can_be_released(landing: Landing) -> None:
    landing.write("a.parquet", 1)
    landing.run()
    path = landing.write("a.parquet", 10, 11)
    landing.handoff().release("a.parquet")
    assert landing.run().rows_read == 0
    landing.write("a.parquet", 12)
    with pytest.raises(DeliveredFileChangedError):
        landing.run()
    landing.handoff().release(str(path))
    assert landing.run().rows_read == 0
    assert [past["outcome"] for past in landing.handoff().show()["history"]] == ["delivered", "released", "released"]


def test_links_and_modes_do_not_make_a_file_another_one(landing: Landing) -> None:
    path = landing.write("a.parquet", 1)
    landing.run()
    path.chmod(0o600)
    os.link(path, landing.folder / "other-name")
    assert landing.run().rows_read == 0


def fail_once(landing: Landing, *ids: int) -> tuple[Handoff, str]:
    """Leaves an open slice behind: one of its files is damaged."""
    landing.write("a.parquet", *ids)
    (landing.landing / "b.parquet").write_bytes(b"PAR1 and nothing else")
    handoff = landing.handoff()
    bounds = handoff.freeze()
    assert bounds is not None
    with pytest.raises(ConfigurationError, match=r"b\.parquet"):
        handoff.deliver()
    return handoff, bounds.id


def test_a_damaged_file_is_released_and_its_repaired_version_is_new(landing: Landing) -> None:
    fail_once(landing, 1, 2)
    with pytest.raises(ConfigurationError, match=r"b\.parquet"):
        landing.run()
    landing.handoff().release("b.parquet")
    receipt = landing.run()
    assert set(landing.ids()) == {1, 2}
    assert len(landing.ids()) - 2 <= receipt.rows_resent
    landing.write("b.parquet", 3)
    assert landing.run().rows_acked == 1
    assert set(landing.ids()) == {1, 2, 3}


def test_a_slice_can_be_skipped_and_stays_in_the_history(landing: Landing) -> None:
    _, slice_id = fail_once(landing, 1, 2)
    with pytest.raises(SliceForgottenError, match="not open"):
        landing.handoff().skip("000009-x")
    landing.handoff().skip(slice_id)
    assert landing.run().rows_read == 0
    past = landing.handoff().show()["history"][-1]
    assert (past["slice"], past["outcome"]) == (slice_id, "skipped")


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_a_frozen_file_that_is_gone_or_changed_is_named_and_nothing_is_skipped(landing: Landing, change: str) -> None:
    landing.write("a.parquet", 1)
    path = landing.write("b.parquet", 2)
    handoff = landing.handoff()
    handoff.freeze()
    content = path.read_bytes()
    if change == "gone":
        path.unlink()
    else:
        landing.write("b.parquet", 20, 21)
    with pytest.raises(FrozenFileError, match=rf"1 {change} \(b\.parquet\)"):
        handoff.deliver()
    assert landing.ids() == []
    if change == "gone":
        handoff = landing.handoff()
        handoff.release("b.parquet")
        assert landing.run().rows_acked == 1
        path.write_bytes(content)
        assert landing.run().rows_acked == 1, "another version of the file is new"


def test_a_frozen_path_that_the_glob_does_not_match_is_refused(landing: Landing) -> None:
    landing.write("a.parquet", 1)
    handoff = landing.handoff()
    bounds = handoff.freeze()
    assert bounds is not None
    frozen = landing.state.with_name("orders.handoff.json.d") / f"{bounds.id}.files.json"
    for path in ("../state/orders.handoff.json", "a.csv", "_a.parquet"):
        plain = json.loads(frozen.read_text())
        plain["files"][0][0] = path
        frozen.write_text(json.dumps(plain))
        with pytest.raises(FrozenFileError, match="does not match"):
            handoff.deliver()


def test_a_file_must_be_left_alone_for_as_long_as_settle_says(landing: Landing) -> None:
    path = landing.write("a.parquet", 1)
    receipt = landing.run(settle=3600)
    assert receipt.rows_read == 0
    assert receipt.handoff
    assert receipt.handoff["unsettled"] == 1
    old = path.stat().st_mtime - 4000
    os.utime(path, (old, old))
    landing.write("b.parquet", 2)
    receipt = landing.run(settle=3600)
    assert landing.ids() == [1]
    assert receipt.handoff
    assert receipt.handoff["unsettled"] == 1
    os.utime(landing.landing / "b.parquet", (2**33, 2**33))
    assert landing.run(settle=1).rows_read == 0, "a time in the future is not settled"


def test_names_that_increase_keep_the_last_name_only(landing: Landing) -> None:
    landing.write("2026-01-01.parquet", 1)
    landing.write("2026-01-02.parquet", 2)
    receipt = landing.run(names_increase=True)
    assert receipt.handoff
    assert (receipt.handoff["from"], receipt.handoff["to"]) == (None, "2026-01-02.parquet")
    landing.write("2026-01-01b.parquet", 9)
    landing.write("2026-01-03.parquet", 3)
    young = landing.write("2026-01-04.parquet", 4)
    landing.write("2026-01-05.parquet", 5)
    for number, name in enumerate(("2026-01-03", "2026-01-05")):
        os.utime(landing.landing / f"{name}.parquet", (number, number))
    landing.run(names_increase=True, settle=3600)
    assert landing.ids() == [1, 2, 3], "a file behind one that is not settled waits for it"
    os.utime(young, (1, 1))
    landing.run(names_increase=True, settle=3600)
    assert landing.ids() == [1, 2, 3, 4, 5]
    assert not list(landing.state.with_name("orders.handoff.json.d").glob("*.ledger"))


def test_a_rewind_makes_slices_new_again(landing: Landing) -> None:
    for number, name in enumerate("abc"):
        landing.write(f"{name}.parquet", number)
        landing.run()
    history = landing.handoff().show()["history"]
    landing.handoff().rewind(history[1]["slice"])
    assert landing.run().rows_acked == 2
    assert landing.ids() == [0, 1, 1, 2, 2]
    landing.handoff().rewind("start")
    assert landing.run().rows_acked == 3
    with pytest.raises(ConfigurationError, match="cannot rewind to 'yesterday'"):
        landing.handoff().rewind("yesterday")


def test_an_explicit_slice_leaves_the_state_alone(landing: Landing) -> None:
    for number, name in enumerate("abcd"):
        landing.write(f"{name}.parquet", number)
    landing.run()
    before = landing.state.read_bytes()
    receipt = landing.handoff().deliver_between("a.parquet", "c.parquet")
    assert (receipt.rows_acked, receipt.rows_redelivered) == (2, 2)
    assert landing.state.read_bytes() == before
    assert landing.ids() == [0, 1, 1, 2, 2, 3]
    with pytest.raises(ConfigurationError, match="holds no file"):
        landing.handoff().deliver_between("x", "z")


def test_the_slice_of_another_run_that_has_ended_is_delivered_first(landing: Landing) -> None:
    landing.write("a.parquet", 1)
    dead = Owner(key="dag/run1/task")
    handoff = landing.handoff(dead)
    handoff.freeze()
    landing.write("b.parquet", 2)
    with pytest.raises(HandoffBusyError, match="dag/run1/task"):
        landing.run()
    assert hand_over(
        landing.zerobus.workspace, landing.table, landing.source(), state=landing.state, on_busy="skip"
    ).handoff
    handoff._forget_work()  # as if its process had ended
    receipt = landing.run()
    assert receipt.handoff
    assert len(receipt.handoff["slices"]) == 2
    assert (receipt.rows_acked, receipt.handoff["files"], receipt.handoff["from"]) == (2, 2, 0)
    assert landing.ids() == [1, 2]


def test_a_retry_gets_its_own_slice_and_a_cleared_run_sends_it_again(landing: Landing) -> None:
    owner = Owner(key="dag/run1/task", chain="1")
    landing.write("a.parquet", 1)
    assert landing.handoff(owner).run().rows_acked == 1
    landing.write("b.parquet", 2)
    retry = landing.handoff(owner).run()
    assert (retry.rows_read, retry.handoff and retry.handoff["delivered_by"]) == (0, owner.key)
    assert landing.ids() == [1]
    cleared = Owner(key="dag/run1/task", chain="2")
    before = landing.handoff().show()
    again = landing.handoff(cleared).run()
    assert (again.rows_acked, again.rows_redelivered) == (1, 1)
    after = landing.handoff().show()
    assert (after["done"], after["open"]) == (before["done"], before["open"])
    assert landing.handoff(cleared).run().rows_read == 0
    assert landing.ids() == [1, 1]
    assert landing.run().rows_acked == 1


def test_a_redelivery_that_fails_says_which_slice_is_there_twice(landing: Landing) -> None:
    """No receipt counts these rows: the error must."""
    landing.write("a.parquet", 1, 2, 3)
    landing.write("b.parquet", 4, 5, 6)
    assert landing.handoff(Owner(key="dag/run1/task", chain="1")).run().rows_acked == 6
    landing.zerobus.faults.add(action="fail", status="INVALID_ARGUMENT", message=5, table=landing.table)
    again = Handoff(
        landing.zerobus.workspace,
        landing.table,
        landing.source(),
        state=landing.state,
        options=IngestOptions(batch_rows=1),
        owner=Owner(key="dag/run1/task", chain="2"),
    )
    with pytest.raises(ZerobusIngestError) as e:
        again.run()
    error = pickle.loads(pickle.dumps(e.value))
    (past,) = landing.handoff().show()["history"]
    assert error.redelivered_slice == past["slice"]
    assert error.counts.rows_acked == 5
    assert f"slice {past['slice']} was being sent again: its acknowledged rows are in the table twice" in str(error)
    assert landing.ids() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]


def test_a_run_whose_slice_has_left_the_history_is_refused(landing: Landing) -> None:
    owner = Owner(key="dag/run1/task", chain="1")
    landing.write("0.parquet", 0)
    landing.handoff(owner).run()
    for number in range(1, 22):
        landing.write(f"{number}.parquet", number)
        landing.handoff(Owner(key=f"run{number}")).run()
    with pytest.raises(SliceForgottenError, match="--from and --to"):
        landing.handoff(Owner(key="dag/run1/task", chain="2")).run()
    assert landing.ids() == list(range(22))
    kept = {path.name for path in landing.state.with_name("orders.handoff.json.d").iterdir()}
    assert len(kept) == 20 + 20 + 1, "what belongs to forgotten slices is removed"


def refused(landing: Landing, change: Callable[[], object], words: str, **options: Any) -> None:
    change()
    before = landing.state.read_bytes() if landing.state.exists() else None
    with pytest.raises(ConfigurationError, match=words):
        landing.run(**options)
    assert (landing.state.read_bytes() if landing.state.exists() else None) == before
    assert landing.ids() == [1]


def test_a_lost_or_damaged_state_is_never_taken_for_a_new_one(landing: Landing) -> None:
    landing.write("a.parquet", 1)
    landing.run()
    side = landing.state.with_name("orders.handoff.json.d")
    whole = landing.state.read_bytes()
    refused(landing, landing.state.unlink, "the state was lost")
    refused(landing, lambda: landing.state.write_bytes(whole[:-10]), "cannot be used")
    refused(landing, lambda: landing.state.write_bytes(b""), "cannot be used")
    landing.state.write_bytes(whole)
    ledger = next(side.glob("*.ledger"))
    entries = ledger.read_bytes()
    refused(landing, lambda: ledger.write_bytes(entries[:-1]), "damaged")
    refused(landing, lambda: ledger.write_bytes(entries[:9] + b"\0" + entries[10:]), "damaged")
    refused(landing, ledger.unlink, "was not found")
    ledger.write_bytes(entries)
    assert landing.run().rows_read == 0


def test_a_state_of_something_else_is_refused(landing: Landing, zerobus: LocalZerobus) -> None:
    landing.write("a.parquet", 1)
    landing.run()
    zerobus.create_table(f"CREATE TABLE {landing.table}b (id BIGINT, note STRING)")
    for table, source, name, words in [
        (landing.table + "b", landing.source(), None, "belongs to table"),
        (landing.table, NewFiles(landing.landing / "*.csv"), None, "belongs to another source"),
        (landing.table, landing.source(), "other", "belongs to handoff 'orders'"),
        (landing.table, landing.source(names_increase=True), None, "belongs to another source"),
    ]:
        with pytest.raises(ConfigurationError, match=words):
            hand_over(zerobus.workspace, table, source, state=landing.state, name=name)


def test_a_state_from_the_future_is_refused(landing: Landing) -> None:
    landing.write("a.parquet", 1)
    landing.run()
    plain = json.loads(landing.state.read_text())
    refused(
        landing,
        lambda: landing.state.write_text(json.dumps({**plain, "written_at": "2099-01-01T00:00:00+00:00"})),
        "later than this machine's clock",
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settle": -1}, "settle"),
        ({"settle": float("nan")}, "settle"),
        ({"max_files": 0}, "max_files"),
        ({"max_bytes": True}, "max_bytes"),
        ({"on_changed": "skip"}, "on_changed"),
        ({"path": "*.parquet"}, "no fixed part"),
        ({"path": "**"}, "no fixed part"),
        ({"path": "s3://buck*/x"}, "no fixed part"),
        ({"path": ""}, "no fixed part"),
    ],
)
def test_bad_parameters_are_refused_when_built(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        NewFiles(**{"path": "/landing/*.parquet", **options})


def test_bad_places_are_refused_before_anything_is_frozen(landing: Landing, tmp_path: Path) -> None:
    workspace, table = landing.zerobus.workspace, landing.table
    path = landing.write("a.parquet", 1)
    for source, state, words in [
        (NewFiles(path), landing.state, "is a single file"),
        (NewFiles(landing.landing / "missing" / "sub"), landing.state, "no file"),
        (NewFiles(landing.landing), landing.landing / "state.json", "lies among the files"),
        (landing.source(), 5, "state is of type int"),
        (landing.source(), "dir/", "must be the path or URI of a file"),
        ("landing/*.parquet", landing.state, "source is of type str"),
    ]:
        with pytest.raises(ConfigurationError, match=words):
            hand_over(workspace, table, source, state=state)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="delivery_name"):
        hand_over(workspace, table, landing.source(), state=landing.state, options=IngestOptions(delivery_name="mine"))
    (landing.landing / "b.csv").write_text("id\n1\n")
    with pytest.raises(ConfigurationError, match="new files of csv, parquet"):
        hand_over(workspace, table, NewFiles(landing.landing), state=tmp_path / "s.json")
    assert landing.ids() == []


def test_a_state_without_a_name_and_without_a_file_needs_a_name(landing: Landing) -> None:
    class OtherStore(FileStateStore):
        pass

    store = OtherStore(landing.state)
    assert Handoff(landing.zerobus.workspace, landing.table, landing.source(), state=store).name == "orders"
    with pytest.raises(ConfigurationError, match="name must be text of 1 to 500 printable characters"):
        Handoff(landing.zerobus.workspace, landing.table, landing.source(), state=store, name="")


def test_two_runs_at_once_deliver_a_slice_once(landing: Landing) -> None:
    """The second one read the state before the first one froze its slice."""
    landing.write("a.parquet", 1)
    first, second = landing.handoff(), landing.handoff()
    text, state = second._kept.load()
    assert first.freeze() is not None
    with pytest.raises(StateConflict):
        open_slice(second._kept, text, state)
    with pytest.raises(HandoffBusyError):
        second.freeze()
    first.deliver()
    first.finish()
    assert second.freeze() is None
    side = landing.state.with_name("orders.handoff.json.d")
    assert len(list(side.glob("*.files.json"))) == 1


def test_a_crash_between_the_last_ack_and_the_state_is_harmless(landing: Landing) -> None:
    landing.write("a.parquet", 1, 2, 3)
    handoff = landing.handoff()
    handoff.freeze()
    handoff.deliver()
    handoff._forget_work()
    receipt = landing.run()
    assert (receipt.rows_acked, receipt.rows_skipped, receipt.rows_resent) == (0, 3, 0)
    assert landing.ids() == [1, 2, 3]


def test_a_memory_file_system_needs_no_lock(zerobus: LocalZerobus, table_name: str) -> None:
    import fsspec

    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    fs = fsspec.filesystem("memory")
    folder = f"/{table_name}"
    for number in range(3):
        fs.pipe_file(f"{folder}/in/{number}.jsonl", b'{"id": %d}\n' % number)
        receipt = hand_over(
            zerobus.workspace, table_name, NewFiles(f"memory:/{folder}/in/*.jsonl", settle=0.0),
            state=f"memory:/{folder}/state.json",
        )  # fmt: skip
        assert receipt.rows_acked == 1
    assert sorted(zerobus.read(table_name).column("id").to_pylist()) == [0, 1, 2]
    fs.rm(f"{folder}/state.json")
    source = NewFiles(f"memory:/{folder}/in/*.jsonl")
    with pytest.raises(HandoffStateError, match="lost"):
        hand_over(zerobus.workspace, table_name, source, state=f"memory:/{folder}/state.json")


def test_a_crash_before_the_first_slice_is_in_the_state_loses_nothing(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies next to the state then must not look like a state that was lost."""

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    landing.write("a.parquet", 1)
    handoff = landing.handoff()
    with monkeypatch.context() as patch:
        patch.setattr("zerobus_core.handoffs.state.State.freeze", killed)
        with pytest.raises(Killed):
            handoff.freeze()
    assert landing.run().rows_acked == 1
    assert landing.ids() == [1]


def test_an_explicit_slice_that_broke_off_does_not_look_like_a_lost_state(landing: Landing) -> None:
    landing.write("a.parquet", 1)
    (landing.landing / "b.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ConfigurationError):
        landing.handoff().deliver_between("a", "z")
    (landing.landing / "b.parquet").unlink()
    assert landing.run().rows_acked == 1


def test_a_run_whose_slice_another_run_has_finished_is_done(landing: Landing) -> None:
    landing.write("a.parquet", 1)
    landing.run()
    landing.write("b.parquet", 2)
    owner = Owner(key="dag/run1/task")
    first, second = landing.handoff(owner), landing.handoff(owner)
    first.freeze()
    first.deliver()
    second.freeze()
    second.deliver()
    assert second.finish().rows_read == 1
    assert first.finish().rows_read == 1
    assert landing.ids() == [1, 2]
    assert landing.run().rows_read == 0


def test_no_row_is_sent_of_a_file_that_was_replaced_before_it_was_opened(landing: Landing) -> None:
    """They would be sent once more with the next slice, for which the file is new."""
    path = landing.write("a.parquet", *range(9))
    bounds = landing.handoff().freeze()
    assert bounds is not None
    source = landing.source()
    context = landing.handoff()._kept.context()
    with source.open(bounds, IngestOptions(batch_rows=2), context) as records:
        landing.write("b.parquet", *range(9)).replace(path)
        sent: list[object] = []
        with pytest.raises(TransportError, match="was changed"):
            sent.extend(chunk for chunk in records.chunks(RowRanges()) if len(chunk.rows))
    assert sent == []


def test_a_run_that_fails_says_what_it_had_delivered_of_another_run(landing: Landing) -> None:
    """Its first slice is done, and no later receipt would tell of the rows that were sent again in it."""
    landing.write("a.parquet", 1, 2)
    dead = landing.handoff(Owner(key="dag/run1/task"))
    dead.freeze()
    dead.deliver()
    dead._forget_work()  # as if its process had ended
    landing.zerobus.sql(f"ALTER TABLE {landing.table} ADD COLUMN later STRING")  # the slice starts over
    (landing.landing / "b.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(
        ConfigurationError, match=r"b\.parquet.*before that, this run delivered 000001-.*2 sent again"
    ) as e:
        landing.run()
    delivered = pickle.loads(pickle.dumps(e.value)).delivered
    assert (delivered["rows_acked"], delivered["rows_resent"], delivered["rows_read"]) == (2, 2, 2)
    assert landing.ids() == [1, 1, 2, 2]
    (past,) = landing.handoff().show()["history"]
    assert past["rows_resent"] == 2


def test_a_retry_of_a_run_that_died_with_its_slice_done_admits_what_was_sent_again(landing: Landing) -> None:
    landing.write("a.parquet", 1, 2)
    owner = Owner(key="dag/run1/task", chain="1")
    first = landing.handoff(owner)
    first.freeze()
    first.deliver()
    landing.zerobus.sql(f"ALTER TABLE {landing.table} ADD COLUMN later STRING")
    assert landing.handoff(owner).run().rows_resent == 2  # the process ends before anybody sees this receipt
    retry = landing.handoff(owner).run()
    assert (retry.rows_read, retry.rows_resent) == (0, 2)
    assert retry.notes == (f"slice {retry.handoff['slice']} was delivered by {owner.key}, and nothing is left to send",)


def test_a_cleared_run_whose_file_has_changed_loses_no_row_of_the_new_version(landing: Landing) -> None:
    landing.write("a.parquet", 1)
    owner = Owner(key="dag/run1/task", chain="1")
    slice_id = landing.handoff(owner).run().handoff["slice"]
    landing.write("a.parquet", 2, 3)
    cleared = landing.handoff(replace(owner, chain="2"))
    with pytest.raises(FrozenFileError, match=r"was delivered before and cannot be sent again") as error:
        cleared.run()
    assert "release" not in str(error.value)
    with pytest.raises(SliceForgottenError, match="not open"):
        cleared.release("a.parquet", slice_id=slice_id)
    assert landing.run(on_changed="deliver").rows_acked == 2
    assert landing.ids() == [1, 2, 3]


def test_a_file_is_released_from_one_slice_only(landing: Landing) -> None:
    _, slice_id = fail_once(landing, 1, 2)
    landing.write("c.parquet", 3)
    with pytest.raises(ConfigurationError, match=r"'c\.parquet' is not in slice"):
        landing.handoff().release("c.parquet", slice_id=slice_id)
    landing.handoff().release("b.parquet", slice_id=slice_id)
    landing.run()
    assert landing.ids() == [1, 2, 3]


def test_a_run_without_new_files_says_so_in_its_own_words(landing: Landing, caplog: pytest.LogCaptureFixture) -> None:
    assert "no file is there yet in" in landing.run().notes[0]
    landing.write("a.parquet", 1)
    landing.run()
    landing.write("b.parquet", 2)
    caplog.clear()
    receipt = landing.run(settle=3_600.0)
    assert receipt.notes == (
        f"no file is new in {landing.landing}/**/*.parquet: 1 were delivered before; 1 file is not settled",
    )
    assert [record.getMessage() for record in caplog.records] == [f"{landing.table}: {receipt.notes[0]}"]
