"""Options are refused when they are built, by name, with what they may be."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from zerobus_core import IngestOptions
from zerobus_core.errors import ConfigurationError

METADATA = (
    "{'ingested_at': column, 'file_name': column, 'file_path': column, 'row_number': column}, or some of these, "
    "each with its own column"
)
SECONDS = "a number of seconds above 0"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("record_format", "avro", "one of 'auto', 'protobuf', 'json', 'arrow'"),
        ("on_bad_record", "skip", "one of 'fail', 'dead_letter'"),
        ("streams", 0, "a whole number from 1 to 64"),
        ("streams", 65, "a whole number from 1 to 64"),
        ("streams", True, "a whole number from 1 to 64"),
        ("streams", "4", "a whole number from 1 to 64"),
        ("batch_rows", 2.0, "a whole number from 1 to 100000"),
        ("batch_bytes", 10 * 1024 * 1024, "a whole number from 1 to 10420224"),
        ("max_unacked_bytes", 0, "a whole number from 1 to "),
        ("max_attempts", 0, "a whole number from 1 to 1000"),
        ("timeout", 0, SECONDS),
        ("timeout", float("nan"), SECONDS),
        ("open_timeout", float("inf"), SECONDS),
        ("ack_timeout", "60", SECONDS),
        ("max_stream_age", None, SECONDS),
        ("backoff", -1, "a number of seconds from 0"),
        ("max_bad_records", 1.5, "a whole number of rows, a share below 1 (float), or None for no limit"),
        ("max_bad_records", -1, "a whole number of rows, a share below 1 (float), or None for no limit"),
        ("dead_letter_uri", Path("bad.jsonl"), "text, or None"),
        ("dead_letter_uri", "bad.jsonl", 'omitted unless on_bad_record="dead_letter"'),
        ("source_version", 20260101, "text, or None"),
        ("source_version", date(2026, 1, 1), "text, or None"),
        ("parse_text", "no", "True or False"),
        ("delivery_columns", {"delivery_id": "a"}, '{"delivery_id": column, "row_number": other column}'),
        ("delivery_columns", {"delivery_id": "a", "row_number": "a"}, '{"delivery_id": column, "row_number": other'),
        ("delivery_columns", {"delivery_id": "a", "row_number": 2}, '{"delivery_id": column, "row_number": other'),
        ("select", "id", "a list of names of columns"),
        ("constants", ["a"], "{column: value}"),
        ("constants", {"a": None}, "text, numbers, booleans or dates by column name ('a' has another value)"),
        ("extra_columns", "keep", '"error", "drop", "variant:COLUMN" or "rescue"'),
        ("extra_columns", "variant:", '"error", "drop", "variant:COLUMN" or "rescue"'),
        ("extra_columns", None, '"error", "drop", "variant:COLUMN" or "rescue"'),
        ("transform", "my_rows.clean", 'a function of one row, or "package.module:function"'),
        ("transform", 5, 'a function of one row, or "package.module:function"'),
        ("transform_version", "1", "omitted if there is no transform"),
        ("metadata_columns", {"size": "a"}, "{'ingested_at': column, 'file_name': column, 'file_path': column, "),
        ("metadata_columns", {"file_name": "a", "file_path": "a"}, METADATA),
        ("metadata_columns", {}, METADATA),
        ("metadata_columns", "file_name", METADATA),
        ("delivery_columns", ["a", "b"], '{"delivery_id": column, "row_number": other column}'),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        IngestOptions(**{name: value})
    assert str(caught.value).startswith(f"IngestOptions.{name} must be {expected}")
    assert str(caught.value).endswith(f", not {value!r}")


def test_options_for_columns_do_not_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="IngestOptions.select must be a list that does not contain 'a'"):
        IngestOptions(select=["a", "b"], drop=["a"])
    with pytest.raises(ConfigurationError, match="IngestOptions.rename must be a mapping that does not rename 'c'"):
        IngestOptions(select=["a", "b"], rename={"c": "d"})


def test_a_dead_letter_file_is_needed_where_rows_go_to_it() -> None:
    with pytest.raises(ConfigurationError, match="IngestOptions.dead_letter_uri must be a path or URI"):
        IngestOptions(on_bad_record="dead_letter")


def test_options_of_a_mapping_are_those_of_the_class() -> None:
    assert IngestOptions.from_mapping({"streams": 4, "timeout": None}) == IngestOptions(streams=4, timeout=None)
    with pytest.raises(ConfigurationError, match=r"no such ingest option: batchrows, stream; the options are "):
        IngestOptions.from_mapping({"stream": 4, "batchrows": 1, "streams": 4})
