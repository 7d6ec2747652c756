"""Checks the parameters of operators: while the Dag is parsed if a value is known by then, otherwise on the worker."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from zerobus_core import ConfigurationError, IngestOptions
from zerobus_core.hosting import warn_deprecated

from .compat import XComArg

if TYPE_CHECKING:
    from .checkpoint import Resume

__all__ = [
    "ASSET_SCHEME",
    "NO_SHARD",
    "as_mapping",
    "check_outlets",
    "check_source",
    "is_known",
    "known_options",
    "one_of",
    "rendered_name",
    "rendered_table",
    "resume_of",
    "templated_options",
    "templated_table",
    "with_arguments",
]


class _NoShard:
    def __repr__(self) -> str:
        return "no shard"


NO_SHARD: Final = _NoShard()
"""The default of ``shard``. None is not used, because a task can return None by mistake instead of a shard."""

_NAME_PARTS = 3
ASSET_SCHEME = "databricks://"
_DEFAULT_OPTIONS = IngestOptions()


def is_known(value: Any) -> bool:
    """Return whether a value is already known, which means that it contains no template and no output of a task."""
    if isinstance(value, XComArg):
        return False
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, Mapping):
        return all(map(is_known, value.keys())) and all(map(is_known, value.values()))
    return all(map(is_known, value)) if isinstance(value, list | tuple | set) else True


def one_of(name: str, value: Any, *choices: str) -> Any:
    """Return ``value`` if it is one of ``choices``; otherwise raise a ConfigurationError that lists ``choices``."""
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
    return value


def resume_of(resume: Resume | None, durable: bool | None) -> Resume:
    """Return the value of ``resume``, by default "retry"; ``durable`` is the deprecated form of this parameter."""
    if durable is not None:
        warn_deprecated("durable", "leave it out, or say resume='never' instead of durable=False", stacklevel=4)
        resume = resume or ("retry" if durable else "never")
        if not durable:
            return "never"
    return one_of("resume", resume or "retry", "retry", "always", "never")  # type: ignore[no-any-return]


def templated_table(table: Any) -> Any:
    """Return ``table``, which can be a template or the output of a task.

    Raises ConfigurationError for a value of another type, and for text that is neither a template nor
    ``catalog.schema.table``.
    """
    if isinstance(table, str) and is_known(table):
        parts = [part.strip("`") for part in table.split(".")]
        if len(parts) != _NAME_PARTS or not all(parts):
            raise ConfigurationError(f"table {table!r} must be catalog.schema.table, three parts")
    elif not isinstance(table, str | XComArg):
        raise ConfigurationError(f"table is of type {type(table).__name__}; pass catalog.schema.table as text")
    return table


def rendered_name(parameter: str, value: Any) -> str:
    """Return ``value``, which is a name that Airflow has rendered.

    Raises ConfigurationError if ``value`` is not text, or if it still contains a template. ``parameter`` is the
    operator's parameter to which the name was passed; error messages begin with it.
    """
    if not isinstance(value, str):
        raise ConfigurationError(
            f"{parameter} must be text, but is {value!r} on the worker: a task returned this value, or a template was "
            "rendered to it; change the task or template so that it gives the name as text"
        )
    if not is_known(value):
        raise ConfigurationError(
            f"{parameter} is {value!r} on the worker, with Jinja that is not rendered: Airflow does not render "
            "the result of a template again; write a template whose result is the name itself"
        )
    return value


def rendered_table(table: Any) -> str:
    """Return ``table``, the rendered name of a table; raise ConfigurationError if it is invalid."""
    name = rendered_name("table", table)
    parts = [part.strip("`") for part in name.split(".")]
    if len(parts) != _NAME_PARTS or not all(part.strip() for part in parts):
        raise ConfigurationError(f"table is {name!r} on the worker, but must be catalog.schema.table, three parts")
    return name


def as_mapping(options: Any) -> dict[str, Any]:
    """Return ``options`` as a dict, which Airflow can render.

    If ``options`` is IngestOptions, the dict contains only the options that differ from their defaults.

    Raises ConfigurationError if ``options`` is neither IngestOptions nor a mapping nor None.
    """
    if isinstance(options, IngestOptions):
        return {
            field.name: value
            for field in dataclasses.fields(options)
            if (value := getattr(options, field.name)) != getattr(_DEFAULT_OPTIONS, field.name)
        }
    if not isinstance(options, Mapping | None):
        raise ConfigurationError(
            f"options is of type {type(options).__name__}; pass IngestOptions or a dict of its fields"
        )
    return dict(options or {})


def templated_options(options: Any) -> Any:
    """Return the ``options`` that an operator stores.

    The names of options, and the values that are known, are checked here. Values that are templates are checked on the
    worker, after Airflow has rendered them. If ``options`` as a whole is a template or the output of a task, all of it
    is checked there.
    """
    if isinstance(options, XComArg) or (isinstance(options, str) and not is_known(options)):
        return options
    given = as_mapping(options)
    if is_known(given):
        IngestOptions.from_mapping(given)
    else:
        known = {name: value for name, value in given.items() if is_known(value)}
        IngestOptions.from_mapping(known | _stand_ins(given.keys() - known.keys()))
    return given


def _stand_ins(names: Iterable[str]) -> dict[str, Any]:
    """Return a substitute value for each option in ``names``, so that all other options can be checked.

    The values of the options in ``names`` are not known yet. Every substitute value is valid.
    """
    values: dict[str, Any] = {"dead_letter_uri": "later.jsonl", "on_bad_record": "dead_letter"}
    return {name: values.get(name, getattr(_DEFAULT_OPTIONS, name, None)) for name in names}


def known_options(options: Any) -> IngestOptions:
    """Return the rendered options as IngestOptions; raise ConfigurationError if one of them is invalid."""
    if isinstance(options, str):
        raise ConfigurationError(
            "options was rendered to text: a template becomes text unless the Dag sets "
            "render_template_as_native_obj=True; pass a dict whose values are templates instead"
        )
    return IngestOptions.from_mapping(as_mapping(options))


def with_arguments(options: IngestOptions, arguments: Any) -> IngestOptions:
    """Return the options of a mapped task, with a hash of its ``arguments`` added to ``source_version``.

    The options are returned unchanged if ``source_version`` is None or the task has no arguments. The hash is needed
    because a cleared task can be mapped over another list: the same map index then means other rows.
    """
    if options.source_version is None or not arguments:
        return options
    text = json.dumps(arguments, sort_keys=True, default=lambda value: type(value).__qualname__)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return dataclasses.replace(options, source_version=f"{options.source_version} with {digest}")


def check_outlets(outlets: Iterable[Any], table: str, uri: str | None = None) -> None:
    """Raise ConfigurationError if an outlet is a table other than the one that the task delivers to.

    The event of such an outlet would announce rows that never arrived there. ``table`` is the name of the task's table,
    and ``uri`` is the URI of the table's asset. While a Dag is parsed, the workspace is not known and ``uri`` is None:
    then only the names of the tables are compared.
    """
    for outlet in outlets:
        other = getattr(outlet, "uri", None)
        if not isinstance(other, str) or not other.startswith(ASSET_SCHEME):
            continue
        name = ".".join(other.removeprefix(ASSET_SCHEME).split("/")[1:])
        is_other = other != uri if uri else name != table.replace("`", "").lower()
        if is_other and name.count(".") == _NAME_PARTS - 1:
            raise ConfigurationError(
                f"the outlet {other} is not the table that this task delivers to ({uri or table}); "
                "its event would announce rows that never arrived there. Remove the outlet, or correct the table's name"
            )


def check_source(source: Any) -> None:
    """Raise ConfigurationError if a path, or a list of paths, is empty."""
    if isinstance(source, str | os.PathLike):
        if not str(source).strip():
            raise ConfigurationError("source is empty; pass a path or URI of files")
    elif isinstance(source, list | tuple):
        if not source:
            raise ConfigurationError("source is an empty list; pass one or more paths or URIs of files")
        for item in source:
            check_source(item)
