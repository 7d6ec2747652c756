"""Damaged requests at both doors of a server process for some minutes, with a good stream at the same time.

    python -m tests.local_server.fuzz --minutes 10

Seeds are requests that are right; each is bent by a few random edits and sent over a real socket: gRPC records and
Arrow Flight frames, HTTP with JSON, forms and SQL, and other bytes.  Findings are a server that died,
an answer that did not come within 10 s, an answer of "internal error", a traceback in its log, and a row of the good
stream that is missing or appears twice; what was sent before a finding is printed as hex.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import grpc
import httpx
import pyarrow as pa
from google.protobuf import descriptor_pb2

from zerobus_core import ClientCredentials
from zerobus_local import LocalZerobusProcess
from zerobus_local.grpc_door.messages import EphemeralStreamRequest, FlightData

FUZZED, GOOD = "main.default.fuzzed", "main.default.good"
COLUMNS = "id BIGINT, name STRING, price DECIMAL(5,2), tags ARRAY<STRING>, place STRUCT<x: INT>, m MAP<STRING, INT>"
ANSWER_WITHIN = 10.0
STREAM, FLIGHT = "/databricks.zerobus.Zerobus/EphemeralStream", "/arrow.flight.protocol.FlightService/DoPut"
# What a client may be answered that sent nonsense; INTERNAL and UNKNOWN are the server's own mistakes.
MISTAKES = {"INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED"}
Attempt = Callable[["Fuzzer", random.Random], tuple[str, str, bytes]]


def _stream_seeds() -> list[list[bytes]]:
    field = descriptor_pb2.FieldDescriptorProto
    row = descriptor_pb2.DescriptorProto(name="Row")
    row.field.add(name="id", number=1, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    row.field.add(name="name", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    row.field.add(name="tags", number=4, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    avro = json.dumps({"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}]})
    named = {"table_name": FUZZED}
    record = b'{"id": 1, "name": "x", "tags": ["a", null], "price": "1.25", "m": {"k": 1}, "place": {"x": 2}}'
    streams = [
        [
            {"create_stream": {**named, "record_type": 2}},
            {"ingest_record": {"offset_id": 0, "json_record": record}},
            {"ingest_record_batch": {"offset_id": 1, "json_batch": {"records": [record] * 3}}},
        ],
        [
            {"create_stream": {**named, "record_type": 1, "descriptor_proto": row.SerializeToString()}},
            {"ingest_record_batch": {"offset_id": 0, "proto_encoded_batch": {"records": [b"\x08\x01\x12\x01a"] * 3}}},
        ],
        [
            {"create_stream": {**named, "record_type": 4, "avro_schema_json": avro}},
            {"ingest_record": {"offset_id": 0, "avro_encoded_record": b"\x02"}},
        ],
    ]
    return [[EphemeralStreamRequest(**message).SerializeToString() for message in stream] for stream in streams]


def _flight_seeds() -> list[list[bytes]]:
    schema = pa.schema([("id", pa.int64()), ("name", pa.large_string()), ("tags", pa.list_(pa.large_string()))])
    batch = pa.RecordBatch.from_pylist([{"id": 1, "name": "abc", "tags": ["x", None]}] * 3, schema=schema)
    seeds = []
    for compression in (None, "lz4", "zstd"):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_batch(batch)
        reader = pa.ipc.MessageReader.open_stream(sink.getvalue())
        reader.read_next_message()  # the schema
        message = reader.read_next_message()
        opening = FlightData(data_header=pa.ipc.read_message(schema.serialize()).metadata.to_pybytes())
        frame = FlightData(
            data_header=message.metadata.to_pybytes(),
            data_body=message.body.to_pybytes(),
            app_metadata=b'{"offset_id": 0}',
        )
        seeds.append([opening.SerializeToString(), frame.SerializeToString()])
    return seeds


SQL = [
    f"CREATE TABLE IF NOT EXISTS main.default.f{{}} ({COLUMNS}) COMMENT 'x'",
    "ALTER TABLE main.default.f{} ADD COLUMN more DECIMAL(38, 10)",
    "ALTER TABLE main.default.f{} ADD CONSTRAINT c CHECK (id > 0 AND name LIKE 'a%')",
    "SELECT id, name FROM main.default.f{} WHERE id IS NOT NULL LIMIT 5",
    "GRANT SELECT, MODIFY ON TABLE main.default.f{} TO `someone`",
    "DROP TABLE IF EXISTS main.default.f{}",
]


def bent(draw: random.Random, seed: bytes) -> bytes:
    """The seed after a few edits."""
    data = bytearray(seed)
    for _ in range(draw.choice([1, 1, 1, 2, 4, 16])):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at:at] = draw.randbytes(draw.choice([1, 2, 9, 200]))
        elif kind == 2:
            del data[at : at + draw.choice([1, 3, 20])]
        elif kind == 3:
            data[at:at] = data[at : at + draw.randrange(40)]
        elif kind == 4:
            data[at : at + 4] = draw.choice(
                [b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff", b"'\";", b"{}[]", b"\xc3\x28"]
            )
        else:
            del data[at:]
    return bytes(data)


class Fuzzer:
    """One server process, the attempts at it, and what was found."""

    def __init__(self, server: LocalZerobusProcess, seed: int) -> None:
        self.server = server
        self.seed = seed
        self.answers: Counter[str] = Counter()
        self.findings: list[str] = []
        self.good_rows = 0
        self.peak_mib = 0
        self.http = httpx.Client(base_url=server.workspace_url, timeout=ANSWER_WITHIN)
        self.token = self._table_token(FUZZED)
        self._good_token = self._table_token(GOOD)
        self._stop = threading.Event()

    def run(self, seconds: float, attempts: int = 0, threads: int = 3) -> None:
        """Fuzz in some threads and look after the good stream in this one.

        For so many seconds, and longer where so many attempts are not made by then; at most until the server is gone.
        """
        workers = [threading.Thread(target=self._work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        end = time.monotonic() + seconds
        try:
            while (time.monotonic() < end or self.answers.total() < attempts) and not self._stop.wait(1.0):
                self._check_good()
        finally:
            self._stop.set()
            for worker in workers:
                worker.join(60)

    def check_books(self) -> None:
        """Every good row that was acknowledged is in the table, once; both tables can be read."""
        self._check_good()
        self.server.read(FUZZED)
        landed = self.server.read(GOOD).column("id").to_pylist()
        if sorted(landed) != list(range(self.good_rows)):
            self.findings.append(f"{len(landed)} good rows in the table, {self.good_rows} were acknowledged")
        log = (self.server.data / "server.log").read_text(errors="replace")
        if "Traceback" in log:
            self.findings.append("a traceback in the log: " + log[log.index("Traceback") :][:1500])

    def _work(self, number: int) -> None:
        draw = random.Random(f"{self.seed}/{number}")
        while not self._stop.is_set():
            attempt = draw.choice(ATTEMPTS)
            door, answer, sent = attempt(self, draw)
            self.answers[f"{door:<8} {answer}"] += 1
            if answer in MISTAKES or answer.startswith("5"):
                self.findings.append(f"{door} answered {answer} to {sent.hex()}")
                if len(self.findings) > 20:
                    self._stop.set()

    def _check_good(self) -> None:
        """A row by REST has to be durable and answered in time, whatever else goes on."""
        if self.server.pid is None:
            self.findings.append("the server is gone")
            self._stop.set()
            return
        started = time.monotonic()
        try:
            answer = self._insert()
        except httpx.HTTPError as error:
            self.findings.append(f"the good client got {error!r} after {time.monotonic() - started:.1f} s")
            return
        if answer.status_code == 200:
            self.good_rows += 1
        else:
            self.findings.append(f"the good client got {answer.status_code}: {answer.text[:300]}")

    def _insert(self) -> httpx.Response:
        return self.http.post(
            f"/zerobus/v1/tables/{GOOD}/insert",
            json=[{"id": self.good_rows}],
            headers={"authorization": f"Bearer {self._good_token}"},
        )

    def _table_token(self, table: str) -> str:
        catalog, schema, _ = table.split(".")
        wanted = [("CATALOG", catalog, ["USE CATALOG"]), ("SCHEMA", f"{catalog}.{schema}", ["USE SCHEMA"])]
        details = [
            {
                "type": "unity_catalog_privileges",
                "privileges": privileges,
                "object_type": kind,
                "object_full_path": path,
            }
            for kind, path, privileges in [*wanted, ("TABLE", table, ["SELECT", "MODIFY"])]
        ]
        known = self.server.workspace.credentials
        assert isinstance(known, ClientCredentials)
        form = {
            "grant_type": "client_credentials",
            "scope": "all-apis",
            "resource": "api://databricks/workspaces/127/zerobusDirectWriteApi",
            "authorization_details": json.dumps(details),
        }
        answer = self.http.post("/oidc/v1/token", data=form, auth=(known.client_id, known.client_secret))
        return str(answer.raise_for_status().json()["access_token"])

    def call(self, method: str, messages: list[bytes]) -> str:
        """One gRPC call with these messages; its status."""
        headers = [("authorization", f"Bearer {self.token}"), ("x-databricks-zerobus-table-name", FUZZED)]
        with grpc.insecure_channel(self.server.endpoint.removeprefix("http://")) as channel:
            responses = channel.stream_stream(method)(iter(messages), metadata=headers, timeout=ANSWER_WITHIN)
            try:
                for _ in responses:
                    pass
            except grpc.RpcError as error:
                return str(error.code().name)
        return "OK"


def _grpc(method: str, seeds: list[list[bytes]]) -> Attempt:
    def attempt(fuzzer: Fuzzer, draw: random.Random) -> tuple[str, str, bytes]:
        messages = list(draw.choice(seeds))
        at = draw.randrange(len(messages))
        messages[at] = bent(draw, messages[at])
        if draw.random() < 0.1:
            messages.append(draw.choice(draw.choice(seeds)))
        return "Flight" if method == FLIGHT else "gRPC", fuzzer.call(method, messages), b"|".join(messages)

    return attempt


def _http(fuzzer: Fuzzer, draw: random.Random) -> tuple[str, str, bytes]:
    """A request with one damaged part, as somebody who may do everything."""
    table = f"main.default.f{draw.randrange(5)}"
    statement = draw.choice(SQL).format(draw.randrange(5))
    bearer = {"authorization": f"Bearer {fuzzer.token}"}
    form = b"grant_type=client_credentials&scope=all-apis&resource=x&authorization_details=[]"
    requests: list[tuple[str, str, bytes, dict[str, str]]] = [
        ("POST", f"/zerobus/v1/tables/{FUZZED}/insert", b'[{"id": 1, "name": "x", "tags": ["a"]}]', bearer),
        ("POST", "/api/2.0/sql/statements", json.dumps({"statement": statement}).encode(), bearer),
        ("POST", "/oidc/v1/token", form, {"content-type": "application/x-www-form-urlencoded"}),
        ("GET", f"/api/2.1/unity-catalog/tables/{table}", b"", bearer),
        ("GET", f"/api/2.1/unity-catalog/effective-permissions/table/{table}?principal=x", b"", bearer),
        ("POST", "/local/principals", b'{"name": "someone"}', bearer),
        ("DELETE", "/local/faults/7", b"", {}),
        ("GET", "/local/page", b"", {}),
    ]
    method, path, body, headers = draw.choice(requests)
    if body and draw.random() < 0.8:
        body = bent(draw, body)
    else:
        path = "/" + quote(bent(draw, path[1:].encode()), safe="/?=&.%")
    sent = f"{method} {path} ".encode() + body
    try:
        answer = fuzzer.http.request(method, path, content=body, headers=headers)
    except httpx.TimeoutException:
        return "HTTP", "DEADLINE_EXCEEDED", sent
    except (httpx.HTTPError, httpx.InvalidURL):
        return "HTTP", "closed", sent
    return "HTTP", str(answer.status_code), sent


def _bytes(fuzzer: Fuzzer, draw: random.Random) -> tuple[str, str, bytes]:
    """Bytes that are not a request, at either port; the connection may be left half open."""
    seeds = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]),
        b"POST /api/2.0/sql/statements HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20\r\n\r\n{}",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(40),
        draw.randbytes(100),
    ]
    sent = bent(draw, draw.choice(seeds))
    url = urlsplit(draw.choice([fuzzer.server.endpoint, fuzzer.server.workspace_url]))
    try:
        with socket.create_connection((url.hostname, url.port), timeout=5) as connection:
            connection.settimeout(0.05)
            connection.sendall(sent)
            answered = "closed" if connection.recv(1000) == b"" else "answered"
    except TimeoutError:
        answered = "waits for more"
    except OSError:
        answered = "closed"
    return "bytes", answered, sent


ATTEMPTS: list[Attempt] = [
    _grpc(STREAM, _stream_seeds()),
    _grpc(STREAM, _stream_seeds()),
    _grpc(FLIGHT, _flight_seeds()),
    _http,
    _http,
    _bytes,
]


@contextmanager
def served(folder: Path) -> Generator[LocalZerobusProcess]:
    """A server process in ``folder`` with a table to fuzz and one for the good stream."""
    with LocalZerobusProcess.start(folder, commit_delay=0.005) as server:
        server.create_table(f"CREATE TABLE {FUZZED} ({COLUMNS})")
        server.create_table(f"CREATE TABLE {GOOD} (id BIGINT NOT NULL)")
        yield server


def fuzz(folder: Path, seconds: float, seed: int, attempts: int = 0) -> Fuzzer:
    """Start a server in ``folder``, fuzz it, hold its tables against what was acknowledged, and stop it."""
    with served(folder) as server:
        fuzzer = Fuzzer(server, seed)
        with closing(fuzzer.http):
            fuzzer.run(seconds, attempts)
            fuzzer.check_books()
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
        fuzzer.peak_mib = int(peak[1]) // 1024 if peak else 0
    return fuzzer


def main() -> int:
    """Fuzz and print what was answered how often, and what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = fuzz(Path(folder), arguments.minutes * 60, arguments.seed)
    for answer, count in sorted(fuzzer.answers.items()):
        print(f"{answer:<40} {count}")
    print(
        f"{fuzzer.answers.total()} attempts, {fuzzer.good_rows} good rows, at most {fuzzer.peak_mib} MiB, "
        f"{len(fuzzer.findings)} findings"
    )
    for finding in fuzzer.findings:
        print(finding[:2000])
    return 1 if fuzzer.findings else 0


if __name__ == "__main__":
    sys.exit(main())
