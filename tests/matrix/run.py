"""The version matrix: the wheel in an environment of each cell, and tests against it from outside of this checkout.

``python -m tests.matrix.run [CELL …] [--full] [--jobs N]`` runs the cells, ``--lock`` makes their constraints again.
Environments are kept in .matrix/ and made again when something changes that they are made from.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.matrix.cells import ROOT, Cell, interpreter, load_cells

KEPT = ROOT / ".matrix"
UV = Path(sys.executable).with_name("uv")
# What the tests read besides the packages. The packages are not among it: the wheel is what is tested.
COPIED = ["tests", "docs", "example_dags", "benchmarks", "README.md", "CHANGELOG.md", "pyproject.toml", "Makefile"]
CELL_TIMEOUT = 900.0
FULL_TIMEOUT = 3600.0

# The groups of processes of the commands that run.
_running: set[int] = set()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a cell; ``failure`` is None if it passed."""

    cell: Cell
    seconds: float
    log: Path
    summary: str = ""
    failure: CellError | None = None

    @property
    def outcome(self) -> str:
        if self.failure is None:
            return "passed"
        if isinstance(self.failure, NoInterpreterError) and not os.environ.get("CI"):
            return "not run"
        return "failed, as it may" if self.cell.may_fail else "FAILED"


class CellError(Exception):
    """A cell cannot be set up, or its tests fail."""


class NoInterpreterError(CellError):
    """There is no interpreter of the cell's version here. In CI that is a failure, at a desk it is said."""


class Runner:
    """Runs cells against one wheel, each with the files of the tests copied to a folder outside of the checkout."""

    def __init__(self, folder: Path, wheel: Path, *, full: bool) -> None:
        self._files = folder / "files"
        self._logs = KEPT / "logs"
        self._wheel = wheel
        self._full = full
        self._logs.mkdir(parents=True, exist_ok=True)
        self._files.mkdir()
        for name in COPIED:
            source, target = ROOT / name, self._files / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)

    def run(self, cell: Cell) -> Result:
        begin = time.monotonic()
        log = self._logs / f"{cell.name}.log"
        log.write_text("")
        summary, failure = "", None
        try:
            python = self._environment(cell, log)
            summary = self._test(cell, python, log)
        except CellError as error:
            failure = error
        return Result(cell, time.monotonic() - begin, log, summary, failure)

    def _environment(self, cell: Cell, log: Path) -> Path:
        """The interpreter of the cell's environment, with the wheel in it."""
        base = interpreter(cell.python)
        if base is None:
            raise NoInterpreterError(f"no Python {cell.python} on this machine; install it, by pyenv for example")
        if not cell.constraints.exists():
            raise CellError(f"no {cell.constraints.relative_to(ROOT)}: run with --lock {cell.name}")
        folder = KEPT / "environments" / cell.name
        python = folder / "bin" / "python"
        stamp = folder / "made-from"
        made_from = _digest(cell, base)
        if not stamp.exists() or stamp.read_text() != made_from:
            shutil.rmtree(folder, ignore_errors=True)
            _run([UV, "venv", "--quiet", "--python", base, folder], log)
            self._install(python, log, cell, f"{self._wheel}[{','.join(cell.extras)}]")
            _run([python, "-c", cell.smoke or "import zerobus_core"], log, cwd=self._files)
            self._install(
                python, log, cell, f"{self._wheel}[{','.join(sorted({*cell.extras, 'local'}))}]", *cell.packages
            )
            _check_pinned(cell, python)
            stamp.write_text(made_from)
        _run([UV, "pip", "install", "--quiet", "--python", python, "--no-deps", "--reinstall", self._wheel], log)
        where = "import sys, zerobus_core as z; sys.exit(0 if z.__file__.startswith(sys.prefix) else z.__file__)"
        _run([python, "-c", where], log, cwd=self._files)
        return python

    def _install(self, python: Path, log: Path, cell: Cell, *requirements: str) -> None:
        install = [UV, "pip", "install", "--quiet", "--python", python, "--constraint", cell.constraints]
        _run([*install, "--prerelease", "allow", *requirements], log)

    def _test(self, cell: Cell, python: Path, log: Path) -> str:
        chosen, timeout = ["--matrix", "-m", "matrix"], CELL_TIMEOUT
        if self._full:
            chosen, timeout = ["-m", "matrix or not service", "-n", "3"], FULL_TIMEOUT
        elif cell.whole:
            chosen, timeout = ["-m", "not service", "-n", "4", "--dist", "loadgroup"], FULL_TIMEOUT
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, *cell.args, *cell.tests]
        code = _call(command, log, cwd=self._files, timeout=timeout)
        last = next(iter(reversed(log.read_text().strip().splitlines())), "")
        if code != 0:
            raise CellError(f"pytest exited with {code}: {last}")
        return last


def _run(command: list[object], log: Path, *, cwd: Path = ROOT) -> None:
    if code := _call(command, log, cwd=cwd, timeout=CELL_TIMEOUT):
        raise CellError(f"exit code {code} from {' '.join(map(str, command))}")


def _call(command: list[object], log: Path, *, cwd: Path, timeout: float) -> int:
    environ = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    for name in ("PYTHONPATH", "PYTEST_ADDOPTS", "VIRTUAL_ENV"):
        environ.pop(name, None)
    with log.open("a") as output:
        output.write(f"$ {' '.join(map(str, command))}\n")
        output.flush()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        _running.add(process.pid)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            output.write(f"not finished in {timeout:.0f} s\n")
            _kill(process.pid)
            return process.wait()
        finally:
            _running.discard(process.pid)


def _kill(group: int) -> None:
    """End a command with all processes that it started."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _digest(cell: Cell, base: str) -> str:
    parts = [repr(cell), base, cell.constraints.read_text(), (ROOT / "pyproject.toml").read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _check_pinned(cell: Cell, python: Path) -> None:
    """Every installed package has its version from the constraints, or else the cell is another one tomorrow."""
    done = subprocess.run([UV, "pip", "freeze", "--python", python], capture_output=True, text=True, check=True)
    installed = {_normal(line.partition("==")[0]) for line in done.stdout.splitlines() if "==" in line}
    pinned = {_normal(line.partition("==")[0]) for line in cell.constraints.read_text().splitlines()}
    if missing := installed - pinned - {"zerobus-orchestration"}:
        raise CellError(f"constraints of {cell.name} lack {', '.join(sorted(missing))}: run with --lock {cell.name}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock(cell: Cell) -> None:
    """Make the constraints of a cell again: versions only, no index, no address."""
    extras = sorted({*cell.extras, "local"})
    limits = [ROOT / cell.like] if cell.like else []
    with tempfile.TemporaryDirectory() as folder:
        # What the tests need besides is the newest that goes with it.
        product = Path(folder) / "product.txt"
        own = [arg for extra in extras for arg in ("--extra", extra)]
        _compile(cell, product, [*cell.requirements], [ROOT / "pyproject.toml", *own], limits, cell.resolution)
        requirements = [f".[{','.join(extras)}]", *cell.packages, *cell.requirements]
        _compile(cell, cell.constraints, requirements, [], [*limits, product], "highest")


def _compile(
    cell: Cell, output: Path, requirements: list[str], sources: list[object], limits: list[Path], resolution: str
) -> None:
    command = [UV, "pip", "compile", "-", *sources, "--quiet", "--python-version", cell.python]
    command += ["--no-emit-index-url", "--no-annotate", "--no-header", "--no-emit-package", "zerobus-orchestration"]
    command += [
        "--resolution",
        resolution,
        "--output-file",
        output,
        "--upgrade",
        "--prerelease",
        "if-necessary-or-explicit",
    ]
    command += [arg for limit in limits for arg in ("--constraint", limit)]
    if cell.exclude_newer:
        command += ["--exclude-newer", cell.exclude_newer]
    command += [arg for pin in cell.exclude_newer_package for arg in ("--exclude-newer-package", pin)]
    subprocess.run([str(part) for part in command], input="\n".join(requirements), text=True, cwd=ROOT, check=True)


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    built = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        sys.exit(built.stdout + built.stderr)
    [wheel] = folder.glob("*.whl")
    return wheel


def report(results: list[Result]) -> int:
    """Print the log of each failed cell and one table; 1 if a cell failed that must pass."""
    for result in results:
        if result.failure is not None and result.log.stat().st_size:
            print(f"\n---- {result.cell.name}: {result.log}\n{result.log.read_text()[-8_000:]}")
    width = max(len(result.cell.name) for result in results)
    print()
    for result in results:
        summary = result.summary if result.failure is None else result.failure
        print(f"{result.cell.name:{width}}  {result.seconds:6.1f} s  {result.outcome}: {summary}")
    return int(any(result.outcome == "FAILED" for result in results))


def main() -> int:
    cells = load_cells()
    parser = argparse.ArgumentParser(description="run the cells of the version matrix")
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"all if none is given: {', '.join(cells)}")
    parser.add_argument("--full", action="store_true", help="all tests of a cell, also what it leaves out otherwise")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    parser.add_argument("--lock", action="store_true", help="make the constraints again and run nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.cells) - cells.keys():
        parser.error(f"unknown cells: {', '.join(sorted(unknown))}")
    chosen = [cells[name] for name in arguments.cells or cells]
    if arguments.lock:
        for cell in chosen:
            lock(cell)
        return 0
    # Whoever ends this process, by a signal or at the keyboard, ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="zerobus-matrix-") as name:
        folder = Path(name)
        runner = Runner(folder, build_wheel(folder), full=arguments.full)
        with ThreadPoolExecutor(1 if arguments.full else arguments.jobs) as pool:
            try:
                results = list(pool.map(runner.run, chosen))
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                for group in tuple(_running):
                    _kill(group)
                raise
    return report(results)


if __name__ == "__main__":
    sys.exit(main())
