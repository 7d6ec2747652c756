"""Which files a directory or glob means: all that are there now, or an error; and where dead letters may be kept."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import ConfigurationError, TransportError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.files.finding.found import holds_no_files
from zerobus_local import LocalZerobus


class OtherLocal(LocalFileSystem):
    """The local file system under another name, as far as a storage is like it."""

    local_file = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.removeprefix(f"{cls.protocol}://"))
        return stripped


class Remembering(OtherLocal):
    """Keeps listings until it is told not to, as s3fs, gcsfs and adlfs do."""

    protocol = "remembering"

    def ls(self, path: str, detail: bool = False, **_: Any) -> Any:
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True)
        return self.dircache[path] if detail else [info["name"] for info in self.dircache[path]]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.dircache.clear()


class Shaky(OtherLocal):
    """Cannot list one of its directories."""

    protocol = "shaky"

    def ls(self, path: str, detail: bool = False, **_: Any) -> Any:
        if self._strip_protocol(path).endswith("/shaky"):
            raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
        return super().ls(path, detail=detail)


def lines(path: Path, rows: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(rows)))


def count(given: Any) -> int:
    return sum(len(chunk.rows) for chunk in source_of(given, IngestOptions()).chunks(RowRanges()))


@pytest.mark.parametrize("form", ["remembering://{}", "remembering://{}/*.jsonl", "remembering://{}/**"])
def test_a_file_that_came_since_the_last_listing_is_found(form: str, tmp_path: Path) -> None:
    fsspec.register_implementation("remembering", Remembering, clobber=True)
    lines(tmp_path / "a.jsonl", 10)
    assert count(form.format(tmp_path)) == 10
    lines(tmp_path / "b.jsonl", 10)
    assert count(form.format(tmp_path)) == 20


@pytest.mark.parametrize("form", ["shaky://{}", "shaky://{}/*/*.jsonl", "shaky://{}/**/*.jsonl", "shaky://{}/shaky"])
def test_a_directory_that_cannot_be_listed_is_an_error_and_not_empty(form: str, tmp_path: Path) -> None:
    fsspec.register_implementation("shaky", Shaky, clobber=True)
    lines(tmp_path / "fine" / "a.jsonl", 10)
    lines(tmp_path / "shaky" / "a.jsonl", 10)
    with pytest.raises(TransportError, match="cannot read shaky://.*reset by peer"):
        source_of(form.format(tmp_path), IngestOptions())


@pytest.mark.parametrize(
    ("form", "rows"),
    [
        ("{}", 21), ("{}/", 21), ("{}/*.jsonl", 1), ("{}/*/*.jsonl", 14), ("{}/**/*.jsonl", 21), ("{}/day=?/*", 12),
        ("{}/d*/[ab].jsonl", 14), ("{}/day=1/a.jsonl", 4),
    ],
)  # fmt: skip
def test_a_glob_means_what_it_says(form: str, rows: int, tmp_path: Path) -> None:
    for name, number in (
        ("x.jsonl", 1), ("day=1/a.jsonl", 4), ("day=2/b.jsonl", 8), ("dir/a.jsonl", 2), ("dir/deep/a.jsonl", 6),
        ("_left/out.jsonl", 100), (".left/out.jsonl", 100), ("day=1/_out.jsonl", 100),
    ):  # fmt: skip
        lines(tmp_path / name, number)
    assert count(form.format(tmp_path)) == rows


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    lines(tmp_path / "elsewhere" / "a.jsonl", 3)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.jsonl").symlink_to(tmp_path / "elsewhere" / "a.jsonl")
    for form in (tmp_path / "in", str(tmp_path / "in" / "*.jsonl")):
        assert count(form) == 3


def test_a_glob_of_a_directory_that_is_not_there_holds_no_files(tmp_path: Path) -> None:
    assert holds_no_files(f"{tmp_path}/none/*.csv")
    with pytest.raises(ConfigurationError, match="there is no file"):
        holds_no_files(f"{tmp_path}/none")


def letters_at(uri: Any) -> IngestOptions:
    return IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(uri))


FORMS: dict[str, Callable[[Path], Any]] = {
    "directory": lambda folder: folder,
    "directory by uri": lambda folder: f"file://{folder}",
    "glob": lambda folder: f"{folder}/*.jsonl",
    "deep glob": lambda folder: f"{folder}/**/*.jsonl",
    "list": lambda folder: [f"{folder}/a.jsonl", str(folder)],
}


@pytest.mark.parametrize("form", FORMS)
def test_dead_letters_among_the_files_that_are_read_are_refused_before_there_are_any(form: str, tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", 3)
    given = FORMS[form](tmp_path)
    with pytest.raises(ConfigurationError, match="the next attempt would read it as rows"):
        source_of(given, letters_at(tmp_path / "bad.jsonl"))
    for apart in ("bad/_bad.jsonl", "_bad.jsonl", "_bad/bad.jsonl", "../bad.jsonl"):
        source_of(given, letters_at(tmp_path / apart))


def test_dead_letters_beside_a_glob_that_does_not_match_them_are_taken(tmp_path: Path) -> None:
    lines(tmp_path / "rows-1.jsonl", 3)
    source_of(f"{tmp_path}/rows-*.jsonl", letters_at(tmp_path / "bad.jsonl"))
    source_of(tmp_path / "rows-1.jsonl", letters_at(tmp_path / "bad.jsonl"))


def test_another_name_of_a_file_that_is_read_takes_no_dead_letters(tmp_path: Path) -> None:
    lines(tmp_path / "in" / "rows.jsonl", 3)
    (tmp_path / "letters.jsonl").symlink_to(tmp_path / "in" / "rows.jsonl")
    (tmp_path / "folder").symlink_to(tmp_path / "in")
    for given in (tmp_path / "in" / "rows.jsonl", tmp_path / "in"):
        with pytest.raises(ConfigurationError, match="one of the files"):
            source_of(given, letters_at(tmp_path / "letters.jsonl"))
    with pytest.raises(ConfigurationError, match="one of the files"):
        source_of(tmp_path / "in", letters_at(tmp_path / "folder" / "new.jsonl"))


def test_a_home_directory_is_known_by_its_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    lines(tmp_path / "a.jsonl", 3)
    with pytest.raises(ConfigurationError, match="one of the files"):
        source_of("~/*.jsonl", letters_at("~/bad.jsonl"))


def test_nothing_is_sent_or_written_where_dead_letters_would_be_read(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (n INT)")
    lines(tmp_path / "a.jsonl", 3)
    with pytest.raises(ConfigurationError, match="one of the files"):
        ingest(zerobus.workspace, table_name, tmp_path, options=letters_at(tmp_path / "bad.jsonl"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert zerobus.read(table_name).num_rows == 0
