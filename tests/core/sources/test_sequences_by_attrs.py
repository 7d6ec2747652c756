"""Sequences that are written with attrs, as Airflow's results of mapped tasks are, hold rows and are not rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from zerobus_core import IngestOptions
from zerobus_core.sources import source_of


@attrs.define
class Results(Sequence[Any]):
    rows: list[dict[str, int]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]


def test_a_sequence_by_attrs_is_read_row_by_row() -> None:
    source = source_of(Results([{"id": 1}, {"id": 2}]), IngestOptions())
    assert source.total_rows == 2
