"""Buttons on the task's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey

__all__ = ["CatalogExplorerLink"]


class CatalogExplorerLink(BaseOperatorLink):
    """Opens the table in the workspace's Catalog Explorer."""

    name = "Table in Catalog Explorer"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The page of the delivered table; empty until the task knows its workspace.

        Airflow asks the very operator that ran, in the worker, and keeps the answer.
        """
        return getattr(operator, "table_page", "")
