"""A sensor that requests a run when a handoff has something new to deliver."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg

from .handoff import EventStateStore

if TYPE_CHECKING:
    from .resource import ZerobusResource
    from .step import AssetKeyLike

__all__ = ["build_zerobus_handoff_sensor"]


def build_zerobus_handoff_sensor(  # noqa: PLR0913 - what a sensor needs to look at a handoff
    asset: AssetKeyLike | dg.AssetsDefinition,
    *,
    table: str,
    source: Callable[[], Any],
    handoff: str | None = None,
    state_uri: str | None = None,
    resource_key: str = "zerobus",
    minimum_interval_seconds: int | None = None,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
) -> dg.SensorDefinition:
    """Build a sensor that requests a run of ``asset`` when the source has something new for ``table``.

    ``source`` is a function that returns the source. ``handoff`` and ``state_uri`` must be the ``name`` and
    ``state_uri`` that the asset passes to ``hand_over``. The sensor only reads the state; the run that it requests
    freezes the slice. The run key consists of the state's revision and the end of the new slice, so that a run is
    requested only once while both stay the same.
    """
    key = asset.key if isinstance(asset, dg.AssetsDefinition) else dg.AssetKey.from_coercible(asset)

    @dg.sensor(
        name=f"{key.to_python_identifier()}_handoff_sensor",
        asset_selection=dg.AssetSelection.assets(key),
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys={resource_key},
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from zerobus_core import Handoff

        resource: ZerobusResource = getattr(context.resources, resource_key)
        name = handoff or key.to_user_string()
        state: Any = state_uri or EventStateStore(instance=context.instance, asset_key=key, table=table, name=name)
        seen = Handoff(resource.workspace(), table, source(), state=state, name=name).look()
        if not seen["is_new"]:
            return dg.SkipReason(f"nothing is new since {seen['from']}")
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"{seen['revision']}-{seen['to']}")])

    return look
