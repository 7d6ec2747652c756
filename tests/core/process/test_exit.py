"""The end of a process after a delivery that failed: native threads that still run must not abort it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.conftest import environment
from zerobus_local import LocalZerobus

# A reader that reads ahead of the bad row would still read when the interpreter ends.
SLOW_SOURCE = """
import io, sys, time
import fsspec
from fsspec.implementations.local import LocalFileSystem
from zerobus_core import Workspace, ZerobusIngestError, ingest

class Slow(LocalFileSystem):
    protocol = "slow"
    cachable = False

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("slow://"))

    def _open(self, path, mode="rb", **options):
        return Pausing(super()._open(path, mode, **options))

class Pausing(io.RawIOBase):
    def __init__(self, file):
        self.file = file
    def readable(self):
        return True
    def seekable(self):
        return True
    def seek(self, *where):
        return self.file.seek(*where)
    def tell(self):
        return self.file.tell()
    def readinto(self, buffer):
        time.sleep(float(sys.argv[2]))
        data = self.file.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)

fsspec.register_implementation("slow", Slow)
try:
    ingest(Workspace.from_env(), "main.default.ragged", "slow://" + sys.argv[1])
except ZerobusIngestError as error:
    print(error.message.partition(": ")[2][:30])
    sys.exit(3)
"""


@pytest.mark.parametrize("pause", [0.02, 0.6], ids=["between reads", "inside of a read"])
def test_a_process_ends_with_its_own_exit_code_while_a_slow_file_is_read(
    zerobus: LocalZerobus, tmp_path: Path, pause: float
) -> None:
    zerobus.create_table("CREATE TABLE IF NOT EXISTS main.default.ragged (a BIGINT, b BIGINT)")
    file = tmp_path / "ragged.csv"
    file.write_text("a,b\n1,2\n1,2,3\n" + "1,2\n" * 2_000_000)

    ended = subprocess.run(
        [sys.executable, "-c", SLOW_SOURCE, str(file), str(pause)],
        env=os.environ | environment(zerobus.workspace),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (3, "line 3 has 3 cells, and the he\n"), ended.stderr
    assert "Fatal" not in ended.stderr
