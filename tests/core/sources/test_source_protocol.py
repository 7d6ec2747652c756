"""The protocol of sources: what a user's object needs, and what the delivery makes of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from zerobus_core import IngestOptions
from zerobus_core.batch import Chunk
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import Source, source_of


@dataclass
class Small:
    """A source with the four members that are required, and no more."""

    fingerprint: str | None = "f"
    is_arrow: bool = False
    total_rows: int | None = 2

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        for start, stop in skip.without(0, 2):
            yield Chunk(start, [{"id": row} for row in range(start, stop)])


class Telling(Small):
    """A source that has members beyond the required ones."""

    is_in_memory = True

    def locate(self, row: int) -> str:
        return f"page {row}"


def test_a_small_source_is_wrapped_with_defaults_for_the_rest_of_the_protocol() -> None:
    source = source_of(Small(), IngestOptions())
    assert isinstance(source, Source)
    assert (source.fingerprint, source.total_rows, source.is_arrow) == ("f", 2, False)
    assert (source.is_text, source.is_in_memory, source.would_hold("a.csv")) == (False, False, False)
    assert source.locate(7) == "row 7"
    assert [chunk.rows for chunk in source.chunks(RowRanges([(0, 1)]))] == [[{"id": 1}]]


def test_members_beyond_the_required_ones_are_used() -> None:
    source = source_of(Telling(), IngestOptions())
    assert source.is_in_memory
    assert source.locate(3) == "page 3"


def test_a_source_of_our_own_is_not_wrapped() -> None:
    source = source_of([{"id": 1}], IngestOptions())
    assert source_of(source, IngestOptions()) is source


@pytest.mark.parametrize("name", ["fingerprint", "total_rows"])
def test_the_fingerprint_and_the_length_are_asked_for_when_they_are_needed(name: str) -> None:
    class Costly(Small):
        def __getattribute__(self, asked: str):  # type: ignore[no-untyped-def]
            if asked == name:
                raise AssertionError(f"{name} was asked for")
            return super().__getattribute__(asked)

    source = source_of(Costly(), IngestOptions())
    with pytest.raises(AssertionError, match=name):
        getattr(source, name)
