"""``@task.zerobus_ingest``: a function that returns or yields records becomes a delivery."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    DecoratedOperator,
    TaskDecorator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from .delivery import ZerobusDeliveryOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["zerobus_ingest_task"]


class ZerobusDecoratedOperator(DecoratedOperator, ZerobusDeliveryOperator):
    """Delivers what the function returns or yields; its rows never go through XCom."""

    custom_operator_name = "@task.zerobus_ingest"
    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *ZerobusDeliveryOperator.template_fields)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own attribute, read-only by custom
        **DecoratedOperator.template_fields_renderers,
        **ZerobusDeliveryOperator.template_fields_renderers,
    }

    def __init__(self, *, python_callable: Callable[..., Any], **kwargs: Any) -> None:
        if inspect.iscoroutinefunction(python_callable) or inspect.isasyncgenfunction(python_callable):
            raise TypeError(f"{python_callable.__name__}: @task.zerobus_ingest takes a plain function or generator")
        super().__init__(python_callable=python_callable, **kwargs)

    def _opened_records(self, context: Context) -> AbstractContextManager[Any]:
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        return nullcontext(self.python_callable(*self.op_args, **kwargs))


def zerobus_ingest_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """``@task.zerobus_ingest(table="catalog.schema.table")`` around a function that returns or yields records.

    Takes the parameters of ``ZerobusIngestOperator`` but ``records`` and ``source``; the task returns the receipt.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        # The receipt is one value, whatever the function's own annotation says.
        multiple_outputs=False,
        decorated_operator_class=ZerobusDecoratedOperator,
        **kwargs,
    )
