"""Makes Airflow mask the secrets in URIs, such as the signature in an Azure SAS URL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from zerobus_core.hosting import secrets_in

from .compat import PythonDecoratedOperator, mask_secret, task_decorator_factory

if TYPE_CHECKING:
    from jinja2 import Environment

    from .compat import Context

__all__ = ["mask_uris", "masking_task"]


def mask_uris(value: Any) -> None:
    """Make Airflow mask the secrets of the URIs in ``value``, both in rendered fields and in logs.

    ``value`` can be text, or nested mappings, sequences, sets and dataclasses. The keys of mappings are not searched.
    """
    for text in _texts(value):
        for secret in secrets_in(text):
            mask_secret(secret)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(value.values())
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _texts(asdict(value))
    elif isinstance(value, Sequence | Set | type({}.values())) and not isinstance(value, bytes):
        for item in value:
            yield from _texts(item)


class MaskingPythonOperator(PythonDecoratedOperator):
    """The operator of ``@task``, extended to mask the secrets of URIs in the function's arguments."""

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Environment, seen_oids: set[int]
    ) -> None:
        # Airflow also calls this method for mapped tasks. Afterwards it stores and shows the fields as they are.
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        mask_uris([self.op_args, self.op_kwargs])


masking_task = partial(
    task_decorator_factory, None, multiple_outputs=False, decorated_operator_class=MaskingPythonOperator
)
"""Like ``@task``, but masks the secrets of URIs in the function's arguments.

The function has one result, which is not split into several outputs. Takes ``task_id`` and other arguments of tasks.
"""
