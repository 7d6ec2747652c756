"""What a run does while another one holds the open slice."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest

from zerobus_core import ConfigurationError, Handoff, NewFiles, hand_over
from zerobus_core.errors import HandoffBusyError, HandoffStateError, IngestInterruptedError, TransportError
from zerobus_core.handoffs import FileStateStore, Owner
from zerobus_core.handoffs.owner import is_alive, with_process
from zerobus_local import LocalZerobus


class Busy:
    """A handoff whose open slice is held by a run that lives."""

    def __init__(self, zerobus: LocalZerobus, table: str, folder: Path) -> None:
        zerobus.create_table(f"CREATE TABLE {table} (id BIGINT)")
        self.zerobus, self.table, self.folder = zerobus, table, folder
        (folder / "landing").mkdir()
        self.write(1)
        self.holder = self.handoff(Owner(key="dag/run1/task"))
        self.holder.freeze()
        self.write(2)

    def write(self, number: int) -> None:
        (self.folder / "landing" / f"{number}.jsonl").write_text(json.dumps({"id": number}) + "\n")

    def handoff(self, owner: Owner | None = None) -> Handoff:
        return Handoff(
            self.zerobus.workspace, self.table, NewFiles(self.folder / "landing"), state=self.folder / "s.json",
            owner=owner,
        )  # fmt: skip

    def run(self, on_busy: Any, **options: Any) -> Any:
        return hand_over(
            self.zerobus.workspace, self.table, NewFiles(self.folder / "landing"), state=self.folder / "s.json",
            on_busy=on_busy, **options,
        )  # fmt: skip

    def ids(self) -> list[int]:
        return sorted(self.zerobus.read(self.table).column("id").to_pylist())


@pytest.fixture
def busy(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> Busy:
    return Busy(zerobus, table_name, tmp_path)


def test_a_run_that_waits_delivers_what_is_new_once_the_holder_is_done(busy: Busy) -> None:
    receipts: list[Any] = []
    waiting = threading.Thread(target=lambda: receipts.append(busy.run("wait")))
    waiting.start()
    waiting.join(0.3)
    assert not receipts
    busy.holder.deliver()
    busy.holder.finish()
    waiting.join(60)
    (receipt,) = receipts
    assert (receipt.rows_acked, receipt.handoff["files"], receipt.handoff["from"]) == (1, 1, 1)
    assert busy.ids() == [1, 2]


def test_a_run_that_waits_can_be_stopped(busy: Busy) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(IngestInterruptedError, match="while waiting for another run"):
        busy.run("wait", stop=stop)
    assert time.monotonic() - started < 30, "not for as long as the lease"


def test_a_run_waits_no_longer_than_its_timeout(busy: Busy) -> None:
    with pytest.raises(HandoffBusyError, match="dag/run1/task"):
        busy.run("wait", options={"timeout": 0.2})
    assert busy.ids() == []


def test_a_run_that_skips_says_who_is_in_the_way(busy: Busy) -> None:
    receipt = busy.run("skip")
    assert receipt.rows_read == 0
    assert "dag/run1/task" in receipt.handoff["busy"]
    assert receipt.handoff["remaining"]
    assert "dag/run1/task" in receipt.notes[0]
    with pytest.raises(ConfigurationError, match="on_busy must be"):
        busy.run("later")


@pytest.mark.parametrize(("platform", "is_known_to_live"), [("linux", False), ("win32", None)])
def test_windows_is_not_asked_whether_a_process_lives(
    monkeypatch: pytest.MonkeyPatch, platform: str, is_known_to_live: bool | None
) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    owner = replace(with_process(Owner(key="x")), pid=child.pid)
    monkeypatch.setattr(sys, "platform", platform)
    assert is_alive(owner) is is_known_to_live


def test_a_state_of_more_than_64_mib_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "s.json").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises((ConfigurationError, HandoffStateError), match="64 MiB"):
        FileStateStore(tmp_path / "s.json").load()


def test_a_file_where_the_folder_of_the_side_files_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.json.d").write_text("")
    store = FileStateStore(tmp_path / "s.json")
    for use in (lambda: store.checkpoint("000001-a", "epoch"), lambda: store.side_files.write("a.json", b"")):
        with pytest.raises(ConfigurationError, match=r"cannot make the folder .*s\.json\.d: FileExistsError"):
            use()


def test_a_folder_that_cannot_be_opened_for_its_lock_is_named(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    store = FileStateStore(tmp_path / "s.json")
    store.save("{}", replaces=None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(TransportError, match=r"cannot lock the folder of .*s\.json: OSError"):
            store.save("{}", replaces="{}")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_error_under_the_lock_is_not_an_error_of_the_lock(tmp_path: Path) -> None:
    store = FileStateStore(tmp_path / "s.json")
    with pytest.raises(TimeoutError, match="too late"), store._locked():
        raise TimeoutError("too late")
    store.save("{}", replaces=None)


def test_runs_read_the_clock_of_a_storage_at_the_same_time(tmp_path: Path) -> None:
    store = FileStateStore(tmp_path / "s.json")

    def times(_: int) -> list[datetime | None]:
        fs = fsspec.filesystem("file")  # fsspec has one for each thread
        return [store.side_files.time_of(fs) for _ in range(50)]

    with ThreadPoolExecutor(4) as pool:
        assert None not in [time for every in pool.map(times, range(4)) for time in every]
    assert not store.has_traces()
    assert list((tmp_path / "s.json.d").iterdir()) == []


def test_the_state_holds_no_query_of_a_uri() -> None:
    text = json.dumps(NewFiles("https://x.blob.core.windows.net/landing/*.csv?sig=secret").identity())
    assert "secret" not in text
    assert "landing" in text
