"""Links on the task's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from zerobus_core.hosting import shown_uri

from .compat import BaseOperatorLink, keep_link, kept_link

if TYPE_CHECKING:
    from .compat import BaseOperator, Context, TaskInstanceKey

__all__ = ["CatalogExplorerLink", "DeadLettersLink", "dead_letters_page", "keep_links"]


class CatalogExplorerLink(BaseOperatorLink):
    """A link to the table in the workspace's Catalog Explorer."""

    name = "Table in Catalog Explorer"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the delivered table's page; empty until the task knows its workspace.

        Airflow 3 calls this in the worker, with the operator that ran, and stores the result. Airflow 2 calls this in
        the web server.
        """
        return getattr(operator, "table_page", "") or kept_link(self, ti_key)


class DeadLettersLink(BaseOperatorLink):
    """A link to the page that shows the task's dead-letter file, for storage that has such pages."""

    name = "Dead letters"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the page that shows the task's dead-letter file.

        The URL is empty if the task wrote no dead-letter file, or if the file's storage has no such pages.
        """
        return getattr(operator, "dead_letters", "") or kept_link(self, ti_key)


def keep_links(context: Context, operator: Any) -> None:
    """Store the links of a task for the web server of Airflow 2; Airflow 3 stores them by itself."""
    for link, url in ((CatalogExplorerLink(), operator.table_page), (DeadLettersLink(), operator.dead_letters)):
        if url:
            keep_link(context, link, url)


def dead_letters_page(uri: str, workspace_url: str) -> str:
    """Return the URL of the page that shows a dead-letter file; empty if its storage has no such page."""
    volume = uri.removeprefix("dbfs:").removeprefix("//").removeprefix("/")
    if volume.startswith("Volumes/"):
        return f"{workspace_url.rstrip('/')}/explore/data/volumes/{quote(volume.removeprefix('Volumes/'))}"
    scheme, _, path = uri.partition("://")
    bucket, _, key = path.partition("/")
    if scheme in {"http", "https"}:
        return shown_uri(uri).partition("?")[0]
    if scheme in {"s3", "s3a"}:
        return f"https://s3.console.aws.amazon.com/s3/object/{quote(bucket)}?prefix={quote(key)}"
    if scheme in {"gs", "gcs"}:
        return f"https://console.cloud.google.com/storage/browser/_details/{quote(bucket)}/{quote(key)}"
    return ""
