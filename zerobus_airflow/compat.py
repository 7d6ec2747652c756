"""Gives one fixed name to each part of Airflow whose module or name depends on the version of Airflow (2.11 to 3.x).

``airflow.providers.common.compat.sdk`` has the same purpose, but is not used here: the constraints files of older
supported Airflow versions pin releases of that provider in which most of the names are missing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import (
        DAG,
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSkipException,
        AirflowTaskTimeout,
        Asset,
        BaseHook,
        BaseOperator,
        BaseOperatorLink,
        Connection,
        Context,
        DecoratedOperator,
        ObjectStoragePath,
        Stats,
        TaskDecorator,
        TaskInstanceKey,
        XComArg,
        conf,
        context_merge,
        determine_kwargs,
        get_current_context,
        get_hook_lineage_collector,
        literal,
        mask_secret,
        task,
        task_decorator_factory,
    )
    from airflow.providers.standard.decorators.python import _PythonDecoratedOperator as PythonDecoratedOperator
    from airflow.sdk.exceptions import AirflowRuntimeError

__all__ = [
    "DAG",
    "IS_AIRFLOW_3",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRuntimeError",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "Connection",
    "Context",
    "DecoratedOperator",
    "ObjectStoragePath",
    "PythonDecoratedOperator",
    "Stats",
    "TaskDecorator",
    "TaskInstanceKey",
    "XComArg",
    "conf",
    "conn_id_of",
    "context_merge",
    "determine_kwargs",
    "get_current_context",
    "get_hook_lineage_collector",
    "keep_link",
    "kept_link",
    "literal",
    "mask_secret",
    "report_output",
    "task",
    "task_decorator_factory",
]

IS_AIRFLOW_3 = find_spec("airflow.sdk") is not None

# The modules in which versions of Airflow define each name. The newest comes first, because newer versions of Airflow
# still have the older modules, but warn about them.
_EXCEPTIONS = ("airflow.sdk.exceptions", "airflow.exceptions")
_SDK_DECORATOR = "airflow.sdk.bases.decorator"
_HOMES: dict[str, tuple[str, ...]] = {
    "AirflowException": _EXCEPTIONS,
    "AirflowFailException": _EXCEPTIONS,
    "AirflowNotFoundException": _EXCEPTIONS,
    # Nothing raises it before 3.0, but ``except`` needs a class.
    "AirflowRuntimeError": ("airflow.sdk.exceptions", "airflow.exceptions:AirflowException"),
    "AirflowSkipException": _EXCEPTIONS,
    "AirflowTaskTimeout": _EXCEPTIONS,
    "Asset": ("airflow.sdk", "airflow.datasets:Dataset"),
    "BaseHook": ("airflow.sdk", "airflow.hooks.base"),
    "BaseOperator": ("airflow.sdk", "airflow.models.baseoperator"),
    "BaseOperatorLink": ("airflow.sdk", "airflow.models.baseoperatorlink"),
    "Connection": ("airflow.sdk", "airflow.models.connection"),
    "Context": ("airflow.sdk", "airflow.utils.context"),
    "DAG": ("airflow.sdk", "airflow.models.dag"),
    "DecoratedOperator": (_SDK_DECORATOR, "airflow.decorators.base"),
    "ObjectStoragePath": ("airflow.sdk", "airflow.io.path"),
    "PythonDecoratedOperator": (
        "airflow.providers.standard.decorators.python:_PythonDecoratedOperator",
        "airflow.decorators.python:_PythonDecoratedOperator",
    ),
    "Stats": ("airflow.sdk.observability.stats", "airflow.stats"),
    "TaskDecorator": (_SDK_DECORATOR, "airflow.decorators.base"),
    "TaskInstanceKey": ("airflow.sdk.types", "airflow.models.taskinstancekey"),
    "XComArg": ("airflow.sdk", "airflow.models.xcom_arg"),
    "conf": ("airflow.sdk.configuration", "airflow.configuration"),
    "context_merge": ("airflow.sdk.definitions.context", "airflow.utils.context"),
    "determine_kwargs": (_SDK_DECORATOR, "airflow.utils.operator_helpers"),
    "get_current_context": ("airflow.sdk", "airflow.operators.python"),
    "get_hook_lineage_collector": ("airflow.sdk.lineage", "airflow.lineage.hook"),
    "literal": ("airflow.sdk.definitions.template", "airflow.utils.template"),
    "mask_secret": (
        "airflow.sdk.log",
        "airflow.sdk.execution_time.secrets_masker",
        "airflow.utils.log.secrets_masker",
    ),
    "task": ("airflow.sdk", "airflow.decorators"),
    "task_decorator_factory": (_SDK_DECORATOR, "airflow.decorators.base"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _find(name)


def _find(name: str) -> Any:
    for home in _HOMES[name]:
        module, _, other_name = home.partition(":")
        try:
            value = getattr(import_module(module), other_name or name)
        except (AttributeError, ModuleNotFoundError):
            continue
        globals()[name] = value
        return value
    raise ImportError(f"this version of Airflow has no {name}; zerobus_airflow supports Airflow 2.11 and newer")


def report_output(hook: BaseHook, uri: str) -> None:
    """Tell Airflow's hook-lineage collector that the asset at ``uri`` was written by ``hook``.

    OpenLineage reads the lineage from this collector.
    """
    collector = _find("get_hook_lineage_collector")()
    # Assets were called data sets before Airflow 3.
    add = getattr(collector, "add_output_asset", None) or collector.add_output_dataset
    add(context=hook, uri=uri)


def keep_link(context: Context, link: BaseOperatorLink, url: str) -> None:
    """Store a link for the web server of Airflow 2.

    Airflow 2 computes links in the web server. In Airflow 3, this function does nothing, because the worker computes
    and stores the links.
    """
    if not IS_AIRFLOW_3:
        context["ti"].xcom_push(key=_link_key(link), value=url)


def kept_link(link: BaseOperatorLink, ti_key: TaskInstanceKey) -> str:
    """Return the link that ``keep_link`` stored, or an empty string if there is none."""
    if IS_AIRFLOW_3:
        return ""
    return import_module("airflow.models.xcom").XCom.get_value(key=_link_key(link), ti_key=ti_key) or ""


def _link_key(link: BaseOperatorLink) -> str:
    return f"_link_{type(link).__name__}"  # the same key as in Airflow 3


def conn_id_of(path: ObjectStoragePath) -> str | None:
    """Return the id of the connection that is used to read ``path``; None if there is no such connection."""
    options: dict[str, Any] = getattr(path, "storage_options", {})
    return getattr(path, "conn_id", None) or options.get("conn_id")
