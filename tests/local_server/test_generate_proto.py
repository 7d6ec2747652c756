"""The SDK's own tool for .proto files, run against the local server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from zerobus_core import ClientCredentials
from zerobus_local import LocalZerobus


def test_generate_proto_writes_the_message_of_a_table_made_by_sql(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(
        f"""CREATE TABLE {table_name} (
            id BIGINT NOT NULL, small SMALLINT, ratio FLOAT, name VARCHAR(20), payload BINARY, day DATE, at TIMESTAMP,
            local_at TIMESTAMP_NTZ, flag BOOLEAN, v VARIANT, tags ARRAY<STRING>, props MAP<STRING, INT>,
            place STRUCT<lat: DOUBLE, lon: DOUBLE>
        )"""
    )
    known = zerobus.workspace.credentials
    assert isinstance(known, ClientCredentials)
    output = tmp_path / "table.proto"
    arguments = {
        "--uc-endpoint": zerobus.workspace_url,
        "--client-id": known.client_id,
        "--client-secret": known.client_secret,
        "--table": table_name,
        "--output": str(output),
        "--proto-msg": "Row",
    }
    subprocess.run(
        [sys.executable, "-m", "zerobus.tools.generate_proto", *(text for pair in arguments.items() for text in pair)],
        check=True,
        env=os.environ | {"RUST_LOG": "off"},
        timeout=300,
    )
    written = output.read_text().splitlines()
    fields = {line.strip().split(" = ")[0] for line in written if " = " in line and not line.startswith("syntax")}
    assert {
        "required int64 id",
        "optional int32 small",
        "optional float ratio",
        "optional string name",
        "optional bytes payload",
        "optional int32 day",
        "optional int64 at",
        "optional int64 local_at",
        "optional bool flag",
        "optional string v",
        "repeated string tags",
        "map<string, int32> props",
        "optional Place place",
        "optional double lat",
    } <= fields
