"""Dagster: an async asset that awaits the pages of an API, and one delivery of all their rows.

The pages are made up here; in your project they come from httpx, aiohttp or an async database driver.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import dagster as dg

from zerobus_dagster import ZerobusCredentials, ZerobusResource

CREATE_TABLE = "CREATE TABLE main.default.readings (id BIGINT NOT NULL, sensor STRING, value DOUBLE)"
PAGES, ROWS_PER_PAGE = 20, 50


async def page(number: int) -> list[dict[str, Any]]:
    """Return one page of an API."""
    await asyncio.sleep(0.01)
    first = number * ROWS_PER_PAGE
    return [{"id": n, "sensor": f"s{n % 7}", "value": n / 10} for n in range(first, first + ROWS_PER_PAGE)]


async def readings_of(pages: int) -> AsyncIterator[dict[str, Any]]:
    """Yield the rows of all pages, page by page."""
    for number in range(pages):
        for row in await page(number):
            yield row


@dg.asset(kinds={"databricks", "zerobus"}, retry_policy=dg.RetryPolicy(max_retries=2, delay=5))
async def readings(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
    """All readings; a retry sends only the rows that are missing, because source_version identifies the rows."""
    options = {"source_version": f"the first {PAGES} pages"}
    return await zerobus.aingest(context, "main.default.readings", readings_of(PAGES), options=options)


credentials = ZerobusCredentials(
    client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
)
defs = dg.Definitions(
    assets=[readings],
    resources={
        "zerobus_credentials": credentials,
        "zerobus": ZerobusResource(
            endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
            workspace_url=dg.EnvVar("DATABRICKS_HOST"),
            credentials=credentials,
        ),
    },
)
