"""``@task.zerobus_ingest``, which delivers the records that a function returns or yields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from zerobus_core import ConfigurationError
from zerobus_core.hosting import async_records

from .compat import Asset, DecoratedOperator, context_merge, determine_kwargs, task_decorator_factory
from .delivery import ZerobusDeliveryOperator

if TYPE_CHECKING:
    from .compat import Context, TaskDecorator

__all__ = ["zerobus_ingest_task"]


class ZerobusDecoratedOperator(DecoratedOperator, ZerobusDeliveryOperator):
    """Delivers the records that the decorated function returns or yields; the records never go through XCom."""

    custom_operator_name = "@task.zerobus_ingest"
    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *ZerobusDeliveryOperator.template_fields)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own attribute, read-only by custom
        **DecoratedOperator.template_fields_renderers,
        **ZerobusDeliveryOperator.template_fields_renderers,
    }

    def __init__(self, *, python_callable: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(python_callable=python_callable, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Deliver the records and return the receipt; see ZerobusDeliveryOperator.

        The ``execute`` of Airflow's DecoratedOperator is not used. In Airflow 3.0, it would call
        a method that operators do not have, after the end of the delivery.
        """
        self.inlets.extend(arg for arg in chain(self.op_args, self.op_kwargs.values()) if isinstance(arg, Asset))
        return ZerobusDeliveryOperator.execute(self, context)

    def _arguments(self) -> Any:
        return [list(self.op_args), dict(self.op_kwargs)]

    def _open_records(self, context: Context) -> AbstractContextManager[Any]:
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        call = partial(self.python_callable, *self.op_args, **kwargs)
        if inspect.iscoroutinefunction(self.python_callable) or inspect.isasyncgenfunction(self.python_callable):
            return async_records(call)
        return nullcontext(call())


def zerobus_ingest_task(
    python_callable: Callable[..., Any] | None = None, *, multiple_outputs: bool | None = None, **kwargs: Any
) -> TaskDecorator:
    """Turn a function that returns or yields records into a task; use as ``@task.zerobus_ingest(table="c.s.t")``.

    The function can also be a coroutine function or an async generator function. Such a function runs on an event loop
    in a thread of its own.

    Accepts the parameters of ``ZerobusDeliveryOperator``. The task returns the receipt.
    """
    if multiple_outputs:
        raise ConfigurationError(
            "@task.zerobus_ingest returns one receipt, so multiple_outputs=True has nothing to split; to pass on one "
            'field of the receipt, index the output: rows()["rows_acked"]'
        )
    return task_decorator_factory(
        python_callable=python_callable,
        # The receipt is one value, whatever the return annotation of the function says.
        multiple_outputs=False,
        decorated_operator_class=ZerobusDecoratedOperator,
        **kwargs,
    )
