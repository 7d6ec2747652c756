"""A real Airflow in a child process: runs Dags on request and reports what became of them.

Reads one JSON request a line from stdin, and writes one JSON answer a line to the descriptor that it is started with.
Everything that Airflow and the tasks print goes to the log file that the request names.  One process for many runs,
since the first one costs seconds.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1]))  # what all tests use

import airflow_versions as versions  # this process runs a file, not a module of the tests


def main(answers):
    for line in sys.stdin:
        request = json.loads(line)
        with printing_to(request["log"]):
            os.environ.update(request["environ"])
            answer = REQUESTS[request["request"]](**request["arguments"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


@contextmanager
def printing_to(path):
    with Path(path).open("ab") as log:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        yield
        sys.stdout.flush()
        sys.stderr.flush()


def dags(folder):
    """Every Dag in a folder, by id; an error if one of its files cannot be read."""
    bag = versions.dag_bag(str(folder))
    if bag.import_errors:
        raise RuntimeError(bag.import_errors)
    return bag.dags


@cache
def folders():
    """Where each Dag is."""
    return {dag_id: folder for folder in Path(os.environ["DAGS_OF_TESTS"]).iterdir() for dag_id in dags(folder)}


def find_dag(dag_id):
    """A Dag as its file is read now, as each task of a host reads it."""
    return dags(folders()[dag_id])[dag_id]


def run(dag_id, conf):
    try:
        run_id = find_dag(dag_id).test(run_conf=conf).run_id
    except versions.Ended:
        with create_session() as session:
            run_id = session.scalars(
                select(DagRun.run_id).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc())
            ).first()
    return account_of(dag_id, run_id)


def rerun(dag_id, run_id, task_id):
    """Clear one task of a finished run, as a person does in the UI, and run it again."""
    dag = find_dag(dag_id)
    with create_session() as session:
        instance = the_run(session, dag_id, run_id).get_task_instance(task_id, session=session)
        instance = versions.clear_task(instance, dag, session)
        dag_run = the_run(session, dag_id, run_id)
        dag_run.start_date = dag_run.start_date or dag_run.queued_at  # the scheduler's work
        session.commit()
        versions.run_task(instance, dag.task_dict[task_id], session)
    return account_of(dag_id, run_id)


def the_run(session, dag_id, run_id):
    return session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one()


def account_of(dag_id, run_id):
    """State, tries, XCom and rendered fields of every task instance, as the metadata database has them."""

    def rows(model):
        return session.scalars(select(model).where(model.dag_id == dag_id, model.run_id == run_id))

    with create_session() as session:
        dag_run = the_run(session, dag_id, run_id)
        tasks = {
            (ti.task_id, ti.map_index): {
                "state": ti.state,
                "tries": ti.try_number,
                "ended_at": ti.end_date and ti.end_date.timestamp(),
                "xcom": {},
                "fields": {},
            }
            for ti in dag_run.get_task_instances(session=session)
        }
        for xcom in rows(versions.xcom_model()):
            tasks[xcom.task_id, xcom.map_index]["xcom"][xcom.key] = versions.xcom_value(xcom)
        for ti in dag_run.get_task_instances(session=session):
            tasks[ti.task_id, ti.map_index]["fields"] = versions.rendered_fields(session, ti)
        return {
            "dag_id": dag_id,
            "run_id": run_id,
            "state": dag_run.state,
            "asset_events": versions.asset_events(session, run_id),
            "tasks": {
                task_id if index < 0 else f"{task_id}[{index}]": facts for (task_id, index), facts in tasks.items()
            },
        }


def dag_ids():
    return sorted(folders())


REQUESTS = {"run": run, "rerun": rerun, "dag_ids": dag_ids}


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[1]), "w") as pipe:
        main(pipe)
