"""A file that is left out of an open slice: the rows of the others that are durable stay so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from zerobus_core import Handoff, IngestOptions, NewFiles
from zerobus_core.errors import DeliveredFileChangedError, FrozenFileError, RecordError, TransportError
from zerobus_core.handoffs.files.frozen import FrozenFile, FrozenList, from_list, to_list
from zerobus_local import LocalZerobus

FIRST = range(100)
SECOND = range(1_000, 1_050)
THIRD = range(2_000, 2_030)
FOURTH = range(3_000, 3_020)


class Slice:
    """Four files, of which one will be left out; b comes before c."""

    def __init__(self, zerobus: LocalZerobus, table: str, folder: Path) -> None:
        self.zerobus, self.table, self.folder = zerobus, table, folder
        zerobus.create_table(f"CREATE TABLE {table} (id BIGINT NOT NULL)")
        self.landing = folder / "landing"
        self.landing.mkdir()
        for name, ids in (("a", FIRST), ("b", SECOND), ("c", THIRD), ("d", FOURTH)):
            self.write(name, *ids)

    def write(self, name: str, *ids: Any) -> Path:
        path = self.landing / f"{name}.jsonl"
        path.write_text("".join(f"{json.dumps({'id': one})}\n" for one in ids))
        return path

    def handoff(self, **options: Any) -> Handoff:
        source = NewFiles(self.landing / "*.jsonl")
        return Handoff(
            self.zerobus.workspace, self.table, source, state=self.folder / "s.json",
            options=IngestOptions(batch_rows=10, **options),
        )  # fmt: skip

    def deliver(self, **options: Any) -> None:
        """Every row is durable, and then the run ends before the state says so."""
        handoff = self.handoff(**options)
        handoff.freeze()
        try:
            handoff.deliver()
        finally:
            handoff._forget_work()

    def sent(self) -> list[int]:
        return sorted(self.zerobus.read(self.table).column("id").to_pylist())


@pytest.fixture
def slice_(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> Slice:
    return Slice(zerobus, table_name, tmp_path)


def test_the_rows_before_a_bad_file_are_not_sent_again(slice_: Slice) -> None:
    slice_.write("b", *SECOND, "not a number")
    with pytest.raises(RecordError):
        slice_.deliver()
    before = slice_.sent()
    assert set(FIRST) <= set(before)
    slice_.handoff().release("b.jsonl")
    receipt = slice_.handoff().run()
    assert slice_.sent() == sorted([*before, *THIRD, *FOURTH])
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.rows_resent) == (100, 50, 0)
    assert receipt.handoff
    assert (receipt.handoff["files"], receipt.handoff["left_out"]) == (3, ["b.jsonl"])


def test_the_history_names_the_file_that_was_left_out(slice_: Slice) -> None:
    slice_.deliver()
    slice_.handoff().release("b.jsonl")
    slice_.handoff().run()
    released, delivered = slice_.handoff().show()["history"]
    assert (released["outcome"], released["released"]) == ("released", "b.jsonl")
    assert (delivered["outcome"], delivered["left_out"]) == ("delivered", ["b.jsonl"])


def test_nothing_is_sent_again_if_all_was_durable_and_the_file_is_still_there(slice_: Slice) -> None:
    slice_.deliver()
    before = slice_.sent()
    slice_.handoff().release("b.jsonl")
    receipt = slice_.handoff().run()
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.rows_resent) == (150, 0, 0)
    assert slice_.sent() == before


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_only_rows_after_a_file_that_is_gone_are_sent_again_and_admitted(slice_: Slice, change: str) -> None:
    slice_.deliver()
    if change == "gone":
        (slice_.landing / "b.jsonl").unlink()
    else:
        slice_.write("b", 5_000)
    with pytest.raises(FrozenFileError):
        slice_.handoff().run()
    slice_.handoff().release("b.jsonl")
    receipt = slice_.handoff().run()
    new = [] if change == "gone" else [5_000]  # another version is a new file
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.rows_resent) == (100, 50 + len(new), 50)
    assert slice_.sent() == sorted([*FIRST, *SECOND, *2 * [*THIRD, *FOURTH], *new])


def test_damage_in_the_middle_of_a_file_admits_no_row_that_was_not_sent(slice_: Slice) -> None:
    path = slice_.write("b", *SECOND)
    path.write_bytes(path.read_bytes() + b'{"id": "\xff\xfe"}\n')
    with pytest.raises(RecordError):
        slice_.deliver()
    before = slice_.sent()
    slice_.handoff().release("b.jsonl")
    receipt = slice_.handoff().run()
    assert slice_.sent() == sorted([*before, *THIRD, *FOURTH])
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.rows_resent) == (100, 50, 0)


@pytest.mark.parametrize("is_tried_between", [False, True])
@pytest.mark.parametrize("names", [("b", "c"), ("c", "b"), ("a", "d"), ("d", "a")])
def test_two_files_are_left_out_one_after_the_other(
    slice_: Slice, names: tuple[str, str], is_tried_between: bool
) -> None:
    slice_.deliver()
    before = slice_.sent()
    for name in names:
        slice_.handoff().release(f"{name}.jsonl")
        if is_tried_between:
            slice_.deliver()
    receipt = slice_.handoff().run()
    assert slice_.sent() == before
    assert (receipt.rows_acked, receipt.rows_resent) == (0, 0)
    assert receipt.handoff
    assert receipt.handoff["left_out"] == [f"{name}.jsonl" for name in names]


def test_options_that_change_columns_keep_what_is_durable(slice_: Slice) -> None:
    slice_.deliver(rename={"ID": "id"}, extra_columns="drop")
    slice_.handoff().release("b.jsonl")
    receipt = slice_.handoff(rename={"ID": "id"}, extra_columns="drop").run()
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.rows_resent) == (150, 0, 0)


def test_other_options_start_the_slice_over_and_that_is_admitted(slice_: Slice) -> None:
    slice_.deliver()
    slice_.handoff().release("b.jsonl")
    receipt = slice_.handoff(extra_columns="drop").run()
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.rows_resent) == (0, 150, 150)


def test_a_slice_whose_rows_are_transformed_starts_over_and_that_is_admitted(slice_: Slice) -> None:
    options = {"transform": lambda row: row if row["id"] % 2 else None, "transform_version": "1"}
    slice_.deliver(**options)
    slice_.handoff().release("b.jsonl")
    receipt = slice_.handoff(**options).run()
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.rows_resent) == (0, 75, 75)


def test_a_storage_that_fails_while_rows_are_counted_can_be_tried_again(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    storage, whole = fsspec.filesystem("memory"), MemoryFileSystem._open

    def broken(self: MemoryFileSystem, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith("a.jsonl"):
            raise ConnectionResetError(f"the storage hung up on {path}")
        return whole(self, path, *args, **options)

    for name, ids in (("a", FIRST), ("b", SECOND), ("c", THIRD)):
        storage.pipe(f"/released/{name}.jsonl", "".join(f"{json.dumps({'id': one})}\n" for one in ids).encode())

    def handoff() -> Handoff:
        return Handoff(zerobus.workspace, table_name, NewFiles("memory://released/*.jsonl"), state=tmp_path / "s.json")

    first = handoff()
    first.freeze()
    first.deliver()
    first._forget_work()
    handoff().release("b.jsonl")
    monkeypatch.setattr(MemoryFileSystem, "_open", broken)
    with pytest.raises(TransportError, match=r"a\.jsonl"):
        handoff().run()
    monkeypatch.setattr(MemoryFileSystem, "_open", whole)
    receipt = handoff().run()
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.rows_resent) == (130, 0, 0)
    assert zerobus.read(table_name).num_rows == 180


def test_the_lists_of_a_slice_leave_with_it(slice_: Slice) -> None:
    slice_.deliver()
    for name in "bc":
        slice_.handoff().release(f"{name}.jsonl")
    slice_.handoff().run()
    for number in range(20):
        slice_.write(f"x{number:02}", number)
        slice_.handoff().run()
    lists = list((slice_.folder / "s.json.d").glob("000001-*.files.json"))
    assert lists == []


def test_a_list_remembers_the_lists_before_it() -> None:
    files = tuple(FrozenFile(path=name, size=1, listed="1", asked="1") for name in "abcd")
    whole = FrozenList(files=files)
    smaller = whole.without("b").without("d").without("a")
    assert [[file.path for file in one] for one in smaller.earlier()] == [["a", "c"], ["a", "c", "d"], [*"abcd"]]
    assert whole.without("x") is whole
    assert from_list(to_list(smaller)) == smaller
    with pytest.raises(ValueError, match="not an index of the list"):
        from_list(to_list(smaller).replace(b'"released": [[1', b'"released": [[-1'))


def test_a_release_while_a_run_delivers_is_not_forgotten(slice_: Slice) -> None:
    slice_.handoff().run()
    slice_.write("a", 5_000)  # a delivered file that has other content now
    slice_.write("e", 6_000)
    with pytest.raises(DeliveredFileChangedError):
        slice_.handoff().run()
    (slice_.landing / "a.jsonl").rename(slice_.folder / "a.jsonl")
    running = slice_.handoff()
    running.freeze()
    running.deliver()
    (slice_.folder / "a.jsonl").rename(slice_.landing / "a.jsonl")
    slice_.handoff().release("a.jsonl")
    running.finish()
    assert slice_.handoff().run().rows_read == 0


def test_a_run_that_delivers_a_file_while_it_is_left_out_moves_on(slice_: Slice) -> None:
    running = slice_.handoff()
    running.freeze()
    running.deliver()
    slice_.handoff().release("b.jsonl")
    receipt = running.finish()
    assert receipt.rows_acked == 200
    assert receipt.handoff
    assert receipt.handoff["left_out"] == ["b.jsonl"]
    assert slice_.handoff().run().rows_read == 0
    assert slice_.sent() == sorted([*FIRST, *SECOND, *THIRD, *FOURTH])
