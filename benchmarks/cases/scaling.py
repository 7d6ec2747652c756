"""Delivers with 1, 2, 4, 8 and 16 streams, while the server limits the rows per second of each stream."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from benchmarks.measuring import OURS, Figure, Settings, Spread, Target, measure
from zerobus_core import IngestOptions, ingest
from zerobus_local import LocalZerobusProcess

# Rows per second. A quarter of the limit that the service documents, so that two processors can serve 16 streams.
_LIMIT = 25_000


def figures(settings: Settings) -> Iterator[Figure]:
    """Yield rows/s for each number of streams, and the ratio to the rows/s of one stream."""
    seconds = 2 if settings.quick else 4
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalZerobusProcess.start(Path(folder), rows_per_second=_LIMIT) as server,
    ):
        server.create_table("CREATE TABLE main.default.scaled (id BIGINT NOT NULL, name STRING, x DOUBLE)")
        one: list[float] = []
        for streams in (1, 2, 4, 8, 16):
            rows = _LIMIT * seconds * streams
            table = pa.table({"id": range(rows), "name": ["some name"] * rows, "x": [0.5] * rows})
            options = IngestOptions(streams=streams, batch_rows=2_500)
            ingest(server.workspace, "main.default.scaled", table.slice(0, 1_000), options=options)
            turns = 1 if settings.quick else 2
            rates = [
                rows / measure(lambda: ingest(server.workspace, "main.default.scaled", table, options=options)).wall  # noqa: B023
                for _ in range(turns)
            ]
            one = one or rates
            yield Figure(
                case="scaling",
                name=f"{streams} limited stream{'s' if streams > 1 else ''}",
                unit="rows/s",
                values={OURS: Spread.of(rates)},
                ratio=Spread.of([rate / alone for rate, alone in zip(rates, one, strict=True)]),
                target=Target(7.0) if streams == 8 else None,
            )
