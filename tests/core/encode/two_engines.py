"""The encoders' two engines, columns and exact walk, held against each other with rows of any values.

    python -m tests.core.encode.two_engines --rows 20000

A block of rows goes through an encoder twice: as it is, and with one more row that no table takes, which makes the
encoder walk each row.  Both must find the same bad rows with the same texts, and the same content in all others.
The encoders of protobuf and JSON also get the block as tuples, as the cursor of a database gives them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, get_args

import numpy as np
import pandas as pd

from tests.core.encode.test_types_document import TAKEN
from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk, RecordFormat
from zerobus_core.encode import encoder_for
from zerobus_core.records import TupleRows

TYPES = [
    *(kind for kinds, _ in TAKEN.values() for kind in kinds if "<" not in kind),
    "DECIMAL(38,0)", "ARRAY<INT>", "ARRAY<TIMESTAMP>", "MAP<STRING, DOUBLE>", "STRUCT<x: DATE, y: STRING>",
]  # fmt: skip
MOST_ROWS = 16
_NULLS, _ODD_KINDS = 0.05, 0.2
NO_ROW = {"a name that the table does not have": 1}
DAY, SECOND = dt.date(1970, 1, 1), dt.datetime(1970, 1, 1)
DOCUMENTED = [value for _, claims in TAKEN.values() for values in claims.values() for value in values]

Maker = Callable[[random.Random], Any]
MAKERS: list[Maker] = [
    lambda _: None,
    lambda chance: chance.random() < 0.5,
    lambda chance: chance.randint(-130, 130),
    lambda chance: chance.randint(-(2**33), 2**33),
    lambda chance: chance.choice([-1, 1]) * 2 ** chance.choice([7, 15, 24, 31, 53, 63, 64]) - chance.randint(0, 2),
    lambda chance: chance.uniform(-1e3, 1e3),
    lambda chance: float(chance.randint(-(2**30), 2**30)),
    lambda chance: chance.choice([0.0, -0.0, 1e39, 5e-324, float("nan"), float("inf"), -float("inf")]),
    lambda chance: Decimal(chance.randint(-(10**7), 10**7)).scaleb(-2),
    lambda chance: Decimal(chance.randint(-(10**40), 10**40)).scaleb(-chance.randint(0, 5)),
    lambda chance: chance.choice([Decimal("NaN"), Decimal("Infinity"), Decimal("-0"), Decimal("1E+3"), Decimal("1.5")]),
    lambda chance: "".join(chance.choices("abé\N{MUSICAL SYMBOL G CLEF}", k=chance.randint(0, 4))),
    lambda chance: chance.choice(["1", "1.5", " 7", "true", "2024-02-29", "NaN", "\ud800", "\0", "AQI="]),
    lambda chance: chance.randbytes(chance.randint(0, 4)),
    lambda chance: bytearray(chance.randbytes(chance.randint(0, 4))),
    lambda chance: DAY + dt.timedelta(days=chance.randint(-700_000, 2_900_000)),
    lambda chance: SECOND + dt.timedelta(microseconds=chance.randint(-(2**55), 2**55)),
    lambda chance: SECOND + dt.timedelta(days=chance.randint(-9_999, 9_999)),
    lambda chance: (SECOND + dt.timedelta(seconds=chance.randint(-(2**31), 2**31))).replace(
        tzinfo=dt.timezone(dt.timedelta(minutes=chance.randint(-800, 800)))
    ),
    lambda chance: pd.Timestamp(chance.randint(-(2**61), 2**61)),
    lambda chance: pd.Timestamp(chance.randint(-(2**31), 2**31), unit="s", tz="Asia/Kolkata"),
    lambda chance: np.datetime64(chance.randint(-(2**40), 2**40), chance.choice(["D", "s", "us", "ns"])),
    lambda chance: chance.choice([np.int8, np.int64, np.float64, np.bool_])(chance.randint(0, 100)),
    lambda chance: np.float32(chance.uniform(-10, 10)),
    lambda chance: np.uint64(chance.randint(0, 2**64 - 1)),
    lambda chance: chance.choice([pd.NaT, pd.NA, np.datetime64("NaT")]),
    lambda chance: dt.time(chance.randint(0, 23), chance.randint(0, 59), 0, chance.randint(0, 999_999)),
    lambda chance: chance.choice(DOCUMENTED),
]  # fmt: skip


@dataclass
class Found:
    """What a comparison showed for one type and format."""

    rows: int = 0
    by_columns: int = 0
    """Rows of blocks without a bad row, which the engine of columns can take."""
    refused: int = 0
    differences: list[str] = field(default_factory=list)


def compare(kind: str, record_format: RecordFormat, rows: int, seed: int) -> Found:
    """Hold ``rows`` rows or a few more against each other."""
    chance = random.Random(f"{seed} {kind} {record_format}")
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t (id BIGINT NOT NULL, v {kind})")
    encoder = encoder_for(schema, IngestOptions(record_format=record_format), is_arrow=False)
    fitting = [maker for maker in MAKERS if _takes(encoder, kind, maker, chance)]
    found = Found()
    while found.rows < rows:
        makers = chance.choices(fitting, k=chance.randint(1, 3))
        if chance.random() < _ODD_KINDS:
            makers.append(chance.choice(MAKERS))
        block = [
            {"id": number, "v": _value(kind, chance.choice(makers), chance)}
            for number in range(chance.randint(1, MOST_ROWS))
        ]
        whole, walked = _encoded(encoder, block), _encoded(encoder, [*block, NO_ROW])
        del walked[1][len(block)]
        found.rows += len(block)
        found.refused += len(walked[1])
        found.by_columns += 0 if whole[1] else len(block)
        if whole != walked:
            found.differences.append(f"{[row['v'] for row in block]!r}: {whole} by columns, {walked} by the walk")
        if record_format == "arrow":
            continue
        tuples = TupleRows(("v", "id"), [(row["v"], row["id"]) for row in block])
        if (as_tuples := _encoded(encoder, tuples)) != whole:
            found.differences.append(f"{[row['v'] for row in block]!r}: {whole} as dicts, {as_tuples} as tuples")
    return found


def _takes(encoder: Any, kind: str, maker: Maker, chance: random.Random) -> bool:
    """Whether most values of this kind fit; a null in an ARRAY, for example, does not."""
    samples = [{"id": 1, "v": _value(kind, maker, chance)} for _ in range(20)]
    return len(_encoded(encoder, samples)[1]) <= len(samples) // 3


def _value(kind: str, maker: Maker, chance: random.Random) -> Any:
    if chance.random() < _NULLS:
        return None
    if kind.startswith("ARRAY"):
        return [maker(chance) for _ in range(chance.randint(0, 3))]
    if kind.startswith("MAP"):
        return {chance.choice("abc"): maker(chance) for _ in range(chance.randint(0, 3))}
    if kind.startswith("STRUCT"):
        return {name: maker(chance) for name in chance.choice(["x", "xy", "yx", ""])}
    return maker(chance)


def _encoded(encoder: Any, block: list[Any] | TupleRows) -> tuple[list[bytes], dict[int, list[str]]]:
    """What the good rows hold, and what is wrong with each bad one."""
    bad: dict[int, list[str]] = {}
    tracks: list[list[bytes]] = []
    for _ in encoder.encode(
        Chunk(0, block),
        on_bad_row=lambda row: bad.update({row.row: list(map(str, row.fields))}),
        on_content=lambda _first, count, content: tracks.append([bytes(part) for part in content.tracks(0, count)]),
    ):
        pass
    return [b"".join(parts) for parts in zip(*tracks, strict=True)], bad


def main(arguments: list[str] | None = None) -> int:
    """Compare each type in each format; 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="for each type and format")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    differing = total = 0
    for kind in TYPES:
        for record_format in get_args(RecordFormat):
            found = compare(kind, record_format, given.rows, given.seed)
            total += found.rows
            differing += len(found.differences)
            print(
                f"{kind:<28} {record_format:<9} {found.rows:>7,} rows   {found.by_columns:>7,} in blocks without a bad "
                f"row   {found.refused:>7,} refused   {len(found.differences)} differences"
            )
            for text in found.differences[:3]:
                print("   ", text[:600])
    print(f"{total:,} rows, {differing} blocks differ")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
