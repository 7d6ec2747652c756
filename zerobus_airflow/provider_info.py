"""The provider's metadata for Airflow: plain data, because every Airflow process imports it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

__all__ = ["connection_type", "get_provider_info"]

_DISTRIBUTION = "zerobus-orchestration"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, as ``airflow/provider_info.schema.json`` describes it."""
    return {
        "package-name": _DISTRIBUTION,
        "name": "Databricks Zerobus",
        "description": "Push rows to Databricks Delta tables; a task is green only when every row is durable.",
        "versions": [version(_DISTRIBUTION)],
        "integrations": [
            {
                "integration-name": "Databricks Zerobus",
                "external-doc-url": "https://docs.databricks.com/aws/en/ingestion/zerobus-ingest",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": "Databricks Zerobus", "python-modules": ["zerobus_airflow.hook"]}],
        "operators": [
            {
                "integration-name": "Databricks Zerobus",
                "python-modules": ["zerobus_airflow.operator", "zerobus_airflow.replay", "zerobus_airflow.sql"],
            }
        ],
        "connection-types": [connection_type()],
        "extra-links": ["zerobus_airflow.links.CatalogExplorerLink", "zerobus_airflow.links.DeadLettersLink"],
        "task-decorators": [{"name": "zerobus_ingest", "class-name": "zerobus_airflow.decorator.zerobus_ingest_task"}],
        "config": {"zerobus": _config_section()},
    }


def _config_section() -> dict[str, Any]:
    return {
        "description": "Deliveries to Databricks Delta tables through Zerobus Ingest.",
        "options": {
            "checkpoint_uri": {
                "description": "Directory for the checkpoints of tasks: a path that all workers see, or an fsspec URI. "
                "Needed before Airflow 3.3, which is the first to store task state: if the option is not set, every "
                "attempt sends all rows.",
                "version_added": "0.2.0",
                "type": "string",
                "example": "s3://bucket/zerobus-checkpoints",
                "default": None,
            },
            "pool": {
                "description": "The Airflow pool of tasks that use pool_arguments(). It needs as many slots as streams "
                "can be open at once. Create it first: airflow pools set zerobus 50 'Zerobus streams'.",
                "version_added": "0.2.0",
                "type": "string",
                "example": "zerobus",
                "default": None,
            },
        },
    }


def connection_type() -> dict[str, Any]:
    """Return the connection form; the hook returns the same form to Airflow before 3.2."""
    return {
        "connection-type": "zerobus",
        "hook-class-name": "zerobus_airflow.hook.ZerobusHook",
        "hook-name": "Databricks Zerobus",
        "conn-fields": {
            "endpoint": {
                "label": "Zerobus endpoint",
                "description": "Needed unless every task states it: "
                "https://<workspace-id>.zerobus.<region>.cloud.databricks.com; "
                "on Azure it ends in .azuredatabricks.net, on GCP in .gcp.databricks.com",
                "schema": {"type": ["string", "null"]},
            },
            "federated_token_file": {
                "label": "Federated token file",
                "description": "Instead of a client secret: a file on the workers that always holds a fresh JWT of "
                "your identity provider, such as a projected Kubernetes service account token",
                "schema": {"type": ["string", "null"]},
            },
        },
        "ui-field-behaviour": {
            "hidden-fields": ["port", "schema"],
            "relabeling": {"host": "Workspace URL", "login": "Client ID", "password": "Client secret"},
            "placeholders": {
                "host": "https://dbc-a1b2c3d4-e5f6.cloud.databricks.com",
                "login": "application id of the service principal",
                "password": "OAuth secret of the service principal",
                "endpoint": "https://1234567890123456.zerobus.us-east-1.cloud.databricks.com",
            },
        },
    }
