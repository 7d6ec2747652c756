from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import tempfile
from copy import copy
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
needs_state = pytest.mark.skipif(
    AIRFLOW < (3, 3), reason="a task has no state before Airflow 3.3: checkpoint_uri has tests of its own"
)
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DAG_FILES = ("deliveries", "handoff_dags", "interrupted_dags", "retried_dags", "source_dags")

# In this process Airflow is a library: no database, no logging set-up, nobody's configuration. The Dags run in a child
# process. It is imported here, before a test module asks for it, and the other tests' children do not see how.
with pytest.MonkeyPatch.context() as environ, tempfile.TemporaryDirectory() as home:
    if AIRFLOW >= (3, 2):  # older ones cannot mask secrets then
        environ.setenv("_AIRFLOW__AS_LIBRARY", "1")
    environ.setenv("AIRFLOW_HOME", home)
    import_module("zerobus_airflow.compat").conf.get("core", "dags_folder")
    if AIRFLOW < (3, 0):
        import_module("airflow.models").import_all_models()
    # As a library Airflow has no folder for plugins, and OpenLineage asks for one.
    airflow_settings = import_module("airflow.settings")
    airflow_settings.PLUGINS_FOLDER = airflow_settings.PLUGINS_FOLDER or str(HERE / "no_plugins")


class Airflow:
    """An installed Airflow with a database of its own, as a child process that runs Dags on request."""

    def __init__(self, home, dag_folder):
        self.home = home
        # One for each file: before a run Airflow 3 reads all of the Dag's bundle, and writes it to the database.
        bundles = [
            {
                "name": folder.name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(folder)},
            }
            for folder in sorted(dag_folder.iterdir())
        ]
        self.environ = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dag_folder),
            "DAGS_OF_TESTS": str(dag_folder),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        }
        self.command("db", "migrate")
        self._runs = 0
        self._start_host()

    def second(self):
        """Another process of the same Airflow, which runs Dags at the same time."""
        other = copy(self)
        other._runs = 10_000
        other._start_host()
        return other

    def kill(self):
        """End the process as ``kill -9`` does, whatever it runs."""
        self._host.kill()
        self._host.wait()

    def _start_host(self):
        reader, writer = os.pipe()
        with (self.home / "host.log").open("wb") as log:
            self._host = subprocess.Popen(
                [sys.executable, HERE / "airflow_host.py", str(writer)],
                env=self.environ,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
                text=True,
            )
        os.close(writer)
        self._answers = os.fdopen(reader)

    def command(self, *args):
        """The output of the ``airflow`` command line."""
        return self._output(Path(sys.executable).parent / "airflow", *args)

    def connection_form(self, connection_type):
        """What the UI's connection form is drawn from."""
        return json.loads(self._output(sys.executable, HERE / "airflow_versions.py", connection_type).splitlines()[-1])

    def _output(self, *command):
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, dag_id, *, environ=None, timeout=150.0, **conf):
        """Run a Dag to its end; its account (see the host), and what it logged."""
        answer, log = self._ask("run", {"dag_id": dag_id, "conf": conf}, environ, timeout)
        return {**answer, "log": log}

    def clear(self, run, task_id, *, environ=None, timeout=150.0):
        """Clear a task of an earlier run, and run it again."""
        arguments = {"dag_id": run["dag_id"], "run_id": run["run_id"], "task_id": task_id}
        answer, log = self._ask("rerun", arguments, environ, timeout)
        return {**answer, "log": log}

    def dag_ids(self):
        return self._ask("dag_ids", {})[0]

    def _ask(self, request, arguments, environ=None, timeout=150.0):
        if self._host.poll() is not None:  # a task took it along; the other tests need not fail
            self.close()
            self._start_host()
        self._runs += 1
        log = self.home / f"run-{self._runs}.log"
        command = {"request": request, "arguments": arguments, "environ": environ or {}, "log": str(log)}
        self._host.stdin.write(json.dumps(command) + "\n")
        self._host.stdin.flush()
        ready, _, _ = select.select([self._answers], [], [], timeout)
        answer = self._answers.readline() if ready else ""
        failure = f"no answer within {timeout} s"
        if ready and not answer:  # the host closes its pipe first, and writes its traceback then
            failure = f"the process ended with exit code {self._host.wait(60)}"
        text = (log if log.exists() else self.home / "host.log").read_text()
        assert answer, f"{failure}; the log ends with:\n{text[-20_000:]}"
        # What comes before the first task is Airflow reading Dags.
        return json.loads(answer), text.partition("[DAG TEST] starting")[2] or text

    def close(self):
        # Nothing of it is kept, and in order it takes seconds to go.
        self._host.kill()
        self._host.wait()
        self._host.stdin.close()
        self._answers.close()


class Target:
    """A local server, and the Airflow connection to it."""

    def __init__(self, server):
        self.server = server
        self.workspace = server.workspace
        credentials = self.workspace.credentials
        self.connection = {
            "conn_type": "zerobus",
            "host": self.workspace.workspace_url,
            "login": credentials.client_id,
            "password": credentials.client_secret,
            "extra": {"endpoint": self.workspace.endpoint},
        }
        self.environ = {"AIRFLOW_CONN_ZEROBUS_DEFAULT": json.dumps(self.connection)}
        self.secret = credentials.client_secret
        self._tables = 0

    def new_table(self, columns="id BIGINT NOT NULL, note STRING"):
        self._tables += 1
        table = f"main.default.airflow_{self._tables}"
        self.server.create_table(f"CREATE TABLE {table} ({columns})")
        return table

    def rows(self, table):
        """What the Delta table holds, by its first column."""
        return sorted(self.server.read(table).to_pylist(), key=lambda row: next(iter(row.values())))


@pytest.fixture(scope="session")
def connected():
    """Makes a Target of a server."""
    return Target


@pytest.fixture(scope="session")
def target(zerobus):
    return Target(zerobus)


@pytest.fixture(scope="session")
def dag_folder(tmp_path_factory):
    """The Dags of the tests, the examples, and the code blocks of the guide, as files in a folder each."""
    folder = tmp_path_factory.mktemp("dags")

    def add(name, text):
        (folder / name).mkdir()
        (folder / name / f"{name}.py").write_text(text)

    files = [HERE / f"{name}.py" for name in DAG_FILES]
    if AIRFLOW >= (3, 0):  # the others are written for Airflow 3
        files += (ROOT / "example_dags").glob("airflow_*.py")
        for page in ("airflow", "fan_out"):
            guide = (ROOT / "docs" / f"{page}.md").read_text()
            for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)):
                if page == "airflow" or "with DAG(" in block:
                    add(f"guide_{page}_{number}", block)
    for file in files:
        add(file.stem, file.read_text())
    return folder


@pytest.fixture(scope="session")
def airflow(tmp_path_factory, dag_folder):
    host = Airflow(tmp_path_factory.mktemp("airflow"), dag_folder)
    yield host
    host.close()
