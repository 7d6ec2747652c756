"""The dead-letter file: rows that do not fit the table, with the reasons, kept so that someone can correct them.

Each bad row of a source gets one dead letter, which is never removed. A retry finds the same bad rows again, but does
not write a dead letter that the file already holds. Two dead letters of one source are the same if their row numbers
are equal. If the source has no fingerprint, the contents of their rows must also be equal, because the next delivery
may have other rows at the same positions.

Only one delivery at a time should write to a file: if the file cannot be appended to (Parquet, or any file that is not
local), two deliveries can overwrite each other's dead letters.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, RecordError
from ..optional_imports import require_pyarrow
from ..options import IngestOptions
from ..process.signals import is_of_signal
from ..ranges import RowRanges
from ..storage.atomic_file import KeptFile
from ..storage.uris import shown_uri
from .letter_reader import letter_text
from .letter_writer import LetterWriter
from .markers import LETTER_KEY, VERSION
from .wire_values import from_wire

if TYPE_CHECKING:
    from ..batch import BadRow
    from ..schema import TableSchema

__all__ = ["DeadLetterFile", "letters_in"]

_COLUMNS = (
    LETTER_KEY, "table", "row", "source_position", "source_fingerprint", "error", "fields", "time", "record",
)  # fmt: skip
# If the file can be appended to, dead letters are kept in memory up to one of these limits.
_MAX_PENDING = 1_000
_MAX_PENDING_BYTES = 4 * 1024 * 1024
# A file that cannot be appended to is put together in memory, which takes about three times the file's bytes.
_MAX_WHOLE_BYTES = 64 * 1024 * 1024
_BLOCK_ROWS = 1_000


class DeadLetterFile:
    """Collects the bad rows of one delivery and writes them to a ``.jsonl``, ``.ndjson`` or ``.parquet`` file.

    ``uri`` is a path or any fsspec URI. ``leave_out`` contains the names of the columns that the delivery itself fills;
    a dead letter of a refused row does not contain these columns. ``locate`` takes a row number and returns where the
    row is in its source, such as file and line. The file is written only if there are dead letters. Raises
    ConfigurationError if the file cannot be written or is not a dead-letter file, TransportError if the storage fails,
    and RecordError if a file that cannot be appended to (Parquet, or any file that is not local) would grow beyond
    about 64 MiB.
    """

    def __init__(  # noqa: PLR0913 - the facts about the delivery, by name
        self,
        uri: str,
        *,
        schema: TableSchema,
        options: IngestOptions | None = None,
        source_fingerprint: str | None = None,
        leave_out: Iterable[str] = (),
        locate: Callable[[int], str] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.uri = uri
        self._schema = schema
        self._writer = LetterWriter(schema.columns, options or IngestOptions())
        self._source_fingerprint = source_fingerprint
        self._leave_out = frozenset(leave_out)
        self._locate = locate or "row {}".format
        self._now = now
        self._pending: list[bytes] = []
        self._rows = RowRanges()
        self._form = _form_of(uri)
        if self._form == "parquet":
            require_pyarrow(f"writing dead letters to {shown_uri(uri)}")
        self._file = KeptFile(uri, "dead-letter file")
        self._file.prepare()
        # This source's dead letters in the file: by row, or by row and record if the source has no fingerprint.
        self._known_rows = RowRanges()
        self._known_records: set[bytes] = set()
        kept = self._file.read() or b""
        for letter in self._letters_of(kept):
            self._know(letter)
        self._nbytes = 0 if self._can_append else len(kept)
        """The size of the dead letters that are not written yet, in bytes; for a file that cannot be appended to, the
        size of the file at the start plus that of all dead letters since."""

    def __repr__(self) -> str:
        return f"DeadLetterFile({shown_uri(self.uri)!r}, rows={self.rows})"

    @property
    def rows(self) -> int:
        """The number of bad rows added so far, including those whose dead letter is not in the file yet."""
        return self._rows.rows

    @property
    def rows_written(self) -> int:
        """The number of bad rows added so far whose dead letters are already in the file.

        Some of these dead letters may have been written by an earlier attempt.
        """
        return self._rows.rows - len(self._pending)

    def add(self, bad: BadRow) -> None:
        """Add a row that does not fit the schema."""
        error = "; ".join(f"{field.path}: {field.reason}" for field in bad.fields) or "does not fit the table"
        fields = [
            {key: value for key, value in asdict(field).items() if key not in {"row", "place"}} for field in bad.fields
        ]
        self._add(bad.row, self._writer.record(bad.record), error, fields)

    def add_refused(self, row: int, decoded: dict[str, Any], error: str) -> None:
        """Add a row that the service refused; ``decoded`` is the row as ``Encoder.decode`` returned it."""
        given = {name: value for name, value in decoded.items() if name not in self._leave_out}
        columns = {column.name for column in self._schema.columns}
        # Fields that the service puts into its rescue column are JSON; the table has no columns for them.
        record = from_wire(given, self._schema.columns) | {k: v for k, v in given.items() if k not in columns}
        self._add(row, self._writer.refused_record(record), error, [])

    def _add(self, row: int, record: Any, error: str, fields: list[dict[str, Any]]) -> None:
        letter = {
            LETTER_KEY: VERSION,
            "table": self._schema.table,
            "row": row,
            "source_position": self._locate(row),
            "source_fingerprint": self._source_fingerprint,
            "error": error,
            "fields": fields,
            "time": self._now().isoformat(),
            "record": record,
        }
        if row not in self._rows and not self._knows(letter):
            # json, and not orjson, for integers of any size and for text that is not valid Unicode.
            self._keep(json.dumps(letter).encode() + b"\n")
        self._rows.add(row, row + 1)

    def _keep(self, line: bytes) -> None:
        self._nbytes += len(line)
        if not self._can_append and self._nbytes > _MAX_WHOLE_BYTES:
            raise RecordError(
                f"the dead letters at {shown_uri(self.uri)} would exceed {_MAX_WHOLE_BYTES} bytes, the limit for a "
                "file that cannot be appended to: correct the source, or write to a local .jsonl file; with a smaller "
                "max_bad_records, the delivery fails sooner"
            )
        self._pending.append(line)
        if self._can_append and (len(self._pending) >= _MAX_PENDING or self._nbytes >= _MAX_PENDING_BYTES):
            self.flush()

    def _know(self, letter: dict[str, Any]) -> None:
        if (letter["table"], letter["source_fingerprint"]) != (self._schema.table, self._source_fingerprint):
            return
        if self._source_fingerprint is None:
            self._known_records.add(_digest(letter))
        else:
            self._known_rows.add(letter["row"], letter["row"] + 1)

    def _knows(self, letter: dict[str, Any]) -> bool:
        if self._source_fingerprint is None:
            return bool(self._known_records) and _digest(letter) in self._known_records
        return letter["row"] in self._known_rows

    def flush(self) -> None:
        """Write the dead letters added so far; on return the file is complete, and synced to disk if it is local."""
        if not self._pending:
            return
        if self._can_append:
            self._file.append_lines(b"".join(self._pending), is_whole=_is_letter)
            self._nbytes = 0
        else:
            kept = self._file.read() or b""
            for _ in self._letters_of(kept):  # raises if the file is no longer a dead-letter file
                pass
            whole = _with_lines if self._form == "jsonl" else _with_parquet
            self._file.replace(whole(kept, self._pending))
        self._pending = []

    @property
    def _can_append(self) -> bool:
        return self._form == "jsonl" and self._file.is_local

    def _letters_of(self, data: bytes) -> Iterator[dict[str, Any]]:
        return (letter for letter, _ in letters_in(self.uri, data))


def letters_in(uri: str, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each dead letter in ``data``, the content of the file at ``uri``, as a dict and as JSON text.

    The text is the line of the file; for a Parquet file, it is a JSON object with only the marker and the record.
    Numbers in the text are as in the file. In the dict, numbers with a fraction are rounded to doubles.

    Raises ConfigurationError if the content is not a dead-letter file, or if it is Parquet and pyarrow is not
    installed.
    """
    if data and _form_of(uri) == "parquet":
        require_pyarrow(f"reading dead letters from {shown_uri(uri)}")
    try:
        yield from _read_lines(data) if _form_of(uri) == "jsonl" else _read_parquet(data)
    except ConfigurationError:
        raise
    except Exception as error:  # pyarrow raises OSError and others for a file that is not Parquet
        if is_of_signal(error):
            raise
        where = f" ({error})" if isinstance(error, _UnreadableLetterError) else ""
        raise ConfigurationError(f"{shown_uri(uri)} is not a dead-letter file{where}; name another file") from error


class _UnreadableLetterError(ValueError):
    """A part of a file is not a dead letter; the text says which part, and why."""


def _digest(letter: dict[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps([letter["row"], letter["record"]], sort_keys=True).encode()).digest()


def _form_of(uri: str) -> str:
    for ending, form in ((".jsonl", "jsonl"), (".ndjson", "jsonl"), (".parquet", "parquet")):
        if uri.lower().endswith(ending):
            return form
    raise ConfigurationError(f"the dead-letter file {shown_uri(uri)!r} must end in .jsonl, .ndjson or .parquet")


def _checked(letter: Any) -> dict[str, Any]:
    if (
        not isinstance(letter, dict)
        or type(letter.get(LETTER_KEY)) is not int
        or letter[LETTER_KEY] not in range(1, VERSION + 1)
    ):
        raise _UnreadableLetterError(f"{LETTER_KEY} is not a version from 1 to {VERSION}")
    for name, kind in (("table", str), ("row", int), ("source_fingerprint", str | None), ("record", object)):
        if name not in letter or not isinstance(letter[name], kind):
            raise _UnreadableLetterError(f"its {name!r} is missing or has another type")
    if isinstance(letter["row"], bool) or letter["row"] < 0:
        raise _UnreadableLetterError("its 'row' is not a number of a row")
    return letter


def _read_lines(data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    is_empty = True
    for number, line in enumerate(io.BytesIO(data.removeprefix(codecs.BOM_UTF8)), 1):
        # A last line without a line end is left from a write that broke off, unless an editor has removed the line end.
        if line.strip() and (line.endswith(b"\n") or _is_letter(line)):
            is_empty = False
            try:
                letter = _checked(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise _UnreadableLetterError(f"line {number}: {error}") from error
            yield letter, line
    if data and is_empty and not data.startswith(f'{{"{LETTER_KEY}"'.encode()):
        raise ValueError("not dead letters")


def _with_lines(kept: bytes, lines: list[bytes]) -> bytes:
    whole, end, last = kept.rpartition(b"\n")
    return b"".join([whole, end, *([last, b"\n"] if _is_letter(last) else []), *lines])


def _is_letter(line: bytes) -> bool:
    try:
        return isinstance(letter := json.loads(line), dict) and LETTER_KEY in letter
    except ValueError:
        return False


def _read_parquet(data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    for letter in _rows_of_parquet(data):
        text = letter_text(letter[LETTER_KEY], letter["record"])
        letter["fields"], letter["record"] = json.loads(letter["fields"]), json.loads(letter["record"])
        yield _checked(letter), text


def _rows_of_parquet(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield each dead letter, with JSON text for its fields and its record."""
    if not data:
        return

    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(data)) as file:
        for batch in file.iter_batches(_BLOCK_ROWS):
            yield from batch.to_pylist()


def _with_parquet(kept: bytes, lines: list[bytes]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = {LETTER_KEY: pa.int64(), "row": pa.int64()}
    schema = pa.schema([(name, whole.get(name, pa.string())) for name in _COLUMNS])
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema) as writer:
        letters = chain(_rows_of_parquet(kept), map(_row_for_parquet, lines))
        while block := list(islice(letters, _BLOCK_ROWS)):
            columns: dict[str, Any] = {name: [letter[name] for letter in block] for name in _COLUMNS}
            writer.write_table(pa.table(columns, schema=schema))
    return sink.getvalue()


def _row_for_parquet(line: bytes) -> dict[str, Any]:
    letter: dict[str, Any] = json.loads(line)
    return letter | {name: json.dumps(letter[name]) for name in ("fields", "record")}
