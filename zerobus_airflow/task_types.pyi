"""The type of ``@task`` for editors and type checkers: Airflow's own decorators and ``@task.zerobus_ingest``."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from airflow.sdk.bases.decorator import TaskDecorator
from airflow.sdk.definitions.decorators import TaskDecoratorCollection

from zerobus_core import IngestOptions

class ZerobusTaskDecorators(TaskDecoratorCollection):
    def zerobus_ingest(
        self,
        python_callable: Callable[..., Any] | None = ...,
        *,
        table: str,
        options: IngestOptions | Mapping[str, Any] | str | None = ...,
        zerobus_conn_id: str = ...,
        endpoint: str | None = ...,
        on_empty: Literal["success", "skip", "fail"] | None = ...,
        resume: Literal["retry", "always", "never"] | None = ...,
        checkpoint_uri: str | None = ...,
        retry_permanent_errors: bool = ...,
        **kwargs: Any,
    ) -> TaskDecorator:
        """Deliver what the function returns or yields; the task returns the receipt.

        :param table: ``catalog.schema.table``. (templated)
        :param options: IngestOptions, or a mapping of its fields. (templated)
        :param zerobus_conn_id: connection of type ``zerobus`` or ``databricks``. (templated)
        :param endpoint: Zerobus endpoint, if the connection does not hold it. (templated)
        :param on_empty: what happens if there are no rows.
        :param resume: which attempts may skip rows that are already durable.
        :param checkpoint_uri: a directory for checkpoints; Airflow 3.3 and newer do not need it. (templated)
        :param retry_permanent_errors: also retry after errors that a retry alone cannot fix.
        """

task: ZerobusTaskDecorators
