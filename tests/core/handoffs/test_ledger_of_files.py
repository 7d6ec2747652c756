"""The ledger of delivered files: exact, and fast with a million of them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerobus_core.handoffs.files.ledger import ENTRY_BYTES, InvalidLedgerError, Ledger, entries_of, entry_of

NAMES = st.sampled_from([f"f{number}" for number in range(12)])


@given(steps=st.lists(st.tuples(st.sampled_from("+-"), st.lists(st.tuples(NAMES, NAMES), max_size=5)), max_size=8))
def test_a_ledger_knows_what_a_dict_knows(steps: list[tuple[str, list[tuple[str, str]]]]) -> None:
    ledger, known = Ledger(), dict[str, str]()
    for what, files in steps:
        entries = [entry_of(path, version) for path, version in dict(files).items()]
        if what == "+":
            ledger, known = ledger.with_files(entries), known | dict(files)
        else:
            ledger = ledger.without_files(entries)
            known = {path: version for path, version in known.items() if path not in dict(files)}
        ledger = Ledger.from_bytes(ledger.to_bytes())
        assert len(ledger) == len(known)
        for path in (f"f{number}" for number in range(13)):
            for version in ("f0", "f1", "f12"):
                wanted = "new" if path not in known else "delivered" if known[path] == version else "changed"
                assert ledger.knows(entry_of(path, version)) == wanted


def test_entries_are_found_at_any_place() -> None:
    draw = random.Random(0)
    entries = [draw.randbytes(ENTRY_BYTES) for _ in range(5_000)]
    # Entries that share their first bytes, and bytes that look like an entry but begin inside of one.
    entries += [entries[0][:7] + bytes([number]) + bytes(8) for number in range(20)]
    ledger = Ledger().with_files(entries)
    assert {ledger.knows(entry) for entry in entries} == {"delivered"}
    data = ledger.to_bytes()[8:-8]
    for number in range(0, 5_000, 7):
        assert ledger.knows(data[number * 16 + 3 : number * 16 + 19]) == "new"
    assert ledger.knows(entries[0][:8] + bytes(8)) == "changed"


@pytest.mark.parametrize("known", [5_000, 120_000])
def test_many_files_are_looked_up_as_each_of_them_is(known: int) -> None:
    """Of a large ledger with numpy, of a small one without."""
    draw = random.Random(known)
    entries = sorted({draw.randbytes(8): draw.randbytes(8) for _ in range(known)}.items())
    ledger = Ledger(b"".join(path + version for path, version in entries))
    asked = [path + version for path, version in draw.sample(entries, 50)]
    asked += [path + draw.randbytes(8) for path, _ in draw.sample(entries, 50)]
    asked += [draw.randbytes(ENTRY_BYTES) for _ in range(50)]
    asked += [
        bytes(ENTRY_BYTES),
        b"\xff" * ENTRY_BYTES,
        *(path + version for path, version in (entries[0], entries[-1])),
    ]
    draw.shuffle(asked)
    wanted = [(number, what) for number, entry in enumerate(asked) if (what := ledger.knows(entry)) != "delivered"]
    assert list(ledger.not_delivered(b"".join(asked))) == wanted
    assert {what for _, what in wanted} == {"new", "changed"}
    assert len(wanted) == 102
    assert list(ledger.not_delivered(b"")) == []


def test_entries_of_many_files_are_those_of_each() -> None:
    for names in (["a", "Straße", ""], ["a", "not-utf-8-\udcff"]):
        versions = [f"v{number}" for number in range(len(names))]
        assert entries_of(names, versions) == b"".join(map(entry_of, names, versions))


def test_bytes_across_two_entries_are_not_an_entry() -> None:
    # Both begin with the same two bytes as the bytes inside, so all of them are searched in one place.
    first, second = b"\1" * 15 + b"\2", b"\1" * 7 + b"\3" + bytes(8)
    ledger = Ledger().with_files([first, second])
    inside = (first + second)[3:19]
    assert inside[:8] == first[:8]
    assert ledger.knows(inside) == "changed"
    third = b"\1\1\5\1\1\6\7\7" + b"\7" * 8
    ledger = Ledger().with_files([third])
    assert ledger.knows(third[3:11] + bytes(8)) == "new"
    assert ledger.knows(third) == "delivered"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[8:],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:],
    ],
)
def test_a_damaged_ledger_is_refused(damage: object) -> None:
    data = Ledger().with_files([entry_of("a", "1"), entry_of("b", "2")]).to_bytes()
    with pytest.raises(InvalidLedgerError):
        Ledger.from_bytes(damage(data))  # type: ignore[operator]


# The listing is a generator that costs next to nothing; times are of the processor, whatever else it does.
MILLION = """
import json, resource, sys, time
from datetime import UTC, datetime
from pathlib import Path
import fsspec
from fsspec.implementations.memory import MemoryFileSystem
from zerobus_core import IngestOptions, NewFiles
from zerobus_core.handoffs.files import new_files
from zerobus_core.handoffs.files.ledger import Ledger, entry_of
from zerobus_core.handoffs.source import Bounds, Context
from zerobus_core.handoffs.store import FileStateStore

def peak():
    # getrusage would count what the parent held when it started this process.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

folder, known, fresh = Path(sys.argv[1]), int(sys.argv[2]), 1_000
store = FileStateStore(folder / "s.json")

class Listing:
    shown, root, is_one_file = "memory://in", "/in", False
    def __init__(self, path):
        self.fs = fsspec.filesystem("memory")
    def each(self):
        for number in range(known + fresh):
            yield {"name": f"/in/part-{number:08}.parquet", "size": 100, "type": "file", "ETag": f"v{number}"}
    def would_hold(self, fs, path):
        return False

class Storage(MemoryFileSystem):
    protocol = "memory"
    def info(self, path, **kwargs):
        return {"name": path, "size": 100, "type": "file", "ETag": f"v{int(path[-16:-8])}"}

if len(sys.argv) > 3:
    entries = sorted(entry_of(f"part-{n:08}.parquet", f"100:v{n}") for n in range(known))
    store.side_files.write("old.ledger", Ledger(b"".join(entries)).to_bytes())
    sys.exit()
new_files.Location = Listing
fsspec.register_implementation("memory", Storage, clobber=True)
context = Context(options=IngestOptions(), side_files=store.side_files, now=datetime.now(UTC), shown="s")
done = {"ledger": "old.ledger", "files": known, "floor": None, "released": []}
started = time.process_time()
for _ in Listing("").each():
    pass
listing = time.process_time() - started
before = peak()
started = time.process_time()
plan, notes = NewFiles("memory://in/*.parquet").plan(done, None, context)
store.side_files.write("x.files.json", plan.files)
frozen = time.process_time() - started
assert plan.facts["files"] == fresh, plan.facts
bounds = Bounds(id="x", start=done, end=plan.end, facts=plan.facts)
after = NewFiles("memory://in/*.parquet").settled(bounds, context)
finished = time.process_time() - started
rss = peak()
assert after["files"] == known + fresh
assert len(Ledger.from_bytes(store.side_files.read(after["ledger"]))) == known + fresh
print(json.dumps({
    "listing_s": listing, "freeze_s": frozen - listing, "freeze_and_finish_s": finished - listing, "mb": rss / 1024,
    "mb_before": before / 1024,
}))
"""


@pytest.mark.slow
def test_a_ledger_of_a_million_files_is_fast_and_small(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(MILLION), str(tmp_path), "1000000"]
    subprocess.run([*command, "prepare"], check=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    print(f"a million files: {figures}")
    # Under three seconds on a quiet machine. Caches that other processes fill also cost processor time, so this
    # bound only notices work that grows faster than the number of files.
    assert figures["freeze_and_finish_s"] < 20.0, figures
    assert figures["mb"] < 200, figures
