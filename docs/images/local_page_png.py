"""Takes the picture of the local server's page under load, with the browser of the tests (``make services``).

The page shows the folder of the data, so give a plain one that does not exist yet:

python -m docs.images.local_page_png docs/images/zerobus_local_page.png /srv/zerobus-data
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.services.browser import Chromium
from zerobus_core import TransportError, ingest
from zerobus_local import LocalZerobus

_FLIGHTS = """CREATE TABLE main.default.flights (id BIGINT NOT NULL, carrier STRING, origin STRING, dest STRING,
    distance INT, fare DECIMAL(10,2), departed TIMESTAMP)"""
_WEATHER = "CREATE TABLE main.default.weather (hour BIGINT NOT NULL, origin STRING, temperature DOUBLE)"
_SECONDS = 12.0
_BEGIN = datetime(2026, 1, 2, tzinfo=UTC)


def flights(stop: threading.Event) -> Iterator[dict[str, Any]]:
    """Rows that come bit by bit, until ``stop``."""
    number = 0
    while not stop.wait(0.05):
        for _ in range(100):
            yield {
                "id": number,
                "carrier": ("UA", "DL", "AA")[number % 3],
                "origin": "JFK",
                "dest": ("LAX", "ORD", "BOS")[number % 7 % 3],
                "distance": 187 + number * 37 % 2_400,
                "fare": Decimal(9_900 + number * 131 % 90_000) / 100,
                "departed": _BEGIN + timedelta(minutes=number),
            }
            number += 1


def take_picture(picture: Path, data: Path) -> None:
    """Serve, deliver for a while, and take the picture before the delivery ends."""
    with LocalZerobus.start(data, ack_delay=0.05) as server:
        server.create_table(_FLIGHTS)
        server.create_table(_WEATHER)
        weather = [{"hour": hour, "origin": "JFK", "temperature": 2.5 + hour % 9} for hour in range(300)]
        ingest(server.workspace, "main.default.weather", weather)
        server.faults.add(action="refuse_open", table="main.default.weather", times=1)
        try:
            ingest(server.workspace, "main.default.weather", weather[:1], options={"max_attempts": 1})
        except TransportError as error:
            print("for the list of errors:", error)  # noqa: T201
        stop = threading.Event()
        options = {"streams": 2, "batch_rows": 200}
        delivery = threading.Thread(
            target=ingest, args=(server.workspace, "main.default.flights", flights(stop)), kwargs={"options": options}
        )
        delivery.start()
        try:
            end = time.monotonic() + _SECONDS
            while time.monotonic() < end:  # the page measures rates from one look at it to the next
                urlopen(server.workspace.workspace_url).close()  # noqa: S310  # our own server
                time.sleep(1)
            Chromium(picture.parent).screenshot(server.workspace.workspace_url, width=1440, height=1100).rename(picture)
        finally:
            stop.set()
            delivery.join()


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
