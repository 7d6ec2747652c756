"""The options that can be changed for one run when it is launched. The connection cannot be changed."""

# Dagster needs the annotations of fields as types, not as text: no `from __future__ import annotations` here.
from typing import Any, get_args

import dagster as dg
from pydantic import Field, field_validator

from .history import OnRematerialize
from .options import checked_options
from .resume import RESUME, resume_of

__all__ = ["ZerobusIngestConfig"]


class ZerobusIngestConfig(dg.Config):
    """Configuration of an asset or op in the launchpad; pass it to ``ingest`` as ``options``.

    Examples:
        .. code-block:: python

            @dg.asset
            def orders(
                context: dg.AssetExecutionContext, zerobus: ZerobusResource, config: ZerobusIngestConfig
            ) -> dg.MaterializeResult:
                return zerobus.ingest(context, "main.default.orders", "orders.parquet", options=config)
    """

    options: dict[str, Any] = Field(
        default={}, description='Options by the names of IngestOptions; they override the resource\'s: {"streams": 4}.'
    )
    # Any, because Dagster's configuration has no type that takes a word and also the older True and False.
    resume: Any = Field(default=None, description=f"{RESUME}  The resource's setting if left out.")
    on_rematerialize: str | None = Field(
        default=None,
        description='What to do if the asset or partition was delivered before: "append" or "refuse". The resource\'s '
        "setting if left out.",
    )

    def __init__(self, **data: Any) -> None:
        if data.get("resume") is not None:
            data["resume"] = resume_of(data["resume"], stacklevel=2)
        super().__init__(**data)

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any]) -> dict[str, Any]:
        return checked_options(value)

    @field_validator("on_rematerialize")
    @classmethod
    def _append_or_refuse(cls, value: str | None) -> str | None:
        if value is not None and value not in get_args(OnRematerialize):
            raise ValueError(f'on_rematerialize must be "append" or "refuse", not {value!r}')
        return value
