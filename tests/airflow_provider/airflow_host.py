"""A real Airflow in a child process: runs Dags on request and tells what became of them.

Reads one JSON request a line from stdin, and writes one JSON answer a line to the descriptor that it is started with.
Everything that Airflow and the tasks print goes to the log file that the request names.  One process for many runs,
since the first one costs seconds.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.asset import AssetEvent
from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import clear_task_instances
from airflow.models.xcom import XComModel
from airflow.sdk.definitions.dag import _run_task
from airflow.utils.session import create_session
from sqlalchemy import select


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


def dags():
    """Every Dag of the bundle, by id; an error where one of its files cannot be read."""
    (bundle,) = DagBundlesManager().get_all_dag_bundles()
    bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    if bag.import_errors:
        raise RuntimeError(bag.import_errors)
    return bag.dags


def run(dag_id, conf):
    dag_run = dags()[dag_id].test(run_conf=conf)
    return account_of(dag_id, dag_run.run_id)


def rerun(dag_id, run_id, task_id):
    """Clear one task of a finished run, as a person does in the UI, and run it again."""
    with create_session() as session:
        instance = the_run(session, dag_id, run_id).get_task_instance(task_id, session=session)
        clear_task_instances([instance], session)
        session.commit()
        instance.try_number += 1
        session.commit()
        _run_task(ti=instance, task=dags()[dag_id].task_dict[task_id])
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
        for xcom in rows(XComModel):
            tasks[xcom.task_id, xcom.map_index]["xcom"][xcom.key] = XComModel.deserialize_value(xcom)
        for fields in rows(RenderedTaskInstanceFields):
            tasks[fields.task_id, fields.map_index]["fields"] = fields.rendered_fields
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run_id))
        return {
            "dag_id": dag_id,
            "run_id": run_id,
            "state": dag_run.state,
            "asset_events": [{"uri": event.asset.uri, "extra": event.extra} for event in events],
            "tasks": {
                task_id if index < 0 else f"{task_id}[{index}]": told for (task_id, index), told in tasks.items()
            },
        }


def connection_forms():
    """What the UI's connection form is drawn from."""
    return [json.loads(form.model_dump_json()) for form in HookMetaService.hook_meta_data()]


def dag_ids():
    return sorted(dags())


REQUESTS = {"run": run, "rerun": rerun, "connection_forms": connection_forms, "dag_ids": dag_ids}


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[1]), "w") as pipe:
        main(pipe)
