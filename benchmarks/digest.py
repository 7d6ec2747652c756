"""Measures what digests cost: compares deliveries of dicts that save a checkpoint, with and without digests.

    python -m benchmarks.digest --pairs 15

Both deliveries of a pair have the same rows, but one of the two sources states that its fingerprint covers the content,
so that no digest is needed. Times are CPU seconds of this process with all of its threads (encoder, SDK, checkpoint).
The server is another process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zerobus_core import IngestOptions, ingest
from zerobus_core.batch import Chunk
from zerobus_core.checkpoint import MemoryCheckpointStore
from zerobus_core.ranges import RowRanges
from zerobus_local import LocalZerobusProcess

BATCH_ROWS = 5_000
COLUMNS = "id BIGINT NOT NULL, a INT, b INT, c BIGINT, name STRING, city STRING, x DOUBLE, y DOUBLE"
Format = Literal["protobuf", "json", "arrow"]


@dataclass
class Dicts:
    """Rows in memory, as a source that is read in chunks."""

    rows: list[dict[str, Any]]
    is_content_known: bool
    fingerprint: str | None = "rows of the benchmark"
    is_arrow: bool = False
    total_rows: int | None = None
    is_in_memory: bool = True

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        for start, stop in skip.without(0, len(self.rows)):
            for first in range(start, stop, BATCH_ROWS):
                yield Chunk(first, self.rows[first : min(stop, first + BATCH_ROWS)])


def main(arguments: list[str] | None = None) -> None:
    """Deliver flat dicts in each record format, and print the cost of digests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args(arguments)
    rows = [
        {"id": i, "a": i % 7, "b": i % 11, "c": i * 3, "name": f"name {i}", "city": "Newark", "x": i / 2, "y": 0.5}
        for i in range(given.rows)
    ]
    formats: tuple[Format, ...] = ("protobuf", "json", "arrow")
    with tempfile.TemporaryDirectory() as folder, LocalZerobusProcess.start(Path(folder)) as server:
        server.create_table(f"CREATE TABLE main.default.flat ({COLUMNS})")
        for record_format in formats:
            _compare(server, rows, record_format, given.pairs)


def _compare(server: LocalZerobusProcess, rows: list[dict[str, Any]], record_format: Format, pairs: int) -> None:
    def seconds(*, with_digest: bool) -> float:
        source = Dicts(rows, is_content_known=not with_digest)
        options = IngestOptions(record_format=record_format, batch_rows=BATCH_ROWS)
        started = time.process_time()
        ingest(server.workspace, "main.default.flat", source, options=options, checkpoint=MemoryCheckpointStore())
        return time.process_time() - started

    seconds(with_digest=True), seconds(with_digest=False)  # imports, fills caches
    found = []
    for pair in range(pairs):
        order = (True, False) if pair % 2 else (False, True)
        measured = {with_digest: seconds(with_digest=with_digest) for with_digest in order}
        found.append((measured[True], measured[False]))
    ratios = sorted(on / off - 1 for on, off in found)
    on, off = (statistics.median(column) for column in zip(*found, strict=True))
    print(
        f"{len(rows):,} dicts, {record_format:<9} without {1e6 * off / len(rows):.2f} µs of CPU a row   "
        f"with {1e6 * on / len(rows):.2f}   more {statistics.median(ratios):+.1%} "
        f"(of {pairs} pairs: least {ratios[0]:+.1%}, most {ratios[-1]:+.1%})"
    )


if __name__ == "__main__":
    main()
