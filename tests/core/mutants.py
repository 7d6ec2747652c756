"""Break the core on purpose, one line at a time, and see which test notices.

    python -m tests.core.mutants

Each mutant is made in a copy of the core, which the tests then import instead of it.  Exits with 1 if one survives.

    python -m tests.core.mutants --of account digest
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.core.fault_mutants import FAULTS

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "zerobus_core"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    tests: str


def ledger(name: str, *changes: tuple[str, str]) -> Mutant:
    return Mutant(name=name, file="streams/ledger.py", changes=changes, tests="tests/core/streams/test_ledger.py")


def account(name: str, *changes: tuple[str, str]) -> Mutant:
    return Mutant(name=name, file="delivery/account.py", changes=changes, tests="tests/core/delivery/test_account.py")


def digest(name: str, *changes: tuple[str, str]) -> Mutant:
    return Mutant(name=name, file="checkpoint/digest.py", changes=changes, tests="tests/core/checkpoint/test_digest.py")


def window(name: str, *changes: tuple[str, str]) -> Mutant:
    tests = "tests/core/streams/test_refusal_window.py"
    return Mutant(name=name, file="streams/refusal_window.py", changes=changes, tests=tests)


def pool(name: str, *changes: tuple[str, str]) -> Mutant:
    return Mutant(name=name, file="streams/feeding.py", changes=changes, tests="tests/core/streams/test_poison.py")


def handoff(name: str, *changes: tuple[str, str]) -> Mutant:
    return Mutant(
        name=name, file="handoffs/state.py", changes=changes, tests="tests/core/handoffs/test_handoff_state.py"
    )


def files(name: str, *changes: tuple[str, str]) -> Mutant:
    tests = "tests/core/handoffs/test_ledger_of_files.py"
    return Mutant(name=name, file="handoffs/files/ledger.py", changes=changes, tests=tests)


def removed(name: str, *changes: tuple[str, str]) -> Mutant:
    return Mutant(name=name, file="ranges.py", changes=changes, tests="tests/core/test_removed_rows.py")


def core(name: str, file: str, tests: str, *changes: tuple[str, str]) -> Mutant:
    return Mutant(name=name, file=file, changes=changes, tests=f"tests/core/{tests}.py")


MUTANTS = [
    files(
        "a changed file of a large ledger is delivered", ("~(is_known & (versions[at] == asked[:, 1]))", "~is_known")
    ),
    files(
        "a file after the last one is not found",
        ("numpy.minimum(numpy.searchsorted(", "numpy.maximum(numpy.searchsorted("),
    ),
    *(core(*fault) for fault in FAULTS),
    handoff(
        "a finished slice does not move the state on",
        ("facts={**past.facts, **(facts or {})}), now, done=done)", "facts=past.facts), now, done=self.done)"),
    ),
    handoff(
        "a slice begins at the beginning",
        ("            start=self.done,\n            end=end,", "            start=None,\n            end=end,"),
    ),
    handoff("a second slice is opened", ("self._expect(self.open is None,", "self._expect(True,")),
    handoff(
        "any slice can be finished",
        (
            "if self.open is None or self.open.id != slice_id:\n            opened",
            "if self.open is None:\n            opened",
        ),
    ),
    handoff(
        "a slice is finished twice",
        ("if self.has_ended(slice_id):", "if False:"),
    ),
    handoff(
        "a slice that was given up counts as finished",
        ("past.id == slice_id and past.outcome in _ENDED", "past.id == slice_id"),
    ),
    handoff("an ended process keeps its slice", (" or is_alive is False:", ":")),
    handoff(
        "a lease never ends",
        ("return lease if now < lease.ends_at(renewed_at) else None", "return lease"),
    ),
    handoff(
        "a lease is worth nothing",
        ("return lease if now < lease.ends_at(renewed_at) else None", "return None"),
    ),
    handoff(
        "a saved checkpoint does not renew the lease",
        ("lease.ends_at(renewed_at)", "lease.ends_at(None)"),
    ),
    handoff("a retry waits for its own lease", ("lease.owner.key == owner.key or ", "")),
    handoff("a run ends the lease of another one", (" or self.open.lease.owner != owner:", ":")),
    handoff("a skipped slice comes again", ("counts=counts), now, done=done)", "counts=counts), now, done=self.done)")),
    handoff(
        "a rewind leaves the slice open",
        ("return self._next(now, open=None, done=to,", "return self._next(now, done=to,"),
    ),
    handoff("the history has no end", ("return longer[-MAX_HISTORY:],", "return longer,")),
    handoff("runs of old slices are new ones", ("if short_hash(owner.key) in self.former:", "if False:")),
    handoff(
        "a redelivery moves the state",
        ("else self._next(now, history=history)", "else self._next(now, history=history, done=None)"),
    ),
    handoff("a redelivery is noted twice", (" and chain not in {known.chain for known in past.redeliveries}", "")),
    handoff("a run gets the slice of another one", ("past.opened_by == owner.key and past.outcome", "past.outcome")),
    removed(
        "rows behind a file of unknown length keep a mark", ("        if not gone.is_exact:\n            break\n", "")
    ),
    removed(
        "rows of a removed file keep their mark",
        ("        first = gone.start + gone.rows\n", "        first = gone.start\n"),
    ),
    removed("rows behind a removed file do not move", ("        shift += gone.rows\n", "")),
    removed("rows that were sent are not admitted", ("min(gone.rows, max(0, position - gone.start))", "gone.rows")),
    handoff(
        "a released file stays in the slice", ("opened = replace(opened, facts={**opened.facts, **facts})", "pass")
    ),
    files("a changed file is a delivered one", ('return "changed"', 'return "delivered"')),
    files("a new version does not replace the old one", ("copied = at + ENTRY_BYTES if mine", "copied = at if mine")),
    files(
        "entries are found inside of others",
        (
            '            if not at % ENTRY_BYTES:\n                return "delivered"',
            '            if True:\n                return "delivered"',
        ),
    ),
    files("damage is not noticed", ("or _checksum(body) != data[-_HASH_BYTES:]", "")),
    files(
        "a removed file stays", ("pieces.append(mine[copied:at])\n                copied = at + ENTRY_BYTES", "pass")
    ),
    account(
        "rows of an earlier attempt were not sent",
        ("ledger.sent_before = RowRanges(self.past.skip.without(0, self.past.reached))", "pass"),
    ),
    account(
        "rows that are skipped count as sent before",
        ("self.past.skip.without(0, self.past.reached)", "[(0, self.past.reached)]"),
    ),
    account(
        "what earlier attempts admitted is forgotten",
        ("self._resent_before + self._ledger.rows_resent", "self._ledger.rows_resent"),
    ),
    account(
        "repetitions in this attempt are not admitted",
        ("self._resent_before + self._ledger.rows_resent", "self._resent_before"),
    ),
    account(
        "what waits to be sent again is not admitted ahead",
        ("self.rows_resent + ledger.rows_to_resend + may_follow", "self.rows_resent + may_follow"),
    ),
    account(
        "reserved rows are not admitted ahead",
        ("self.rows_resent + ledger.rows_to_resend + may_follow", "self.rows_resent + ledger.rows_to_resend"),
    ),
    account(
        "a checkpoint reaches as far as rows were sent, not as reserved",
        ("if is_end or self._announced == END else self._announced", ""),
    ),
    account("a checkpoint forgets how far earlier attempts came", ("max(reached, self._reached_before)", "reached")),
    account(
        "counts are not those of the next save",
        (
            "counts = self.counts if is_end else replace(self.counts, rows_resent=self.rows_resent_ahead)",
            "counts = self.counts",
        ),
    ),
    account(
        "a checkpoint forgets what was durable before",
        ("durable = (self._shown if self.past.digest else self.past.skip).copy()", "durable = RowRanges()"),
    ),
    account("rows count as shown before they passed", ("stop_row < self._unshown[-1].stop", "False")),
    account(
        "rows that were not compared yet are forgotten", ("sorted([*digested, *self._unshown])", "sorted(digested)")
    ),
    account("unfit rows are not read", ("+ self._rows_unfit + self._rows_filtered,", "+ self._rows_filtered,")),
    account(
        "dead letters stay refused", ("+ ledger.rows_refused - self._rows_dead_lettered,", "+ ledger.rows_refused,")
    ),
    account("any position is reserved", ("return stop_row <= self._reserved", "return True")),
    account(
        "an older attempt's rows are not admitted",
        ("self._ledger.admit(RowRanges(self.past.skip.without(self._reached_before, reached)))", "pass"),
    ),
    account(
        "skipped rows are sent", ("return min(stop, following.stop), True", "return min(stop, following.stop), False")
    ),
    account("rows may be left out", ("if wanted != [(first, stop)]:", "if False:")),
    account(
        "any rows are those that were delivered",
        ("if self._digests.segment(segment.start, segment.stop) != segment:", "if False:"),
    ),
    account(
        "a source may end before the rows that are durable",
        ("        if self._unshown:\n            raise _source_changed_error(self._unshown[-1])\n", ""),
    ),
    digest("a block's position has no part in it", ('b"%d:%d" % (block, rows + 1)', 'b"%d" % (rows + 1)')),
    digest(
        "rows that were left out have no position",
        ("        self._position = first_row\n        self._hashes = None", "        self._hashes = None"),
    ),
    digest("a block after rows that were left out is not digested", ("self._sums[first_row] = self._total", "pass")),
    digest(
        "the digest of a range is that of all rows before its end",
        ("self._sums[stop] - self._sums[start]", "self._sums[stop]"),
    ),
    digest("a range starts within a block", ("start = -(-start // self._block_rows) * self._block_rows", "pass")),
    ledger(
        "offsets go on counting on the next stream",
        (
            "self._open[stream] = _OpenStream()",
            "self._open[stream] = _OpenStream(next_offset=getattr(self, '_last', 0))",
        ),
        ("target.next_offset += 1", "target.next_offset += 1\n        self._last = target.next_offset"),
    ),
    ledger("rows are counted as batches", ("self.rows_acked += batch.rows", "self.rows_acked += len([batch])")),
    ledger(
        "resent rows are counted as batches",
        ("self.rows_resent += self._rows_repeated(entry)", "self.rows_resent += bool(self._rows_repeated(entry))"),
    ),
    ledger("an ACK beyond what was sent is taken", ("if offset >= source.next_offset:", "if False:")),
    ledger(
        "an ACK of a stream that is not open is taken",
        (
            'raise LedgerError(f"{event} on stream {stream}, which is not open: {self!r}") from None',
            "return _OpenStream()",
        ),
    ),
    ledger("an ACK that goes back is taken", ("if offset < first - 1:", "if False:")),
    ledger(
        "what was in flight at a death is forgotten",
        ("        self._wait_in_front(entries)\n        return suspects", "        return suspects"),
    ),
    ledger("what never left counts as sent", ("for entry in entries[reached - first :]:", "for entry in []:")),
    ledger("what never left is a suspect", ("entries[: reached - first]", "entries[:]")),
    ledger("a cumulative ACK covers one batch less", ("range(offset - first + 1)", "range(max(0, offset - first))")),
    ledger(
        "what died waits behind everything else",
        ("self._waiting.appendleft(entry)", "self._waiting.append(entry)"),
    ),
    ledger(
        "the last durable row is not told",
        ("batch.stop_row)\n            source", "batch.stop_row - 1)\n            source"),
    ),
    ledger("an acknowledged batch stays in flight", ("source.in_flight.popleft().batch", "source.in_flight[0].batch")),
    ledger(
        "a refused batch stays waiting",
        ("        self._drop_first_waiting()\n        self.rows_refused", "        self.rows_refused"),
    ),
    ledger("parts of a refused batch were never sent", ("Entry(part, handed=entry.handed)", "Entry(part)")),
    window("a group does not wait for the one before", ("if not is_settled:", "if False:")),
    window("groups never grow", ("2 * following", "following")),
    window("a group has no end", ("self._left -= rows", "pass")),
    window("a refusal opens the window", ("self._is_bound = True", "self._is_bound = False")),
    pool("the first suspect is guilty", ("if len(suspects) == 1 else None", "if suspects else None")),
    pool("no window after a refusal", ("if not self._window.take(", "if False and not self._window.take(")),
]


def killer_of(mutant: Mutant) -> str | None:
    """The first test that fails because of the mutant, or None."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "zerobus_core"
        shutil.copytree(CORE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        source = (copy / mutant.file).read_text()
        for old, new in mutant.changes:
            if source.count(old) != 1:
                raise SystemExit(f"{mutant.name}: {old!r} appears {source.count(old)} times in {mutant.file}")
            source = source.replace(old, new)
        (copy / mutant.file).write_text(source)
        command = [
            sys.executable,
            "-m",
            "pytest",
            mutant.tests,
            "-x",
            "-q",
            "--no-header",
            "--hypothesis-profile=unshrunk",
            "--timeout=60",
        ]
        environment = os.environ | {"PYTHONPATH": folder}
        ran = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
        failed = [line for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        if ran.returncode and not any("::" in line for line in failed):
            raise SystemExit(f"{mutant.name}: the tests did not run\n{ran.stdout[-2000:]}")
        return failed[0].split(" - ")[0].rpartition("/")[2] if failed else None


def main() -> int:
    """Try every mutant and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", nargs="*", default=[""], help="only mutants of modules with one of these words in them")
    words = parser.parse_args().of
    mutants = [mutant for mutant in MUTANTS if any(word in mutant.file for word in words)]
    survivors = 0
    for mutant in mutants:
        killer = killer_of(mutant)
        survivors += killer is None
        print(f"{mutant.name:<50} {killer or 'SURVIVED'}", flush=True)
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants were noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
