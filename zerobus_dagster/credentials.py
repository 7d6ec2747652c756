"""The service principal of a delivery: a separate resource, so that Dagster shows its secret only as ``********``."""

# Dagster needs the annotations of fields as types, not as text: no `from __future__ import annotations` here.
from typing import Any

import dagster as dg
from pydantic import Field

from zerobus_core import ClientCredentials, ConfigurationError

__all__ = ["ZerobusCredentials", "client_credentials"]

# What Dagster's launchpad and pages show of a secret.
_MASK = "********"


class ZerobusCredentials(dg.ConfigurableResource[Any]):
    """The service principal that pushes the rows.

    Pass these credentials to ``ZerobusResource``, and also give them a key of their own in ``Definitions``, because
    Dagster masks secrets only at the first level of a resource. This also keeps the launchpad from copying the secret
    into the configuration of a run.

    Examples:
        .. code-block:: python

            credentials = ZerobusCredentials(
                client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
            )
            defs = dg.Definitions(
                resources={
                    "zerobus_credentials": credentials,
                    "zerobus": ZerobusResource(endpoint=..., workspace_url=..., credentials=credentials),
                }
            )
    """

    client_id: str = Field(description="The client id (application id) of the service principal.")
    client_secret: str = Field(
        description="An OAuth secret of the service principal; give an EnvVar.",
        repr=False,
        json_schema_extra={"dagster__is_secret": True},
    )


def client_credentials(client_id: str | None, client_secret: str | None) -> ClientCredentials:
    """Return credentials for the core.

    Raises ConfigurationError if the id or the secret is missing, or if the secret is the mask that Dagster shows
    instead of a secret.
    """
    if not client_id or not client_secret:
        raise ConfigurationError(
            "ZerobusResource has no credentials: pass credentials=ZerobusCredentials(client_id=..., client_secret=...)"
        )
    if client_secret == _MASK:
        raise ConfigurationError(
            f"client_secret is {_MASK!r}, which is what Dagster shows instead of a secret: the launchpad put the "
            "mask into this run's configuration, where it overrides the value in the code. Remove client_secret "
            "from the launchpad and launch again; with credentials=ZerobusCredentials(...), the launchpad does not "
            "copy the secret"
        )
    return ClientCredentials(client_id=client_id, client_secret=client_secret)
