"""Compares one stream with loops by hand if acknowledgements come 0, 50 or 200 ms late: does the stream stay busy?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from benchmarks.by_hand import arrow_by_hand, protobuf_by_hand
from benchmarks.encoder import CASES
from benchmarks.measuring import OURS, Figure, Settings, Target, compare, figure_of
from example_dags.demo import source
from zerobus_core import TableSchema, ingest
from zerobus_local import LocalZerobusProcess

_DELAYS = (0.0, 0.05, 0.2)


def figures(settings: Settings) -> Iterator[Figure]:
    """Yield figures for Arrow data and for dicts, with each delay.

    The loops by hand do not limit the number of rows that wait for an acknowledgement.
    """
    flights = source.flights()
    many = pa.concat_tables([flights] * (1 if settings.quick else 3))
    case = CASES[0]
    rows = [case.row(i) for i in range(settings.rows(400_000))]
    with tempfile.TemporaryDirectory() as folder, LocalZerobusProcess.start(Path(folder)) as server:
        for at, delay in enumerate(_DELAYS):
            server.faults.clear()
            if delay:
                server.faults.add(action="delay_ack", seconds=delay)
            server.create_table(source.flights_sql(f"main.default.flights_{at}"))
            server.create_table(f"CREATE TABLE main.default.dicts_{at} ({case.columns})")
            arrow = TableSchema.fetch(server.workspace, f"main.default.flights_{at}")
            dicts = TableSchema.fetch(server.workspace, f"main.default.dicts_{at}")
            pairs = {
                "flights, Arrow table": (
                    many.num_rows,
                    {
                        "by hand": lambda: arrow_by_hand(server.workspace, arrow, many),  # noqa: B023
                        OURS: lambda: ingest(server.workspace, arrow.table, many),  # noqa: B023
                    },
                ),
                "flat dicts": (
                    len(rows),
                    {
                        "by hand": lambda: protobuf_by_hand(server.workspace, dicts, rows),  # noqa: B023
                        OURS: lambda: ingest(server.workspace, dicts.table, rows),  # noqa: B023
                    },
                ),
            }
            for name, (count, ways) in pairs.items():
                samples = compare(ways, settings, seconds=5.0, least=1 if settings.quick else 2)
                yield figure_of(
                    samples, count, case="round_trips", name=f"{name}, {delay * 1000:.0f} ms", target=Target(0.9)
                )
