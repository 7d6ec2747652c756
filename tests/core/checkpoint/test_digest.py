"""Digests of rows: equal rows have equal ones however they are cut, and other rows have others."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.core import faker
from tests.fast import examples
from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk
from zerobus_core.checkpoint import RowDigests, Segment
from zerobus_core.encode import encoder_for
from zerobus_core.ranges import RowRanges
from zerobus_core.schema import Field, Kind, PrimitiveType, StringType

FORMATS: list[faker.Format] = ["protobuf", "json", "arrow"]
QUICK = settings(
    max_examples=examples(30), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
)
BLOCK = 4


class Words:
    """Content that is plain to see: a word for each row."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def tracks(self, start: int, stop: int) -> list[bytes]:
        return ["".join(self.words[start:stop]).encode(), bytes(map(len, self.words[start:stop]))]


def cut(total: int, ends: set[int]) -> list[tuple[int, int]]:
    bounds = [0, *sorted(end for end in ends if 0 < end < total), total]
    return list(pairwise(bounds))


def digests_of(words: list[str], ends: set[int], left_out: frozenset[int] = frozenset()) -> RowDigests:
    digests = RowDigests(block_rows=BLOCK)
    for start, stop in cut(len(words), ends | left_out | {row + 1 for row in left_out}):
        if start not in left_out:
            digests.add(start, stop - start, Words(words[start:stop]))
    return digests


texts = st.lists(st.text("ab", max_size=2), min_size=1, max_size=40)
ends = st.sets(st.integers(1, 39), max_size=10)


@given(texts, ends, ends, st.integers(0, 40), st.integers(0, 40))
def test_a_range_has_one_digest_however_its_rows_are_cut(
    words: list[str], some: set[int], others: set[int], first: int, second: int
) -> None:
    start, stop = sorted((min(first, len(words)), min(second, len(words))))
    one = digests_of(words, some | {stop}).segment(start, stop)
    assert one == digests_of(words, others | {stop}).segment(start, stop)
    aligned = -(-start // BLOCK) * BLOCK
    assert one is None if aligned >= stop else (one is not None and (one.start, one.stop) == (aligned, stop))


@given(texts, ends, st.lists(st.integers(0, 10), min_size=3, max_size=3))
def test_digests_of_neighbouring_ranges_add_up_in_any_order(words: list[str], some: set[int], at: list[int]) -> None:
    a, b, c = sorted(min(block * BLOCK, len(words) // BLOCK * BLOCK) for block in at)
    digests = digests_of(words, some)
    parts = [digests.segment(b, c), digests.segment(a, b)]
    whole = digests.segment(a, c)
    assert (whole.digest if whole else 0) == sum(part.digest for part in parts if part) % 2**64


@given(texts, ends, st.data())
def test_any_change_of_a_row_changes_the_digest(words: list[str], some: set[int], data: st.DataObject) -> None:
    other = list(words)
    kind = data.draw(st.sampled_from(["changed", "swapped", "lost", "gained"]))
    row = data.draw(st.integers(0, len(words) - 1))
    if kind == "changed":
        other[row] += "c"
    elif kind == "swapped":
        last = data.draw(st.integers(0, len(words) - 1))
        other[row], other[last] = other[last], other[row]
    elif kind == "lost":
        del other[row]
    else:
        other.insert(row, "c")
    end = len(words)
    found = digests_of(other, {*some, end}).segment(0, end) if len(other) >= end else None
    assert (found == digests_of(words, some).segment(0, end)) == (other[:end] == words)


def test_whole_blocks_that_change_places_change_the_digest() -> None:
    words = list("abcdefgh")
    swapped = words[BLOCK:] + words[:BLOCK]
    assert digests_of(words, set()).segment(0, 8) != digests_of(swapped, set()).segment(0, 8)


@given(texts, ends, st.frozensets(st.integers(0, 39), max_size=4))
def test_rows_beside_one_that_was_left_out_are_not_digested_within_its_block(
    words: list[str], some: set[int], left_out: frozenset[int]
) -> None:
    left_out = frozenset(row for row in left_out if row < len(words))
    digests, whole = digests_of(words, some, left_out), digests_of(words, some | left_out)
    for start, stop in RowRanges((row, row + 1) for row in left_out).without(0, len(words)):
        segment = digests.segment(start, stop)
        if segment is not None:
            assert segment.start - start < BLOCK
            assert segment == whole.segment(segment.start, segment.stop)
        else:
            assert stop - start < 2 * BLOCK


@given(texts, ends, st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=6))
def test_what_is_pruned_is_never_needed(words: list[str], some: set[int], spans: list[tuple[int, int]]) -> None:
    bounds = [0, *sorted(end for end in some if end < len(words)), len(words)]
    kept, pruned, durable = digests_of(words, some), digests_of(words, some), RowRanges()
    for first, second in spans:
        start, stop = sorted((bounds[first % len(bounds)], bounds[second % len(bounds)]))
        durable.add(start, stop)
        pruned.prune(durable)
        assert [pruned.segment(*span) for span in durable] == [kept.segment(*span) for span in durable]


def test_memory_does_not_grow_with_the_rows_that_are_durable() -> None:
    digests = RowDigests()
    for first in range(0, 2_000_000, 1_000):
        digests.add(first, 1_000, Words([""] * 1_000))
        if first % 10_000 == 0:
            digests.prune(RowRanges([(0, first)]))
    assert len(digests._sums) < 40


def test_rows_come_in_order() -> None:
    digests = RowDigests()
    digests.add(0, 5, Words(["a"] * 5))
    with pytest.raises(ValueError, match="row 4 was added after row 4"):
        digests.add(4, 1, Words(["a"]))


# What the encoders say of rows


def shuffled(value: Any, draw: random.Random) -> Any:
    """The same value, whose dicts have their keys in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(member, draw)) for key, member in value.items()]
        draw.shuffle(items)
        return dict(items)
    return [shuffled(member, draw) for member in value] if isinstance(value, list) else value


def digest_of(
    schema: TableSchema,
    rows: Any,
    record_format: Any,
    cuts: set[int],
    *,
    delivery_id: str | None = None,
    **options: Any,
) -> Segment | None:
    is_arrow = isinstance(rows, pa.RecordBatch)
    chosen = IngestOptions(record_format=record_format, **options)
    encoder = encoder_for(schema, chosen, is_arrow=is_arrow, delivery_id=delivery_id)
    digests = RowDigests(block_rows=BLOCK)
    for start, stop in cut(len(rows), cuts):
        for _ in encoder.encode(Chunk(start, rows[start:stop]), on_content=digests.add):
            pass
    return digests.segment(0, len(rows))


@pytest.mark.parametrize("record_format", FORMATS)
@given(data=st.data())
@QUICK
def test_equal_rows_have_one_digest_whatever_the_batches_and_the_order_of_keys(
    record_format: faker.Format, data: st.DataObject
) -> None:
    schema = data.draw(faker.schemas(record_format))
    rows = data.draw(st.lists(faker.rows(schema.columns, record_format), min_size=1, max_size=10))
    some, others = data.draw(ends), data.draw(ends)
    draw = random.Random(data.draw(st.integers(0, 9)))
    again = [shuffled(row, draw) for row in rows]
    batch_rows = data.draw(st.integers(1, 10))
    one = digest_of(schema, rows, record_format, some)
    assert one is not None
    assert one == digest_of(schema, again, record_format, others, batch_rows=batch_rows)


def one_batch(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    [batch] = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return batch


@pytest.mark.parametrize("record_format", FORMATS)
@given(data=st.data())
@QUICK
def test_equal_arrow_data_has_one_digest_whatever_slice_it_is(record_format: faker.Format, data: st.DataObject) -> None:
    schema = data.draw(faker.schemas("arrow"))
    rows = data.draw(st.lists(faker.rows(schema.columns, "arrow"), min_size=1, max_size=10))
    encoder = encoder_for(schema, IngestOptions(record_format="arrow"), is_arrow=False)
    batch = one_batch([batch.payload for batch in encoder.encode(Chunk(0, rows))])
    if any(pa.types.is_struct(column.type) for column in batch.columns):
        return  # VARIANT, which is not read as Arrow data
    twice = one_batch([batch, batch])
    try:
        one = digest_of(schema, batch, record_format, data.draw(ends))
    except Exception:  # noqa: BLE001 - the table may not be for this format
        return
    assert one == digest_of(schema, twice.slice(len(batch)), record_format, data.draw(ends))


@pytest.mark.parametrize("is_arrow", [False, True])
@pytest.mark.parametrize("record_format", FORMATS)
def test_columns_that_the_delivery_fills_have_no_part_in_the_digest(
    record_format: faker.Format, is_arrow: bool
) -> None:
    types = {"d": StringType(), **{name: PrimitiveType(Kind.BIGINT) for name in ("id", "n", "m")}}
    columns = [Field(name, kind, position=at) for at, (name, kind) in enumerate(types.items())]
    schema = TableSchema(table="main.default.t", columns=tuple(columns))
    rows: Any = [{"id": i, "m": i % 7} for i in range(300)]
    if is_arrow:
        rows = pa.RecordBatch.from_pylist(rows)
    filled = {"delivery_id": "d", "row_number": "n"}
    found = {
        digest_of(schema, rows, record_format, {100, 129}, delivery_id=name, delivery_columns=filled)
        for name in ("a", "a longer one")
    }
    assert len(found) == 1
    other = rows.slice(1) if is_arrow else rows[1:]
    assert digest_of(schema, other, record_format, set(), delivery_id="a", delivery_columns=filled) not in found


PROCESS = """
from tests.core.checkpoint.test_digest import digest_of
from zerobus_core import TableSchema
from zerobus_core.schema import Field, Kind, MapType, PrimitiveType, StringType
rows = [{"id": i, "tags": dict.fromkeys({f"tag {k}" for k in range(i % 20)}, "x")} for i in range(50)]
schema = TableSchema(table="main.default.t", columns=(
    Field("id", PrimitiveType(Kind.BIGINT)), Field("tags", MapType(StringType(), StringType()), position=1),
))
for record_format in ("protobuf", "json", "arrow"):
    print(digest_of(schema, rows, record_format, {7, 20}))
"""


def test_another_process_with_another_hash_seed_finds_the_same_digest() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROCESS],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1
    assert "Segment" in outputs.pop()
