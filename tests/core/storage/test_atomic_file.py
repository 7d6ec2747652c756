"""Files that are kept whole between tries: what a replacement leaves as it was, and what storages raise."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from zerobus_core import FileCheckpointStore, IngestOptions, TableSchema, ingest
from zerobus_core.bad_rows.dead_letter import DeadLetterFile
from zerobus_core.errors import ConfigurationError, TransportError
from zerobus_core.sources import source_of
from zerobus_core.storage.atomic_file import KeptFile
from zerobus_core.storage.uris import secrets_in, shown_uri, without_secrets
from zerobus_local import LocalZerobus

SECRET = "S3CR3T"
SCHEMA = TableSchema.from_sql("CREATE TABLE main.default.t (n INT)")


@pytest.fixture
def _umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_a_new_file_has_the_mode_that_the_process_gives_files(tmp_path: Path) -> None:
    KeptFile(tmp_path / "c.json", "checkpoint").replace(b"{}")
    assert stat.S_IMODE((tmp_path / "c.json").stat().st_mode) == 0o640


@pytest.mark.usefixtures("_umask")
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    for mode in (0o664, 0o600):
        path.write_bytes(b"")
        path.chmod(mode)
        KeptFile(path, "checkpoint").replace(b"{}")
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"{}", mode)
    assert list(tmp_path.iterdir()) == [path]


def test_of_a_link_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "c.json", tmp_path / "link.json"
    link.symlink_to(target)
    for data in (b"1", b"2"):  # at first it points to nothing
        KeptFile(link, "checkpoint").replace(data)
        assert link.is_symlink()
        assert target.read_bytes() == data


def synced_by(use: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Call ``use``, and return the inodes of the files and directories that it synced to disk, in order."""
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append(os.fstat(file).st_ino)
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        use()
    return synced


def test_the_directory_of_a_file_that_is_appended_to_is_synced_while_the_file_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, path = tmp_path / "link.jsonl", tmp_path / "elsewhere" / "x.jsonl"
    path.parent.mkdir()
    link.symlink_to(path)
    kept = KeptFile(link, "dead-letter file")

    def append() -> None:
        kept.append_lines(b"a line\n", is_whole=lambda _: False)

    directory = path.parent.stat().st_ino
    assert synced_by(append, monkeypatch) == [directory, path.stat().st_ino]
    assert synced_by(append, monkeypatch) == [path.stat().st_ino]
    assert path.read_bytes() == b"a line\n" * 2


def test_directories_that_are_created_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptFile(tmp_path / "a" / "b" / "x.jsonl", "dead-letter file")
    assert synced_by(kept.prepare, monkeypatch) == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]
    assert synced_by(kept.prepare, monkeypatch) == []
    replaced = KeptFile(tmp_path / "c" / "x.json", "checkpoint")
    synced = synced_by(lambda: replaced.replace(b"{}"), monkeypatch)
    inodes = [each.stat().st_ino for each in (tmp_path, tmp_path / "c" / "x.json", tmp_path / "c")]
    assert synced == inodes


class NoCredentialsError(Exception):
    __module__ = "botocore.exceptions"


class Failing(MemoryFileSystem):
    """A storage whose every request fails."""

    protocol = "failing"
    error: Exception

    def info(self, path: str, **_: Any) -> Any:
        raise self.error

    cat_file = pipe_file = _open = makedirs = info


ERRORS = [
    (NoCredentialsError("Unable to locate credentials"), TransportError),
    (ConnectionResetError(errno.ECONNRESET, "reset by peer"), TransportError),
    (TimeoutError(), TransportError),
    (OSError("of a storage that has no numbers"), TransportError),
    (PermissionError(errno.EACCES, "no"), ConfigurationError),
    (TypeError("odd"), ConfigurationError),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS)
def test_whatever_a_storage_raises_is_an_error_of_ours(error: Exception, kind: type[Exception]) -> None:
    fsspec.register_implementation("failing", Failing, clobber=True)
    Failing.error = error
    kept = KeptFile("failing://bucket/c.json", "checkpoint")
    for use, message in (
        (kept.read, "cannot read the checkpoint at failing://bucket/c.json"),
        (lambda: kept.replace(b"{}"), "cannot write the checkpoint at failing://bucket/c.json"),
        (lambda: source_of("failing://bucket/x.csv", IngestOptions()), "cannot read failing://bucket/x.csv"),
        (lambda: source_of("failing://bucket/*.csv", IngestOptions()), "cannot read failing://bucket/"),
    ):
        with pytest.raises(kind, match=message) as caught:
            use()
        assert type(caught.value) is kind
        assert caught.value.__cause__ is error


@pytest.fixture
def nobody() -> Iterator[str]:
    """A host and port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_a_storage_that_cannot_be_reached_is_worth_another_try_and_tells_no_secret(nobody: str) -> None:
    uri = f"ftp://me:{SECRET}@{nobody}"
    for use in (
        FileCheckpointStore(f"{uri}/c.json").load,
        lambda: DeadLetterFile(f"{uri}/l.jsonl", schema=SCHEMA),
        lambda: source_of(f"{uri}/x.csv", IngestOptions()),
    ):
        with pytest.raises(TransportError, match=f"ftp://{nobody}/.*refused") as caught:
            use()
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("ftp://me:S3CR3T@h:21/x.csv", "ftp://h:21/x.csv"),
        ("sftp://me:pa/S3CR3T@h/x.csv", "sftp://h/x.csv"),
        ("https://S3CR3T@h/x.csv?sig=S3CR3T#S3CR3T", "https://h/x.csv?…"),
        ("https://h/x.csv#S3CR3T", "https://h/x.csv#…"),
        ("zip://*.csv::https://me:S3CR3T@h/x.zip?S3CR3T", "zip://*.csv::https://h/x.zip?…"),
        ("simplecache::https://h/x.csv?S3CR3T", "simplecache::https://h/x.csv?…"),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("s3://bucket/day=1/x@2.csv", "s3://bucket/day=1/x@2.csv"),
        ("https://h:8080/x@2.csv", "https://h:8080/x@2.csv"),
        ("file:///a/b?c#d@e", "file:///a/b?c#d@e"),
        ("/data/a?b#c@d:e.csv", "/data/a?b#c@d:e.csv"),
        ("C:\\data\\me@h?.csv", "C:\\data\\me@h?.csv"),
    ],
)
def test_a_uri_is_shown_without_its_secrets_and_a_path_as_it_is(uri: str, shown: str) -> None:
    assert shown_uri(uri) == shown
    assert without_secrets(f"cannot open '{uri}'") == f"cannot open '{shown}'"


@pytest.mark.parametrize(
    ("uri", "secrets"),
    [
        ("ftp://me:S3CR3T@h:21/x.csv", ["S3CR3T"]),
        ("sftp://deploy@h/x.csv", []),
        ("https://S3CR3T@h/x.csv", ["S3CR3T"]),
        (
            "https://h/x.csv?sv=2024-01-01&sig=S3CR3T%2Babcdefghijk",
            [
                "sv=2024-01-01&sig=S3CR3T%2Babcdefghijk",
                "sv=2024-01-01&sig=S3CR3T+abcdefghijk",
                "S3CR3T%2Babcdefghijk",
                "S3CR3T+abcdefghijk",
            ],
        ),
        ("zip://*.csv::https://h/x.zip?S3CR3T", ["S3CR3T"]),
        ("abfs://container@account.dfs.core.windows.net/x", []),
        ("s3://bucket/part-?.parquet", []),
        ("/data/a?b=c@d:e.csv", []),
    ],
)
def test_the_secrets_of_a_uri_are_found_and_globs_and_names_of_users_are_not(uri: str, secrets: list[str]) -> None:
    assert secrets_in(uri) == secrets
    assert not any(secret in shown_uri(uri) for secret in secrets)


class Telling(Failing):
    """A storage that puts the address into its errors, as those over HTTP do."""

    protocol = "telling"

    def info(self, path: str, **_: Any) -> Any:
        raise FileExistsError(f"https://h/{path}?sig={SECRET}") from NoCredentialsError(f"https://{SECRET}@h/")

    cat_file = info


def test_a_secret_in_the_text_of_a_storages_error_is_not_told_nor_shown_by_a_traceback() -> None:
    fsspec.register_implementation("telling", Telling, clobber=True)
    kept = KeptFile("telling://h/x.json", "checkpoint")
    with pytest.raises(ConfigurationError, match=r"FileExistsError: https://h/.*\?…") as caught:
        kept.read()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_what_is_made_of_a_uri_shows_no_secret_of_it() -> None:
    uri = f"https://me:{SECRET}@h/l.jsonl?sig={SECRET}"
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=uri)
    for text in (
        repr(FileCheckpointStore(uri)),
        repr(options),
        _message(lambda: IngestOptions(dead_letter_uri=uri)),
        _message(lambda: DeadLetterFile(uri.replace(".jsonl", ".txt"), schema=SCHEMA)),
        _message(lambda: source_of(uri.replace("https", "nope"), IngestOptions())),
    ):
        assert SECRET not in text


def _message(use: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        use()
    return f"{caught.value} {caught.value!r}"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [(_pipe, "a pipe"), (_endless_device, "a device"), (_socket, "a socket"), (Path.mkdir, "a directory")],
)
def test_what_is_not_a_regular_file_is_refused_at_once(
    make: Any, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket has a bound
    make(Path("x.jsonl"))
    for uri in ("x.jsonl", f"file://{tmp_path}/x.jsonl"):
        kept = KeptFile(uri, "checkpoint")
        for use in (kept.prepare, kept.read, lambda: kept.replace(b"{}")):  # noqa: B023  # called at once
            with pytest.raises(ConfigurationError, match=f"the checkpoint at .*x.jsonl: .*it is {kind}"):
                use()
        with pytest.raises(ConfigurationError, match=f"cannot read the checkpoint .*{kind}"):
            FileCheckpointStore(uri).load()
        with pytest.raises(ConfigurationError, match=f"the dead-letter file at .*{kind}"):
            DeadLetterFile(uri, schema=SCHEMA)


@pytest.mark.parametrize("options", [{"checkpoint": "x.jsonl"}, {"dead_letter_uri": "x.jsonl"}])
def test_a_delivery_with_a_pipe_to_write_to_is_refused_and_sends_nothing(
    options: dict[str, str], zerobus: LocalZerobus, table_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    zerobus.create_table(f"CREATE TABLE {table_name} (n INT)")
    os.mkfifo("x.jsonl")
    letters = options.get("dead_letter_uri")
    given = IngestOptions(dead_letter_uri=letters, on_bad_record="dead_letter" if letters else "fail", timeout=30)
    store = FileCheckpointStore(options["checkpoint"]) if "checkpoint" in options else None
    with pytest.raises(ConfigurationError, match="it is a pipe"):
        ingest(zerobus.workspace, table_name, [{"n": 1}, {"n": "bad"}], options=given, checkpoint=store)
    assert zerobus.read(table_name).num_rows == 0
