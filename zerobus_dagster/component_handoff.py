"""The component's ``handoff:`` block, which makes each run deliver only what is new."""

# Dagster needs the annotations of fields as types, not as text: no `from __future__ import annotations` here.
import os
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from zerobus_core import ConfigurationError

__all__ = ["ZerobusHandoff"]


class ZerobusHandoff(dg.Model, dg.Resolvable):
    """Makes each run deliver only what is new: files of ``source``, rows of ``sql``, or items of ``records``."""

    state_uri: str | None = Field(
        default=None,
        description="Path or URI of the file that keeps the state; required for files. Without it, the state is in the "
        "asset's own events.",
        examples=["s3://ops/orders.handoff.json"],
    )
    name: str | None = Field(default=None, description="The handoff's name; the asset's key if left out.")
    on_busy: Literal["fail", "skip", "wait"] = Field(
        default="fail", description="What to do if another run is delivering."
    )
    settle: float = Field(default=0.0, ge=0, description="Files: seconds for which a file must not have changed.")
    max_files: int | None = Field(default=None, ge=1, description="Files: the most files in one run.")
    max_bytes: int | None = Field(default=None, ge=1, description="Files: the most bytes in one run.")
    on_changed: Literal["fail", "deliver", "ignore"] = Field(
        default="fail", description="Files: what to do if the content of a delivered file has changed."
    )
    names_increase: bool = Field(default=False, description="Files: whether new names sort after all earlier ones.")
    column: str | None = Field(default=None, description="A query: the column that says which rows are new.")
    key: str | list[str] | None = Field(
        default=None, description="A query: the column, or columns, that order rows with the same value."
    )
    lag: float | None = Field(
        default=None,
        ge=0,
        description="A query: at most how many seconds after its value a row is committed.",
    )
    lag_rows: int | None = Field(
        default=None,
        ge=0,
        description="A query: how many of the newest rows to leave for the next run. More are left if rows have the "
        "same value as the oldest of these.",
    )
    commits_in_order: bool = Field(
        default=False, description="A query: whether rows become visible in the order of the column."
    )

    def check(self, *, is_files: bool, is_sql: bool, is_partitioned: bool) -> None:
        """Raise ValueError if the handoff cannot work with this source or asset. Called when definitions are loaded."""
        if is_partitioned:
            raise ValueError(
                "handoff is not for partitioned assets, whose runs deliver partitions instead of slices; leave out "
                "either the handoff or the partitions"
            )
        if is_files and self.state_uri is None:
            raise ValueError("handoff of files needs state_uri, the path or URI of the file that keeps its state")
        if is_sql and self.column is None:
            raise ValueError("handoff of a query needs column, the column that shows which rows are new")

    def new_files(self, path: str) -> Any:
        """Return NewFiles for a directory or glob."""
        from zerobus_core import NewFiles

        return NewFiles(
            path,
            settle=self.settle,
            max_files=self.max_files,
            max_bytes=self.max_bytes,
            on_changed=self.on_changed,
            names_increase=self.names_increase,
        )

    def new_rows(self, query: str, url_env: str) -> Any:
        """Return NewRows for a query; the environment variable ``url_env`` has the SQLAlchemy URL of the database."""
        from zerobus_core import NewRows

        def connect() -> Any:
            from sqlalchemy import create_engine

            url = os.environ.get(url_env)
            if not url:
                raise ConfigurationError(
                    f"the environment variable {url_env} must have the SQLAlchemy URL of a database"
                )
            pooled: Any = create_engine(url).raw_connection()
            pooled.detach()
            return pooled.dbapi_connection

        return NewRows(
            connect,
            query,
            column=str(self.column),
            key=self.key,
            lag=self.lag,
            lag_rows=self.lag_rows,
            commits_in_order=self.commits_in_order,
        )
