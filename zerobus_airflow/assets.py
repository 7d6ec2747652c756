"""Makes Airflow assets for Unity Catalog tables, with the same URIs as in Airflow's Databricks provider."""

from __future__ import annotations

from urllib.parse import urlsplit

from zerobus_core import ConfigurationError

from .compat import Asset

__all__ = ["table_asset", "table_asset_uri", "table_page_url"]

_NAME_PARTS = 3


def table_asset(workspace_url: str, table: str) -> Asset:
    """Return the asset of ``catalog.schema.table`` in a workspace, for ``outlets=`` and ``schedule=``.

    The asset has no name of its own, because Airflow refuses to run tasks if two Dags give one URI different names.
    Raises ConfigurationError for a table name that does not have three parts, for a workspace URL without a host, and
    for text with Jinja, because Airflow never renders assets.
    """
    return Asset(uri=table_asset_uri(workspace_url, table))


def table_asset_uri(workspace_url: str, table: str) -> str:
    """Return ``databricks://host/catalog/schema/table``, in lower case, because Unity Catalog ignores case."""
    return f"databricks://{_host(workspace_url)}/{'/'.join(_name_parts(table))}".lower()


def table_page_url(workspace_url: str, table: str) -> str:
    """Return the URL of the table's page in the workspace's Catalog Explorer."""
    return f"{workspace_url.rstrip('/')}/explore/data/{'/'.join(_name_parts(table))}"


def _host(workspace_url: str) -> str:
    host = urlsplit(workspace_url if "://" in workspace_url else f"https://{workspace_url}").netloc
    if not host or "{" in host:
        raise ConfigurationError(
            f"workspace_url {workspace_url!r} has no host; pass a URL without Jinja: Airflow never renders assets"
        )
    return host


def _name_parts(table: str) -> list[str]:
    parts = [part.strip("`") for part in table.split(".")]
    if len(parts) != _NAME_PARTS or not all(parts) or "{" in table:
        jinja = ", without Jinja: Airflow never renders assets" if "{" in table else ""
        raise ConfigurationError(f"table {table!r} must be catalog.schema.table, three parts{jinja}")
    return parts
