"""What an editor and a type checker know of ``@task``: all that Airflow has, and ``@task.zerobus_ingest``."""

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
        :param on_empty: what no rows at all mean.
        :param resume: which attempts may skip the rows that are durable already.
        :param checkpoint_uri: a directory for checkpoints, for Airflow before 3.3. (templated)
        :param retry_permanent_errors: retry what another attempt cannot fix by itself.
        """

task: ZerobusTaskDecorators
