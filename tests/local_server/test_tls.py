"""The port with TLS, for clients that cannot do without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import trustme

from zerobus_local import LocalZerobus, LocalZerobusProcess
from zerobus_local.errors import InvalidRequest

TABLE = "main.default.t"
# The official SDK, told nothing but addresses, credentials and whom to trust.
CLIENT = """
import sys
from zerobus.sdk.shared import RecordType, StreamConfigurationOptions, TableProperties
from zerobus.sdk.sync import ZerobusSdk

endpoint, workspace_url, client_id, client_secret = sys.argv[1:]
sdk = ZerobusSdk(endpoint, workspace_url)
options = StreamConfigurationOptions(record_type=RecordType.JSON)
stream = sdk.create_stream(client_id, client_secret, TableProperties("main.default.t"), options)
for i in range(100):
    stream.ingest_record_offset({"id": i})
stream.flush()
stream.close()
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "certificate.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    return {"tls_certificate": str(folder / "certificate.pem"), "tls_key": str(folder / "key.pem")}


def test_the_official_sdk_ingests_through_the_port_with_tls(tmp_path: Path, pair: dict[str, str]) -> None:
    with LocalZerobus.start(tmp_path, **pair) as server:
        server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL)")
        known = server.describe()
        arguments = [known[name] for name in ("tls_endpoint", "workspace_url", "client_id", "client_secret")]
        authority = Path(pair["tls_key"]).with_name("ca.pem")
        environment = os.environ | {"SSL_CERT_FILE": str(authority)}
        subprocess.run([sys.executable, "-c", CLIENT, *arguments], env=environment, check=True, timeout=300)
        assert sorted(server.read(TABLE).column("id").to_pylist()) == list(range(100))


def test_a_port_without_tls_stays_beside_it_over_a_restart(tmp_path: Path, pair: dict[str, str]) -> None:
    with LocalZerobusProcess.start(tmp_path, **pair) as server:
        before = server.endpoint, server.tls_endpoint
        server.restart()
        assert (server.endpoint, server.tls_endpoint) == before
        assert server.endpoint.startswith("http://")
        assert (server.tls_endpoint or "").startswith("https://")


def test_a_client_that_trusts_nobody_here_gets_no_connection(tmp_path: Path, pair: dict[str, str]) -> None:
    with LocalZerobus.start(tmp_path, **pair) as server:
        target = (server.tls_endpoint or "").removeprefix("https://")
        strangers = grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())
        with grpc.secure_channel(target, strangers) as channel:
            call = channel.stream_stream("/databricks.zerobus.Zerobus/EphemeralStream")(iter(()))
            with pytest.raises(grpc.RpcError) as refused:
                next(call)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("missing", ["tls_certificate", "tls_key"])
def test_a_certificate_and_its_key_go_together(tmp_path: Path, pair: dict[str, str], missing: str) -> None:
    with pytest.raises(InvalidRequest, match="must be used together"):
        LocalZerobus.start(tmp_path, **{name: path for name, path in pair.items() if name != missing})


def test_a_file_that_is_not_there_or_no_key_is_named(
    tmp_path: Path, pair: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidRequest, match=r"tls_key '.*nowhere\.pem' cannot be read"):
        LocalZerobus.start(tmp_path, **pair | {"tls_key": str(tmp_path / "nowhere.pem")})
    (tmp_path / "poem.pem").write_text("roses are red")
    for name in ("tls_certificate", "tls_key"):
        with pytest.raises(InvalidRequest, match=rf"{name} '.*poem\.pem'.* certificate and its key"):
            LocalZerobus.start(tmp_path, **pair | {name: str(tmp_path / "poem.pem")})
    assert "add_port" not in capfd.readouterr().err
