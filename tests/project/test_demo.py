"""The demo, short: the same acts on fewer flights; and that it leaves nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pyarrow as pa
import pytest

from example_dags.demo.delta import checksum, checksums, without_repeats

ROOT = Path(__file__).parents[2]


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "example_dags.demo", "--home", str(home), *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "_AIRFLOW__AS_LIBRARY"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_of(home: Path) -> list[str]:
    """The command lines of running processes that name the folder, or that work for it by their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in words:
            found.append((process / "cmdline").read_text(errors="replace").replace("\0", " "))
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_holds_what_it_promises_keeps_its_page_open_and_leaves_no_process(tmp_path: Path) -> None:
    demo = start(tmp_path / "demo", "--rows", "60000", "--keep")
    lines = lines_until_it_waits(demo)
    output = "".join(lines)
    assert "FAILED" not in output
    assert "rows_read and rows_acked in its receipt: 60,000, 60,000" in output
    assert output.count("Proves: ") == len(re.findall(r"^\d+  ", output, re.MULTILINE)) == 6
    verdict = re.search(r"(\d+) of (\d+) checks held", output)
    assert verdict is not None
    assert verdict[1] == verdict[2]
    assert int(verdict[1]) > 20
    hint = re.search(r"the tables: (.+?);", output)
    assert hint is not None
    assert "flights" in subprocess.run(shlex.split(hint[1]), capture_output=True, text=True, check=True).stdout
    assert without_numbers(picture()) <= without_numbers(output.splitlines())
    end_by_ctrl_c(demo, output)
    assert processes_of(tmp_path) == []


def lines_until_it_waits(demo: subprocess.Popen[str]) -> list[str]:
    """What the demo prints until it waits for Ctrl-C."""
    assert demo.stdout is not None
    lines: list[str] = []
    for line in demo.stdout:
        lines.append(line)
        if "until kill" in line:
            return lines
    raise AssertionError(f"the demo ended with exit code {demo.wait()}: {''.join(lines)[-8_000:]}")


def end_by_ctrl_c(demo: subprocess.Popen[str], output: str) -> None:
    """Look at the page that is open, and end the demo by the signal that it names."""
    address = re.search(r"the page of the local server: (http://127\.0\.0\.1:\d+)", output)
    pid = re.search(r"until kill (\d+)", output)
    assert address is not None
    assert pid is not None
    with urllib.request.urlopen(address[1], timeout=30) as page:
        assert "main.default.flights" in page.read().decode()
    os.kill(int(pid[1]), signal.SIGINT)
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, rest
    assert "Traceback" not in output + rest
    assert "Warning" not in output + rest


def picture() -> list[str]:
    """What the README shows of the demo."""
    found = re.search(
        r'^```text title="the demo"\n(.*?)^```$', (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1].splitlines()


def without_numbers(lines: list[str]) -> set[str]:
    return {re.sub(r"\b[0-9a-f]{12}\b|\d[\d,.]*", "N", line.rstrip()) for line in lines}


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_ctrl_c_ends_the_demo_and_everything_that_it_started(tmp_path: Path) -> None:
    demo = start(tmp_path / "demo")
    assert demo.stdout is not None
    for line in demo.stdout:
        if "Dagster materializes the asset" in line:
            break
    started = time.monotonic()
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, output
    assert "everything that was started is stopped" in output
    assert "Traceback" not in output
    assert time.monotonic() - started < 30
    assert processes_of(tmp_path) == []


def test_the_demo_deletes_no_folder_that_it_did_not_make(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.touch()
    demo = start(tmp_path)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "was not made by the demo" in output
    assert precious.exists()


ROWS = pa.table({"a": [1, None, 3, 0], "b": ["x", "y", None, ""]})


def test_checksums_do_not_depend_on_the_order_of_rows() -> None:
    shuffled = ROWS.take([3, 1, 0, 2])
    assert checksum(shuffled) == checksum(ROWS)
    assert checksums(shuffled) == checksums(ROWS)


def test_the_checksum_of_rows_sees_values_that_changed_places() -> None:
    swapped = ROWS.set_column(0, "a", ROWS["a"].take([2, 1, 0, 3]))
    assert checksums(swapped) == checksums(ROWS)
    assert checksum(swapped) != checksum(ROWS)


@pytest.mark.parametrize("column", [[1, 0, 3, 0], [1, None, 3, None], [1, None, 2, 0]], ids=str)
def test_the_checksum_of_a_column_sees_a_value_and_tells_nulls_from_zeros(column: list[int | None]) -> None:
    changed = ROWS.set_column(0, "a", pa.array(column))
    assert checksums(changed)["a"] != checksums(ROWS)["a"]
    assert checksums(changed)["b"] == checksums(ROWS)["b"]


def test_rows_that_are_there_twice_are_found_with_their_nulls() -> None:
    twice = pa.concat_tables([ROWS, ROWS.slice(1, 2), ROWS.slice(1, 1)])
    assert without_repeats(twice).num_rows == ROWS.num_rows
    assert checksum(without_repeats(twice)) == checksum(ROWS)
