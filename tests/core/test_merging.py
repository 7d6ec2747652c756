"""The receipts of shards as one receipt."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from zerobus_core import ConfigurationError, Receipt, ShardsMissingError, ingest, merge_receipts, split_source
from zerobus_core.receipt import AckLatency
from zerobus_local import LocalZerobus

ONE = Receipt(
    table="main.default.t",
    rows_read=10,
    rows_acked=7,
    rows_skipped=2,
    rows_dead_lettered=1,
    rows_resent=3,
    bytes_sent=100,
    batches=1,
    streams=1,
    stream_ids=("a",),
    reconnects=1,
    ack_latency_s=AckLatency(p50=0.1, p95=0.2, max=0.3),
    duration_s=2.0,
    rows_per_s=3.5,
    started_at="2026-01-01T00:00:00+00:00",
    finished_at="2026-01-01T00:00:02+00:00",
    schema_fingerprint="s",
    source_fingerprint="f",
    resumed_from=None,
    record_format="protobuf",
    record_format_reason="rows",
)
TWO = replace(
    ONE,
    rows_read=5,
    rows_acked=5,
    rows_skipped=0,
    rows_dead_lettered=0,
    batches=3,
    ack_latency_s=AckLatency(p50=0.5, p95=0.6, max=0.7),
    duration_s=5.0,
    started_at="2026-01-01T00:00:01+00:00",
    finished_at="2026-01-01T00:00:06+00:00",
)


def test_the_sums_keep_the_law() -> None:
    merged = merge_receipts([ONE, TWO])
    assert merged.rows_read == merged.rows_acked + merged.rows_skipped + merged.rows_dead_lettered == 15
    assert (merged.rows_resent, merged.streams, merged.reconnects, merged.stream_ids) == (6, 2, 2, ("a", "a"))


def test_the_times_are_those_of_all_shards_and_of_the_slowest() -> None:
    merged = merge_receipts([ONE, TWO])
    assert (merged.duration_s, merged.slowest_shard_s, merged.shards) == (6.0, 5.0, 2)
    assert merged.rows_per_s == 2.0
    assert merged.ack_latency_s == AckLatency(p50=pytest.approx(0.4), p95=0.6, max=0.7)


def test_receipts_that_went_through_json_are_merged_and_merged_again() -> None:
    once = merge_receipts([ONE.as_dict(), TWO])
    again = merge_receipts([once.as_dict(), ONE])
    assert (again.rows_read, again.shards, again.slowest_shard_s) == (25, 3, 5.0)
    assert pickle.loads(pickle.dumps(again)) == again


@pytest.mark.parametrize(
    ("receipts", "message"),
    [
        ([], "nothing to merge"),
        ([ONE, replace(ONE, table="main.default.other")], "several tables"),
        ([None], "holds a NoneType"),
        ([{"rows": 1}], "holds a dict"),
    ],
)
def test_what_cannot_be_merged_is_refused(receipts: list, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        merge_receipts(receipts)


def test_shards_of_files_are_delivered_and_their_receipts_equal_the_table(
    zerobus: LocalZerobus, table_name: str, tmp_path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL)")
    for number in range(12):
        lines = "".join(f'{{"id": {number * 100 + row}}}\n' for row in range(100))
        (tmp_path / f"{number}.jsonl").write_text(lines)
    shards = split_source(str(tmp_path), 4)
    merged = merge_receipts(ingest(zerobus.workspace, table_name, shard) for shard in shards)
    assert (merged.rows_acked, merged.shards) == (1_200, 4)
    assert sorted(zerobus.read(table_name).column("id").to_pylist()) == list(range(1_200))


def test_receipts_of_some_shards_are_not_merged_and_the_others_are_named(
    zerobus: LocalZerobus, table_name: str, tmp_path
) -> None:
    """As after mapped tasks of which some failed, if the merging task runs all the same."""
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL)")
    for number in range(3):
        (tmp_path / f"{number}.jsonl").write_text(f'{{"id": {number}}}\n')
    shards = split_source(str(tmp_path), 8)
    receipts = [ingest(zerobus.workspace, table_name, shard).as_dict() for shard in shards]
    assert merge_receipts(receipts).shards == 3, "fewer files than shards that were asked for"
    with pytest.raises(ShardsMissingError, match=r"2 of 3 shards have no receipt: 0, 2\. 1 row ") as missing:
        merge_receipts(receipts[1:2])
    assert (missing.value.table, missing.value.retryable) == (table_name, True)
    with pytest.raises(ConfigurationError, match="shard 1 of 3 twice"):
        merge_receipts([*receipts, receipts[1]])
    other = ingest(zerobus.workspace, table_name, [{"id": 9}])
    assert other.shard is None
    assert merge_receipts([*receipts, other]).rows_acked == 4
    assert merge_receipts([*receipts[:2], other]).rows_acked == 3, "it can be of a shard that the user's code has read"
    (tmp_path / "3.jsonl").write_text('{"id": 3}\n')
    again = ingest(zerobus.workspace, table_name, split_source(str(tmp_path), 2)[0]).as_dict()
    with pytest.raises(ShardsMissingError, match="1 of 2 shards have no receipt: 1"):
        merge_receipts([*receipts[:2], again, other])  # one for two that are missing
