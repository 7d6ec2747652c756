"""Faults that deliveries had once: each as the change that brings it back, for ``tests.core.mutants``."""

from __future__ import annotations

CUT_OFF = "sources/test_files_cut_off"
GUARD = "process/test_guard"
ITERABLES = "sources/rows/iterables.py"
OUTLOOK = "delivery/test_outlook"

# Name, file of the core, module of tests, and what is replaced by what.
FAULTS: list[tuple[str, str, str, *tuple[tuple[str, str], ...]]] = [
    (
        "a compressed file of no bytes is an empty one",
        "sources/files/finding/compressed.py",
        CUT_OFF,
        ("if not data and not self._is_begun and size:", "if False:"),
    ),
    (
        "an Arrow stream may end without its mark",
        "sources/files/formats/ipc.py",
        CUT_OFF,
        ("if not watched.has_end_mark:", "if False:"),
    ),
    (
        "a linked directory is left out",
        "sources/files/finding/listing.py",
        CUT_OFF,
        ('if not _is_hidden(name.rpartition("/")[2]):', "if False:"),
    ),
    (
        "a pipe is read with other files",
        "sources/files/finding/listing.py",
        CUT_OFF,
        ("if not stat.S_ISREG(os.stat(path).st_mode):", "if False:"),
    ),
    (
        "iterators of failed deliveries are forgotten after a few",
        ITERABLES,
        "sources/test_one_shot_iterables",
        ("            self._unfinished[id(one)] = one\n", "            self._finished.append(one)\n"),
    ),
    (
        "iterators that cannot be recognised again are taken",
        ITERABLES,
        "sources/test_one_shot_iterables",
        ("if len(self._unfinished) >= _MOST_UNFINISHED:", "if False:"),
    ),
    (
        "a source may suppress what a handler raised",
        "process/guard.py",
        GUARD,
        ("            noted.raise_again()\n", "            pass\n"),
    ),
    (
        "a source that suppressed a stop ends as if it had no more rows",
        "delivery/delivery.py",
        GUARD,
        ("        self.poll()  # a source that suppressed", "        # a source that suppressed"),
    ),
    (
        "a host's time limit is not looked at",
        "process/interruption.py",
        GUARD,
        ("super().is_set() or time.monotonic() >= self.deadline", "super().is_set()"),
    ),
    (
        "the wait for the first row has no time limit",
        "delivery/reading.py",
        GUARD,
        ("with SourceGuard(controls.deadline(options), stop=controls.stop)", 'with SourceGuard(float("inf"))'),
    ),
    (
        "the wait for later rows has no time limit",
        "delivery/delivery.py",
        GUARD,
        ("in_time(chunks, self._deadline, stop=self._controls.stop)", 'in_time(chunks, float("inf"))'),
    ),
    (
        "an alarm raises outside of the user's code",
        "process/guard.py",
        GUARD,
        ("if not is_inside(frame, _is_waited_for) or is_inside(", "if is_inside("),
    ),
    (
        "source_version alone vouches for rows in memory",
        "sources/rows/iterables.py",
        "delivery/test_notes",
        ("(version_fingerprint(options), content) if", "(version_fingerprint(options) or content,) if"),
        ("return self.fingerprint != version_fingerprint(self._options)", "return True"),
    ),
    (
        "a delivery that skipped every row says nothing",
        "receipt.py",
        "delivery/test_notes",
        ("if counts.rows_skipped == counts.rows_read:", "if False:"),
    ),
    (
        "pipes and devices are read and replaced",
        "storage/atomic_file.py",
        "storage/test_atomic_file",
        ("if not stat.S_ISREG(mode):", "if False:"),
    ),
    (
        "a delivery at the end of the process raises what Python says",
        "errors.py",
        "process/test_shutdown",
        ("if str(error) not in _AT_SHUTDOWN:", "if True:"),
    ),
    (
        "a dead-letter file that was not built has no repr",
        "bad_rows/dead_letter.py",
        "process/test_shutdown",
        ("        self._rows = RowRanges()\n", ""),
        (
            "        self._known_records: set[bytes] = set()\n",
            "        self._known_records: set[bytes] = set()\n        self._rows = RowRanges()\n",
        ),
    ),
    (
        "an unreachable local server is not named as such",
        "schema/unity_catalog/client.py",
        "cli/test_cli_wrong_calls",
        ('if url.scheme == "http" and proxy is None and isinstance(error, ConnectionRefusedError):', "if False:"),
    ),
    (
        "the doctor goes on after a workspace that is not reached",
        "doctor.py",
        "test_doctor",
        ('if host.status == "failed":', "if False:"),
    ),
    (
        "an interrupted delivery always promises to send the rest only",
        "delivery/outlook.py",
        OUTLOOK,
        ("if keeper.is_active and keeper.source.fingerprint is not None:", "if True:"),
    ),
    (
        "dead letters that are not written are counted",
        "bad_rows/dead_letter.py",
        OUTLOOK,
        ("return self._rows.rows - len(self._pending)", "return self._rows.rows"),
    ),
    (
        "a foreign exception gets no line about its rows",
        "delivery/delivery.py",
        OUTLOOK,
        (
            "error.add_note(note_for(self._destination.schema.table, counts, next_attempt(counts, self._keeper)))",
            "pass",
        ),
    ),
    (
        "a source that fails at its first row gets no line",
        "delivery/outlook.py",
        OUTLOOK,
        ('        error.add_note(f"{table}: no row was sent")\n', ""),
    ),
]
