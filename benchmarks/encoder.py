"""Compares the rows per second of our row encoder with those of protobuf's own functions, in the same run.

    python -m benchmarks.encoder --rounds 15 [--profile]

``upb`` is ``Message(**row).SerializeToString()`` without any check, on rows that already have the values of the wire
format. ``ParseDict`` is ``json_format.ParseDict`` and ``SerializeToString`` on the same rows. Our encoder gets the rows
as users have them, and does all checks and conversions. Times are CPU seconds of this process, because other programs
on the machine disturb them less than wall time. Each round gives a ratio, and the median of these ratios is printed.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk, Encoder
from zerobus_core.encode import encoder_for
from zerobus_core.encode.rows.messages import Messages

ROWS = 5_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    columns: str
    row: Callable[[int], dict[str, Any]]
    wire: Callable[[dict[str, Any]], dict[str, Any]]
    target: float | None
    """The least ratio to upb that we want to reach; None if there is no target."""


def _flat(i: int) -> dict[str, Any]:
    return {
        "id": i, "name": f"name-{i}", "device": f"dev-{i % 50}", "temp": 20.5 + i, "humidity": 0.4, "ok": i % 2 == 0,
        "n": i % 1000, "code": i % 100,
    }  # fmt: skip


def _flat_times(i: int) -> dict[str, Any]:
    return {
        "id": i, "name": f"name-{i}", "device": f"dev-{i % 50}", "temp": 20.5 + i, "n": i % 1000,
        "at": START + timedelta(seconds=i, microseconds=i), "day": START.date() + timedelta(days=i % 300),
        "price": Decimal(i).scaleb(-2),
    }  # fmt: skip


def _nested(i: int) -> dict[str, Any]:
    return {
        **{f"s{k}": f"text-{i}-{k}" for k in range(6)}, **{f"i{k}": i * k for k in range(6)},
        **{f"d{k}": i / (k + 1) for k in range(6)}, "ok": True, "marks": [i, i + 1, i + 2],
        "tags": {"a": "x", "b": "y"}, "place": {"city": "Paris", "zip": {"code": i, "text": "z"}},
        "items": [{"sku": f"sku-{k}", "n": k, "price": 1.5} for k in range(3)],
        "limits": {"low": 1, "high": i}, "note": None,
    }  # fmt: skip


def _nested_times(i: int) -> dict[str, Any]:
    moment = START + timedelta(seconds=i)
    row = _nested(i)
    row["items"] = [{**item, "price": Decimal("19.99"), "at": moment} for item in row["items"]]
    return {**row, "i4": moment, "i5": moment.date(), "d5": Decimal(i).scaleb(-2)}


def _as_is(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _converted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _converted(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_converted(member) for member in value]
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, date):
        return value.toordinal() - EPOCH.toordinal()
    return str(value) if isinstance(value, Decimal) else value


_FLAT = "id BIGINT NOT NULL, name STRING, device STRING, temp DOUBLE, {} n INT, "
_NESTED = (
    ", ".join(f"s{k} STRING" for k in range(6)) + ", " + ", ".join(f"i{k} BIGINT" for k in range(4)) + ", {} "
    + ", ".join(f"d{k} DOUBLE" for k in range(5)) + ", ok BOOLEAN, marks ARRAY<BIGINT>, tags MAP<STRING, STRING>, "
    "place STRUCT<city: STRING, zip: STRUCT<code: BIGINT, text: STRING>>, limits MAP<STRING, BIGINT>, note STRING, "
)  # fmt: skip
CASES = [
    Case(
        name="flat, 8 columns, no conversion",
        columns=_FLAT.format("humidity DOUBLE, ok BOOLEAN,") + "code SMALLINT",
        row=_flat, wire=_as_is, target=0.85,
    ),
    Case(
        name="flat, 8 columns, TIMESTAMP, DATE, DECIMAL",
        columns=_FLAT.format("") + "at TIMESTAMP, day DATE, price DECIMAL(10,2)",
        row=_flat_times, wire=_converted, target=0.6,
    ),
    Case(
        name="nested, 25 columns, no conversion",
        columns=_NESTED.format("i4 BIGINT, i5 BIGINT, d5 DOUBLE,")
        + "items ARRAY<STRUCT<sku: STRING, n: INT, price: DOUBLE>>",
        row=_nested, wire=_as_is, target=None,
    ),
    Case(
        name="nested, 25 columns, TIMESTAMP, DATE, DECIMAL, also inside",
        columns=_NESTED.format("i4 TIMESTAMP, i5 DATE, d5 DECIMAL(10,2),")
        + "items ARRAY<STRUCT<sku: STRING, n: INT, price: DECIMAL(10,2), at: TIMESTAMP>>",
        row=_nested_times, wire=_converted, target=None,
    ),
]  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _encode(encoder: Encoder, rows: list[dict[str, Any]]) -> list[Any]:
    return [record for batch in encoder.encode(Chunk(0, rows)) for record in batch.payload]


def measure(case: Case, rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each way in each round; first check that our records and upb's have the same values."""
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({case.columns})")
    rows = [case.row(i) for i in range(ROWS)]
    wire = [case.wire(row) for row in rows]
    encoder = encoder_for(schema, IngestOptions(), is_arrow=False)
    as_json = encoder_for(schema, IngestOptions(record_format="json"), is_arrow=False)
    messages = Messages(FileDescriptorProto.FromString(schema.descriptor_proto()))
    message = messages.row
    read = [message.FromString(record) for record in _encode(encoder, rows)]
    if read != [message(**row) for row in wire]:
        raise SystemExit(f"{case.name}: our records and upb's have different values")
    ways: dict[str, Callable[[], object]] = {
        "upb": lambda: [message(**row).SerializeToString() for row in wire],
        "ours": lambda: _encode(encoder, rows),
        "ours, JSON": lambda: _encode(as_json, rows),
        "ParseDict": lambda: [json_format.ParseDict(row, message()).SerializeToString() for row in wire],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            seconds[name].append(_seconds(work))
    return seconds


def show(case: Case, seconds: dict[str, list[float]]) -> None:
    """Print a line of rates and a line of ratios."""
    rates = {name: ROWS / statistics.median(spent) for name, spent in seconds.items()}

    def times(ours: str, other: str) -> float:
        return statistics.median(b / a for a, b in zip(seconds[ours], seconds[other], strict=True))

    print(case.name)
    print("  rows/s    " + ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()))
    target = f" (target {case.target})" if case.target else ""
    parse_dict = f"{times('ours', 'ParseDict'):.1f} times ParseDict (target 8)"
    print(f"  ours is   {times('ours', 'upb'):.2f} of upb{target}, {parse_dict}")


def profile(case: Case) -> None:
    """Print the functions in which our encoder spends the most time."""
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({case.columns})")
    rows = [case.row(i) for i in range(ROWS)]
    encoder = encoder_for(schema, IngestOptions(), is_arrow=False)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(10):
        _encode(encoder, rows)
    profiler.disable()
    print(case.name)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(12)


def main(arguments: list[str] | None = None) -> None:
    """Print rates and ratios of every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args(arguments)
    for case in CASES:
        if given.profile:
            profile(case)
        else:
            show(case, measure(case, given.rounds))


if __name__ == "__main__":
    main()
