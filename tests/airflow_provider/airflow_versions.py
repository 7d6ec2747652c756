"""What airflow_host asks an Airflow for, in the words of the version that is installed."""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])


if AIRFLOW < (3, 0):
    # SQLAlchemy wants to know all tables, which Airflow's own commands import.
    import_module("airflow.models").import_all_models()
    exceptions = import_module("airflow.exceptions")
    Ended = (exceptions.AirflowTaskTerminated, exceptions.AirflowTaskTimeout)
else:
    Ended = ()
"""What a task raises that was ended from outside, if it goes through whoever runs the task in this process."""

if (3, 0) <= AIRFLOW < (3, 2):
    # These versions build the API again for each task that runs in this process, for seconds.
    supervisor = import_module("airflow.sdk.execution_time.supervisor")
    supervisor.in_process_api_server = cache(supervisor.in_process_api_server)

if (3, 0) <= AIRFLOW < (3, 1):
    # A task that runs in this process has structlog's own log, which shows all messages between the task and Airflow,
    # and draws an error in a box of 100 columns, with the values of local variables. A worker's log has none of this.
    structlog = import_module("structlog")
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[*structlog.get_config()["processors"][:-1], renderer],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )


def dag_bag(folder):
    """The Dags of a folder, as Airflow parses them."""
    if AIRFLOW >= (3, 2):
        from airflow.dag_processing.dagbag import BundleDagBag

        return BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name=Path(folder).name)
    from airflow.models.dagbag import DagBag

    if AIRFLOW >= (3, 1):
        return DagBag(dag_folder=folder, include_examples=False)
    if AIRFLOW >= (3, 0):
        bag = DagBag(dag_folder=folder, include_examples=False)
        # Otherwise the assets of the Dags are not active, and a task with one as its outlet fails.
        import_module("airflow.dag_processing.bundles.manager").DagBundlesManager().sync_bundles_to_db()
        bag.sync_to_db(Path(folder).name, None)
        return bag
    bag = DagBag(dag_folder=folder, include_examples=False, read_dags_from_db=False)
    # Otherwise the data sets of the Dags are not known, and have no events.
    bag.sync_to_db()
    return bag


def clear_task(instance, dag, session):
    """Clear a task instance; the one to run next, which has a try number of its own."""
    from airflow.models.taskinstance import clear_task_instances

    if AIRFLOW >= (3, 4):  # keeps the row of each try, and adds one
        (successor,) = clear_task_instances([instance], session)
        return successor
    clear_task_instances([instance], session, **({"dag": dag} if AIRFLOW < (3, 0) else {}))
    session.commit()
    instance.try_number += 1  # as the scheduler does
    return instance


def run_task(instance, task, session):
    """Run a cleared task instance again, in this process."""
    if AIRFLOW < (3, 0):
        from airflow.models.dag import _run_task

        instance.task = task
        _run_task(ti=instance, session=session)
    elif AIRFLOW < (3, 1):
        from airflow.sdk.definitions.dag import _run_task

        instance.task = task
        _run_task(ti=instance)
    else:
        from airflow.sdk.definitions.dag import _run_task

        _run_task(ti=instance, task=task)


def xcom_model():
    """The table of XCom values."""
    models = import_module("airflow.models.xcom")
    return models.XComModel if AIRFLOW >= (3, 0) else models.XCom


def asset_events(session, run_id):
    """URI and extra of every event that a run caused."""
    from sqlalchemy import select

    if AIRFLOW < (3, 0):
        from airflow.models.dataset import DatasetEvent, DatasetModel

        events = session.scalars(select(DatasetEvent).where(DatasetEvent.source_run_id == run_id))
        return [{"uri": session.get(DatasetModel, event.dataset_id).uri, "extra": event.extra} for event in events]
    from airflow.models.asset import AssetEvent

    events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run_id))
    return [{"uri": event.asset.uri, "extra": event.extra} for event in events]


def rendered_fields(session, instance):
    """What the UI shows of a task instance's templates."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields as Fields
    from sqlalchemy import select

    names = ["dag_id", "task_id", "run_id", "map_index"]
    is_by_id = AIRFLOW >= (3, 4)
    conditions = (
        [Fields.task_instance_id == instance.id]
        if is_by_id
        else [getattr(Fields, name) == getattr(instance, name) for name in names]
    )
    found = session.scalars(select(Fields).where(*conditions)).first()
    return found.rendered_fields if found is not None else {}


def xcom_value(xcom):
    """What was pushed; before Airflow 3 a loaded row holds the value itself."""
    return xcom.value if AIRFLOW < (3, 0) else type(xcom).deserialize_value(xcom)


def connection_form(connection_type):
    """Titles of the standard fields, which of them are hidden, and the names of the others."""
    if AIRFLOW < (3, 0):
        from airflow.providers_manager import ProvidersManager

        manager = ProvidersManager()
        behaviour = manager.field_behaviours[connection_type]
        prefix = f"extra__{connection_type}__"
        names = [key.removeprefix(prefix) for key in manager.connection_form_widgets if key.startswith(prefix)]
        return {"titles": behaviour["relabeling"], "hidden": behaviour["hidden_fields"], "extra_fields": names}
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (form,) = [form for form in HookMetaService.hook_meta_data() if form.connection_type == connection_type]
    plain = form.model_dump()
    fields = {name: field for name, field in plain["standard_fields"].items() if field}
    return {
        "titles": {name: field["title"] for name, field in fields.items() if field.get("title")},
        "hidden": [name for name, field in fields.items() if field.get("hidden")],
        "extra_fields": list(plain["extra_fields"]),
    }


if __name__ == "__main__":
    # In a process of its own: Airflow 3.0 draws forms only if nothing asked for hooks before.
    print(json.dumps(connection_form(sys.argv[1])))
