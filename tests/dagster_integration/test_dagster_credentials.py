"""Credentials: a resource of their own, the deprecated flat fields, and the mask that the launchpad shows."""

import warnings
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.snap.config_types import build_config_schema_snapshot
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap

from zerobus_core import ClientCredentials, ConfigurationError
from zerobus_dagster import ZerobusCredentials, ZerobusIngestConfig, ZerobusResource
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.matrix

ROWS = [{"id": n, "carrier": "UA", "delay": n / 2} for n in range(100)]


def launchpad(definitions: dg.Definitions) -> dict[str, Any]:
    """The run configuration that the launchpad starts with."""
    job = definitions.resolve_implicit_global_asset_job_def()
    schema = build_config_schema_snapshot(job)
    root = schema.get_config_snap(job.run_config_schema.run_config_schema_type.key)
    return yaml.safe_load(default_values_yaml_from_type_snap(schema, root))


@dg.asset
def nothing(zerobus: ZerobusResource) -> None:
    pass


def connection(server: LocalZerobus) -> dict[str, str]:
    return {"endpoint": server.workspace.endpoint, "workspace_url": server.workspace.workspace_url}


def flat(server: LocalZerobus, **changes: Any) -> ZerobusResource:
    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    facts = {"client_id": credentials.client_id, "client_secret": credentials.client_secret, **changes}
    with pytest.warns(DeprecationWarning, match="ZerobusCredentials"):
        return ZerobusResource(**connection(server), **facts)


@pytest.mark.parametrize("secret", ["literal", dg.EnvVar("SECRET")])
def test_the_launchpad_copies_nothing_of_the_credentials(server: LocalZerobus, secret: str) -> None:
    credentials = ZerobusCredentials(client_id="id", client_secret=secret)
    zerobus = ZerobusResource(**connection(server), credentials=credentials)
    resources = {"zerobus": zerobus, "zerobus_credentials": credentials}
    text = yaml.safe_dump(launchpad(dg.Definitions(assets=[nothing], resources=resources)))
    assert "endpoint" in text
    assert "client" not in text
    assert "*" not in text


def test_a_secret_that_is_the_mask_is_named_as_the_cause(table: str, zerobus_with: Callable[..., Any]) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS)

    masked = zerobus_with(client_secret="********")
    result = dg.materialize([flights], resources={"zerobus": masked}, raise_on_error=False)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert (
        "the launchpad put the mask into this run's configuration"
        in failed.step_failure_data.user_failure_data.description
    )


def test_flat_credentials_deliver_with_one_deprecation_warning(server: LocalZerobus, table: str) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS)

    zerobus = flat(server)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="dagster")
        result = dg.materialize([flights], resources={"zerobus": zerobus})
    assert result.success
    assert server.read(table).num_rows == 100


def test_flat_credentials_can_come_with_the_launch(server: LocalZerobus, table: str) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS)

    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    facts = {"client_id": credentials.client_id, "client_secret": credentials.client_secret}
    config = {"resources": {"zerobus": {"config": {**connection(server), **facts}}}}
    at_launch = ZerobusResource.configure_at_launch()
    assert dg.materialize([flights], resources={"zerobus": at_launch}, run_config=config).success
    assert server.read(table).num_rows == 100


def test_a_resource_without_credentials_says_so_before_anything_is_sent(server: LocalZerobus) -> None:
    with pytest.raises(ConfigurationError, match=r"credentials=ZerobusCredentials\(client_id"):
        ZerobusResource(**connection(server)).workspace()


def test_a_launch_changes_options_without_repeating_the_connection(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset
    def flights(
        context: dg.AssetExecutionContext, zerobus: ZerobusResource, config: ZerobusIngestConfig
    ) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS, options=config)

    launch = {"ops": {"flights": {"config": {"options": {"record_format": "json"}, "on_rematerialize": "refuse"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        options: dict[str, Any] = {"resources": {"zerobus": zerobus}, "instance": instance, "run_config": launch}
        result = dg.materialize([flights], **options)
        (materialization,) = result.asset_materializations_for_node("flights")
        assert materialization.metadata["dagster-zerobus/receipt"].value["record_format"] == "json"
        assert not dg.materialize([flights], raise_on_error=False, **options).success
    assert server.read(table).num_rows == 100
