"""JSON text of many rows by one call, cut apart again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerobus_core.encode.rows.json import json_records

NUMBER = 72_635_481
MARK = orjson.dumps([{}, NUMBER, {}])[2:-2].decode()

texts = st.text() | st.sampled_from([MARK, f"}}{MARK[1:-1]}{{", MARK[1:-1], "},{", "\n", '"', "\\"])
values = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | texts,
    lambda inner: st.lists(st.dictionaries(texts, inner, max_size=2)) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=6,
)


def one_by_one(rows: list[dict[str, Any]]) -> tuple[list[str], int]:
    """The text of each row from a call for it alone, and the size of all of them."""
    records = [orjson.dumps(row) for row in rows]
    return [record.decode() for record in records], sum(map(len, records))


@given(rows=st.lists(st.dictionaries(texts, values, max_size=3), max_size=6))
def test_each_row_has_the_text_of_a_call_for_it_alone(rows: list[dict[str, Any]]) -> None:
    assert json_records(rows) == one_by_one(rows)


@pytest.mark.parametrize("text", [MARK, f"a{MARK}b", "72635481", "},72635481,{", ",72635481,"])
def test_text_that_looks_like_the_border_of_two_rows_stays_in_its_row(text: str) -> None:
    rows: list[dict[str, Any]] = [{"a": text}, {}, {"a": [{"b": text}, {"b": 1}]}]
    assert json_records(rows) == one_by_one(rows)


def test_a_number_that_looks_like_the_border_of_two_rows_stays_in_its_row() -> None:
    rows: list[dict[str, Any]] = [{"a": [1, NUMBER, 2], "b": NUMBER}, {"a": [NUMBER]}, {"b": NUMBER}]
    assert json_records(rows) == one_by_one(rows)
    assert json_records([]) == ([], 0)
