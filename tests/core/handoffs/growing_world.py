"""A world that grows while runs deliver it, are killed, retried, overlapped and cleared; then it is compared.

    python -m tests.core.handoffs.growing_world --source rows --schedules 200
    python -m tests.core.handoffs.growing_world --source files --schedules 200

``rows``: transactions of a real PostgreSQL insert and update rows, and commit late within ``lag``.  ``files``: files
appear and are rewritten.  Runs are child processes that are killed with -9 at random moments.  At the end the writers
stop, ``lag`` passes, and one more run follows: then the keys and last versions of the world are held against the Delta
table, and the duplicates against what the receipts admit, and the errors of runs that sent a slice again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zerobus_local import LocalZerobusProcess

# Seconds; transactions commit within 60 % of it, by the database's clock, or not at all.
LAG = 1.0
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.core.handoffs.growing_world_child"])
MOST_RUNS_AT_THE_END = 12


@dataclass
class Outcome:
    """What one schedule showed."""

    seed: int
    kind: str
    runs: int = 0
    killed: int = 0
    retried: int = 0
    overlapped: int = 0
    cleared: int = 0
    busy: int = 0
    released: int = 0
    unseen: int = 0
    """Slices that were finished by runs that were killed before they could return the receipt."""
    errors: dict[str, int] = field(default_factory=dict)
    keys: int = 0
    sent: int = 0
    gaps: int = 0
    duplicates: int = 0
    admitted: int = 0
    redelivered: int = 0

    @property
    def is_calm(self) -> bool:
        """Whether nothing was killed, overlapped, cleared or released, and nothing failed."""
        return not (self.killed or self.overlapped or self.cleared or self.released or self.errors)

    def check(self) -> None:
        """No row is missing, no more are there twice than was admitted, and without a fault none is."""
        assert self.gaps == 0, self
        assert self.duplicates <= self.admitted + self.redelivered, self
        if self.is_calm:
            assert self.duplicates == self.admitted + self.redelivered == 0, self


class Runs:
    """Starts runs of one handoff as child processes, and collects their receipts."""

    def __init__(self, outcome: Outcome, job: dict[str, Any], folder: Path, draw: random.Random) -> None:
        self.outcome, self.job, self.folder, self.draw = outcome, job, folder, draw
        self.owners: list[str] = []
        self.chains: Counter[str] = Counter()
        self.typical = 0.8
        self.number = 0
        self.history: dict[str, int] = {}
        self.in_receipts: set[str | None] = set()

    def start(self, owner: str, on_busy: str = "wait") -> tuple[Any, Path]:
        from tests.core.handoffs.growing_world_child import deliver

        self.number += 1
        self.outcome.runs += 1
        result = self.folder / f"run-{self.number}.json"
        chain = str(self.chains[owner])
        job = {**self.job, "owner": owner, "chain": chain, "on_busy": on_busy}
        process = FORKS.Process(target=deliver, args=(job, str(result)))
        process.start()
        return process, result

    def wait(self, process: Any, result: Path) -> str | None:
        """The error that the run ended with; its receipt counts."""
        started = time.monotonic()
        process.join(120)
        assert process.exitcode is not None, "a run does not end"
        self.typical = 0.7 * self.typical + 0.3 * (time.monotonic() - started)
        answer = json.loads(result.read_text()) if result.exists() else {"error": "killed"}
        self._keep_history()
        error = answer.get("error")
        self._count_receipt(answer if error is None else answer.get("delivered"))
        if error is None:
            self.outcome.busy += "busy" in (answer["handoff"] or {})
            return None
        if error != "killed":
            self.outcome.errors[error] = self.outcome.errors.get(error, 0) + 1
            self.outcome.released += len(answer["released"])
            self.outcome.redelivered += answer["redelivered"]
        return str(error)

    def _count_receipt(self, receipt: dict[str, Any] | None) -> None:
        if receipt is None:
            return
        facts = receipt["handoff"] or {}
        if "delivered_by" in facts:
            return  # that receipt, or the history, has it
        self.outcome.admitted += receipt["rows_resent"]
        self.outcome.redelivered += receipt["rows_redelivered"]
        self.in_receipts.update(facts.get("slices") or [facts.get("slice")])

    def _keep_history(self) -> None:
        state = Path(self.job["state"])
        for past in json.loads(state.read_text())["history"] if state.exists() else []:
            self.history[past["id"]] = past["counts"].get("rows_resent", 0)

    def end(self) -> None:
        """Count the slices whose receipt nobody has seen, since the run was killed right after: by the history."""
        unseen = {name: rows for name, rows in self.history.items() if name not in self.in_receipts}
        self.outcome.unseen = len([name for name in unseen if "-re" not in name])
        self.outcome.admitted += sum(unseen.values())

    def new_owner(self) -> str:
        self.owners.append(f"dag/run-{len(self.owners)}/task")
        return self.owners[-1]

    def plain(self) -> None:
        owner = self.new_owner()
        for _ in range(3):
            if self.wait(*self.start(owner)) is None:
                return

    def killed(self) -> None:
        """Kill a run at a random moment; mostly it is retried."""
        owner = self.new_owner()
        process, result = self.start(owner)
        process.join(self.draw.uniform(0.0, 1.3 * self.typical))
        process.kill()
        self.outcome.killed += 1
        self.wait(process, result)
        if self.draw.random() < 0.7:
            self.outcome.retried += 1
            self.wait(*self.start(owner))

    def overlapped(self) -> None:
        self.outcome.overlapped += 1
        first = self.start(self.new_owner(), "skip")
        time.sleep(self.draw.uniform(0.0, 0.5 * self.typical))
        same = self.draw.random() < 0.4
        second = self.start(self.owners[-1] if same else self.new_owner(), self.draw.choice(["skip", "fail", "wait"]))
        self.wait(*first)
        self.wait(*second)

    def cleared(self) -> None:
        if not self.owners:
            return
        self.outcome.cleared += 1
        owner = self.draw.choice(self.owners)
        self.chains[owner] += 1
        self.wait(*self.start(owner))

    def until_nothing_is_new(self) -> None:
        self.job["max_files"] = None
        for _ in range(MOST_RUNS_AT_THE_END):
            process, result = self.start(self.new_owner())
            if self.wait(process, result) is None:
                answer = json.loads(result.read_text())
                if answer["rows_read"] == 0 and not answer["handoff"]["remaining"]:
                    self.end()
                    return
        raise AssertionError(f"the runs do not come to an end: {self.outcome}")


def play(runs: Runs, *, calm: bool) -> None:
    """The runs of a schedule."""
    choices: list[Callable[[], None]] = [runs.plain] if calm else [
        runs.plain, runs.plain, runs.killed, runs.killed, runs.killed, runs.overlapped, runs.cleared,
    ]  # fmt: skip
    for _ in range(runs.draw.randint(3, 5)):
        runs.draw.choice(choices)()
        time.sleep(runs.draw.uniform(0.0, 0.2))


# rows


class OrdersWriter:
    """Transactions that insert and update rows of one table, each in a thread, and commit late."""

    def __init__(self, dsn: str, seed: int) -> None:
        self.dsn, self.stop = dsn, threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(seed * 10 + number,)) for number in range(2)]
        with self.connection() as connection:
            connection.execute(
                "CREATE TABLE orders (id bigint PRIMARY KEY, version int NOT NULL, updated_at timestamptz NOT NULL)"
            )
            connection.execute("CREATE INDEX ON orders (updated_at)")

    def connection(self) -> Any:
        import psycopg

        return psycopg.connect(self.dsn)

    def write(self, seed: int) -> None:
        draw = random.Random(seed)
        with self.connection() as connection:
            while not self.stop.is_set():
                count, span = draw.randint(1, 40), 400
                ids = sorted({seed % 10 * 1_000 + draw.randrange(span) for _ in range(count)})
                started = connection.execute("SELECT clock_timestamp()").fetchone()[0]
                connection.execute(
                    "INSERT INTO orders SELECT i, 1, clock_timestamp() FROM unnest(%s::bigint[]) i ON CONFLICT (id) DO "
                    "UPDATE SET version = orders.version + 1, updated_at = clock_timestamp()",
                    [ids],
                )
                self.stop.wait(draw.choice([0.0, 0.05, draw.uniform(0, 0.4 * LAG)]))
                late = connection.execute("SELECT extract(epoch FROM clock_timestamp() - %s)", [started]).fetchone()[0]
                if late < 0.6 * LAG:
                    connection.commit()
                else:
                    connection.rollback()

    def __enter__(self) -> OrdersWriter:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def truth(self) -> dict[Any, int]:
        with self.connection() as connection:
            return dict(connection.execute("SELECT id, version FROM orders").fetchall())


def rows_schedule(server: LocalZerobusProcess, postgres: Any, folder: Path, seed: int, *, calm: bool) -> Outcome:
    outcome, draw = Outcome(seed=seed, kind="rows"), random.Random(seed)
    database, table = postgres.new_database(), f"main.default.r{seed}"
    server.create_table(f"CREATE TABLE {table} (id BIGINT NOT NULL, version INT NOT NULL, updated_at TIMESTAMP)")
    writer = OrdersWriter(postgres.url(database), seed)
    job = {
        "workspace": environment(server), "table": table, "state": str(folder / "state.json"), "kind": "rows",
        "dsn": postgres.url(database), "lag": LAG,
    }  # fmt: skip
    runs = Runs(outcome, job, folder, draw)
    with writer:
        time.sleep(draw.uniform(0.5, 1.5))
        play(runs, calm=calm)
    time.sleep(LAG + 0.1)
    runs.until_nothing_is_new()
    stored = server.read(table)
    rows = list(zip(stored.column("id").to_pylist(), stored.column("version").to_pylist(), strict=True))
    compare(outcome, writer.truth(), rows)
    return outcome


# files


class FilesWriter(threading.Thread):
    """Files that appear whole, or slowly, and are rewritten now and then."""

    def __init__(self, landing: Path, seed: int) -> None:
        super().__init__()
        self.landing, self.draw, self.stop = landing, random.Random(seed + 1), threading.Event()
        self.versions: dict[str, int] = {}
        landing.mkdir()

    def run(self) -> None:
        while not self.stop.is_set():
            if self.versions and self.draw.random() < 0.1:
                self.write(self.draw.choice(sorted(self.versions)))
            else:
                self.write(f"part={self.draw.randint(1, 3)}/{len(self.versions):05}.jsonl")
            self.stop.wait(self.draw.uniform(0.0, 0.15))

    def write(self, name: str) -> None:
        version = self.versions.get(name, 0) + 1
        lines = [json.dumps({"file": name, "version": version, "row": row}) for row in range(self.draw.randint(1, 60))]
        path = self.landing / name
        path.parent.mkdir(exist_ok=True)
        hidden = path.with_name(f".{path.name}")
        hidden.write_text("".join(f"{line}\n" for line in lines))
        hidden.replace(path)
        self.versions[name] = version

    def __enter__(self) -> FilesWriter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join()

    def truth(self) -> dict[Any, int]:
        return {
            (name, row): version
            for name, version in self.versions.items()
            for row in range(len((self.landing / name).read_text().splitlines()))
        }


def files_schedule(server: LocalZerobusProcess, _: Any, folder: Path, seed: int, *, calm: bool) -> Outcome:
    outcome, draw = Outcome(seed=seed, kind="files"), random.Random(seed)
    table = f"main.default.f{seed}"
    server.create_table(
        f"CREATE TABLE {table} (file STRING NOT NULL, version INT NOT NULL, row INT NOT NULL, part INT)"
    )
    writer = FilesWriter(folder / "landing", seed)
    job = {
        "workspace": environment(server), "table": table, "state": str(folder / "state.json"), "kind": "files",
        "glob": str(folder / "landing" / "**" / "*.jsonl"), "max_files": draw.choice([None, 3, 10]),
    }  # fmt: skip
    runs = Runs(outcome, job, folder, draw)
    with writer:
        time.sleep(draw.uniform(0.2, 0.8))
        play(runs, calm=calm)
    runs.until_nothing_is_new()
    stored = server.read(table)
    lists = (stored.column(name).to_pylist() for name in ("file", "row", "version"))
    compare(outcome, writer.truth(), [((file, row), version) for file, row, version in zip(*lists, strict=True)])
    return outcome


def compare(outcome: Outcome, truth: dict[Any, int], rows: list[tuple[Any, int]]) -> None:
    last: dict[Any, int] = {}
    for key, version in rows:
        last[key] = max(version, last.get(key, 0))
    outcome.keys, outcome.sent = len(truth), len(rows)
    outcome.gaps = sum(1 for key, version in truth.items() if last.get(key) != version)
    outcome.duplicates = len(rows) - len(set(rows))


def environment(server: LocalZerobusProcess) -> dict[str, str]:
    from zerobus_core import ClientCredentials

    workspace = server.workspace
    assert isinstance(workspace.credentials, ClientCredentials)
    return {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }


@contextmanager
def world(source: str, folder: Path, postgres: Any = None) -> Iterator[Callable[..., Outcome]]:
    """A server, and a function that plays one schedule."""
    play_one = rows_schedule if source == "rows" else files_schedule
    with LocalZerobusProcess.start(folder / "server", commit_delay=0.005) as server:

        def schedule(seed: int) -> Outcome:
            place = folder / f"schedule-{seed}"
            place.mkdir()
            return play_one(server, postgres, place, seed, calm=seed % 5 == 0)

        yield schedule


def figures(outcomes: list[Outcome]) -> str:
    """One line for each kind of schedule."""
    lines = []
    for name, chosen in (
        ("calm", [one for one in outcomes if one.is_calm]),
        ("with faults", [one for one in outcomes if not one.is_calm]),
    ):
        if not chosen:
            continue
        names = ("runs", "killed", "retried", "overlapped", "cleared", "busy", "released", "unseen", "keys", "sent")
        names += ("gaps", "duplicates", "admitted", "redelivered")
        sums = {key: sum(getattr(one, key) for one in chosen) for key in names}
        lines.append(
            f"{name}: {len(chosen)} schedules, " + ", ".join(f"{key} {value:,}" for key, value in sums.items())
        )
    errors = sum((Counter(one.errors) for one in outcomes), Counter[str]())
    lines.append(f"errors that runs ended with: {dict(errors)}")
    return "\n".join(lines)


def main() -> None:
    """Play schedules, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=["rows", "files"], required=True)
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=4, help="schedules at the same time")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    from tests.services.databases import running_postgres

    outcomes: list[Outcome] = []
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        postgres = opened.enter_context(running_postgres()) if arguments.source == "rows" else None
        schedule = opened.enter_context(world(arguments.source, folder, postgres))
        workers = opened.enter_context(ThreadPoolExecutor(arguments.workers))
        for outcome in workers.map(schedule, range(arguments.seed, arguments.seed + arguments.schedules)):
            outcomes.append(outcome)
            if arguments.verbose:
                print(json.dumps(asdict(outcome)), flush=True)
    print(figures(outcomes))
    for outcome in outcomes:
        outcome.check()


if __name__ == "__main__":
    os.environ.setdefault("RUST_LOG", "off")
    main()
