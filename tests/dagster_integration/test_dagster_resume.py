"""Which attempts send only what is missing: the three words of ``resume``, and the True and False of before."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster.components.testing.utils import create_defs_folder_sandbox

from zerobus_dagster import ZerobusIngestComponent, ZerobusIngestConfig, ZerobusResource
from zerobus_local import LocalZerobus

pytestmark = [
    pytest.mark.matrix,
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated:DeprecationWarning:dagster"),
    pytest.mark.filterwarnings(
        "ignore:Class `(LocalFileCodeReference|CodeReferencesMetadataValue)` is currently in beta"
    ),
]

ROWS = [{"id": n, "carrier": "UA", "delay": n / 2} for n in range(100)]
FROM_FAILURE = {"dagster/is_resume_retry": "true"}


@dg.asset
def flights(
    context: dg.AssetExecutionContext, zerobus: ZerobusResource, config: ZerobusIngestConfig
) -> dg.MaterializeResult:
    """Fails after its delivery in the first of several runs."""
    # The table's name is not known here, and the options of a launch cannot hold it.
    result = zerobus.ingest(context, str(context.run.tags["table"]), ROWS, options=config)
    if "fails" in context.run.tags and context.run.parent_run_id is None:
        raise RuntimeError("after the delivery")
    return result


def run_twice(
    instance: dg.DagsterInstance,
    zerobus: ZerobusResource,
    table: str,
    *,
    tags: dict[str, str] | None = None,
    launch: dict[str, Any] | None = None,
) -> str:
    """Deliver in a run, re-execute it as the UI does, and return the log of the second run, which must succeed."""
    again = second_run(instance, zerobus, tags={"table": table, **(tags or {})}, launch=launch)
    assert again.is_success
    return "\n".join(entry.user_message for entry in instance.all_logs(again.run_id))


def second_run(
    instance: dg.DagsterInstance,
    zerobus: ZerobusResource,
    *,
    tags: dict[str, str],
    launch: dict[str, Any] | None = None,
) -> dg.DagsterRun:
    """Deliver in a run, re-execute it as the UI does, and return the second run."""
    config = {"ops": {"flights": {"config": launch or {}}}}
    definitions = dg.Definitions(assets=[flights], resources={"zerobus": zerobus}, executor=dg.in_process_executor)
    job = definitions.resolve_implicit_global_asset_job_def()
    first = job.execute_in_process(instance=instance, tags=tags, run_config=config, raise_on_error=False)
    again = instance.create_run_for_job(
        job, parent_run_id=first.run_id, root_run_id=first.run_id, tags=tags, run_config=config
    )
    execute_run(InMemoryJob(job), again, instance)
    return instance.get_runs(dg.RunsFilter(run_ids=[again.run_id]))[0]


@pytest.mark.parametrize("are_files", [False, True], ids=["event log", "files"])
@pytest.mark.parametrize(
    ("resume", "tags", "times"),
    [
        ("retry", {"fails": "1", **FROM_FAILURE}, 1),
        ("retry", {}, 2),
        ("always", {"fails": "1", **FROM_FAILURE}, 1),
        ("always", {}, 1),
        ("never", {"fails": "1", **FROM_FAILURE}, 2),
    ],
    ids=["retry from failure", "retry in full", "always from failure", "always in full", "never from failure"],
)
def test_a_re_execution_sends_the_rows_again_unless_resume_says_otherwise(  # noqa: PLR0917 - fixtures
    server: LocalZerobus,
    table: str,
    zerobus_with: Callable[..., ZerobusResource],
    instance: dg.DagsterInstance,
    tmp_path: Path,
    are_files: bool,
    resume: str,
    tags: dict[str, str],
    times: int,
) -> None:
    place = {"checkpoint_uri": str(tmp_path / "checkpoints")} if are_files else {}
    log = run_twice(instance, zerobus_with(resume=resume, **place), table, tags=tags)
    assert server.read(table).num_rows == 100 * times
    how = "a re-execution from failure of run" if tags else "a re-execution of run"
    assert (how in log) == (times == 1)


@pytest.mark.parametrize("resume", ["always", "retry"])
@pytest.mark.parametrize("tags", [{"fails": "1"}, {}], ids=["after a failure", "after a success"])
def test_refuse_refuses_a_re_execution_in_full_whatever_resume_is(
    server: LocalZerobus,
    table: str,
    zerobus_with: Callable[..., ZerobusResource],
    instance: dg.DagsterInstance,
    resume: str,
    tags: dict[str, str],
) -> None:
    zerobus = zerobus_with(resume=resume, on_rematerialize="refuse")
    assert not second_run(instance, zerobus, tags={"table": table, **tags}).is_success
    assert server.read(table).num_rows == 100


def test_with_always_a_new_run_still_is_a_delivery_of_its_own(
    server: LocalZerobus, table: str, zerobus_with: Callable[..., ZerobusResource], instance: dg.DagsterInstance
) -> None:
    for _ in range(2):
        resources = {"zerobus": zerobus_with(resume="always")}
        assert dg.materialize([flights], resources=resources, instance=instance, tags={"table": table}).success
    assert server.read(table).num_rows == 200


def test_a_launch_says_its_own_resume(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    run_twice(instance, zerobus, table, launch={"resume": "always"})
    assert server.read(table).num_rows == 100


@pytest.mark.parametrize(("old", "times"), [(True, 1), (False, 2)])
def test_true_and_false_work_with_one_deprecation_warning(
    server: LocalZerobus,
    table: str,
    zerobus_with: Callable[..., ZerobusResource],
    instance: dg.DagsterInstance,
    old: bool,
    times: int,
) -> None:
    with pytest.warns(DeprecationWarning, match="goes away in 0.4") as caught:
        zerobus = zerobus_with(resume=old)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="dagster")
        run_twice(instance, zerobus, table, tags={"fails": "1", **FROM_FAILURE})
    assert server.read(table).num_rows == 100 * times


def test_true_and_false_of_a_launch_name_what_to_write_and_point_at_the_caller() -> None:
    with pytest.warns(DeprecationWarning, match=r"resume=False is deprecated .* say resume='never'") as caught:
        config = ZerobusIngestConfig(resume=False)
    assert config.resume == "never"
    assert [warning.filename for warning in caught] == [__file__]


def test_a_launch_written_as_configuration_takes_false(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    # pytest.warns would raise Dagster's own warnings again, which are ignored otherwise.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_twice(instance, zerobus, table, tags={"fails": "1", **FROM_FAILURE}, launch={"resume": False})
    assert any("resume=False is deprecated" in str(warning.message) for warning in caught)
    assert server.read(table).num_rows == 200


@pytest.mark.parametrize("word", ["sometimes", 1, "True"])
def test_any_other_word_is_refused_with_those_there_are(
    zerobus_with: Callable[..., ZerobusResource], word: Any
) -> None:
    says = '"retry", "always" or "never"'
    with pytest.raises(ValueError, match=says):
        zerobus_with(resume=word)
    with pytest.raises(ValueError, match=says):
        ZerobusIngestConfig(resume=word)


def component(resume: Any) -> Any:
    """A component of a project's YAML."""
    with create_defs_folder_sandbox() as sandbox:
        attributes = {"table": "main.default.t", "source": "*.csv", "resume": resume}
        folder = sandbox.scaffold_component(
            component_cls=ZerobusIngestComponent,
            defs_path="flights",
            defs_yaml_contents={"type": "zerobus_dagster.ZerobusIngestComponent", "attributes": attributes},
        )
        with sandbox.load_component_and_build_defs(defs_path=folder) as (component, _):
            return component


@pytest.mark.parametrize("word", ["retry", "always", "never"])
def test_the_component_takes_the_three_words(word: str) -> None:
    assert component(word).resume == word


@pytest.mark.parametrize(("old", "word"), [(True, "retry"), (False, "never")])
def test_the_component_takes_true_and_false_with_one_deprecation_warning(old: bool, word: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert component(old).resume == word
    assert len([warning for warning in caught if f"resume={old} is deprecated" in str(warning.message)]) == 1


@pytest.mark.parametrize("word", ["sometimes", 1])
def test_the_component_refuses_another_word_when_it_is_loaded(word: Any) -> None:
    with pytest.raises(Exception, match="Error while loading component"):
        component(word)


def test_the_schema_of_the_component_lists_the_three_words() -> None:
    model = ZerobusIngestComponent.get_model_cls()
    assert model is not None
    field = model.model_json_schema()["properties"]["resume"]
    (words,) = [choice["enum"] for choice in field["anyOf"] if "enum" in choice]
    assert words == ["retry", "always", "never"]
