"""The dead-letter file: rows that no table took, with what was wrong, kept until someone mends them.

One letter per row of a source.  A retry finds the same bad rows again; a letter that the file holds already is not
written twice, and none is ever taken out.  Letters of one source are told apart by row number; where a source has no
fingerprint, the record counts too, since the next delivery's row 5 may be another row.

One delivery writes a file at a time: two at once may lose each other's letters on an object store.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..kept_file import KeptFile
from .letter_form import from_wire, to_letter

if TYPE_CHECKING:
    from ..batch import BadRow
    from ..schema import TableSchema

__all__ = ["MARKER", "DeadLetterFile"]

MARKER = "zerobus_dead_letter"
"""The key by which a letter is recognised; its value is the version of the form."""
VERSION = 1
_COLUMNS = (
    MARKER, "table", "row", "source_position", "source_fingerprint", "error", "fields", "time", "record",
)  # fmt: skip
# Letters are kept in memory up to here, where the file can be appended to.
_MAX_PENDING = 1_000


class DeadLetterFile:
    """Collects the bad rows of one delivery and keeps them at ``uri``: ``.jsonl`` or ``.parquet``, any fsspec URI.

    ``leave_out`` names columns that the delivery filled itself, ``locate`` says where a row stands in its source, such
    as file and line.  Nothing is written before the first letter.  Raises
    ConfigurationError where the place cannot be written to, or holds a file of something else; TransportError where
    the storage fails.
    """

    def __init__(
        self,
        uri: str,
        *,
        schema: TableSchema,
        source_fingerprint: str | None = None,
        leave_out: Iterable[str] = (),
        locate: Callable[[int], str] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.uri = uri
        self._schema = schema
        self._source_fingerprint = source_fingerprint
        self._leave_out = frozenset(leave_out)
        self._locate = locate or "row {}".format
        self._now = now
        self._form = _form_of(uri)
        self._file = KeptFile(uri, "dead-letter file")
        self._file.prepare()
        self._known = {_key(letter) for letter in self._kept()}
        self._pending: list[dict[str, Any]] = []
        self._rows: set[int] = set()

    def __repr__(self) -> str:
        return f"DeadLetterFile({self.uri!r}, rows={self.rows})"

    @property
    def rows(self) -> int:
        """How many rows of this delivery have a letter, written in this try or in an earlier one."""
        return len(self._rows)

    def add(self, bad: BadRow) -> None:
        """A row that did not fit the schema."""
        error = "; ".join(f"{field.path}: {field.reason}" for field in bad.fields) or "does not fit the table"
        fields = [{key: value for key, value in asdict(field).items() if key != "row"} for field in bad.fields]
        self._add(bad.row, to_letter(bad.record), error, fields)

    def add_refused(self, row: int, decoded: dict[str, Any], error: str) -> None:
        """A row that the service refused, read back from its batch by ``Encoder.decode``."""
        record = from_wire({k: v for k, v in decoded.items() if k not in self._leave_out}, self._schema.columns)
        self._add(row, to_letter(record), error, [])

    def _add(self, row: int, record: Any, error: str, fields: list[dict[str, Any]]) -> None:
        letter = {
            MARKER: VERSION,
            "table": self._schema.table,
            "row": row,
            "source_position": self._locate(row),
            "source_fingerprint": self._source_fingerprint,
            "error": error,
            "fields": fields,
            "time": self._now().isoformat(),
            "record": record,
        }
        self._rows.add(row)
        key = _key(letter)
        if key in self._known:
            return
        self._known.add(key)
        self._pending.append(letter)
        if len(self._pending) >= _MAX_PENDING and self._can_append:
            self.flush()

    def flush(self) -> None:
        """Write what was added; when this returns it is complete, and on the disk of a local file system."""
        if not self._pending:
            return
        if self._can_append:
            self._file.append_lines(_lines(self._pending), is_whole=_is_letter)
        else:
            letters = [*self._kept(), *self._pending]
            self._file.replace(_lines(letters) if self._form == "jsonl" else _parquet(letters))
        self._pending = []

    @property
    def _can_append(self) -> bool:
        return self._form == "jsonl" and self._file.is_local

    def _kept(self) -> list[dict[str, Any]]:
        data = self._file.read()
        if data is None:
            return []
        try:
            return _read_lines(data) if self._form == "jsonl" else _read_parquet(data)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"dead_letter_uri {self.uri} holds something else than dead letters; name another file"
            ) from error


def _key(letter: dict[str, Any]) -> tuple[Any, ...]:
    if letter["source_fingerprint"] is not None:
        return letter["table"], letter["source_fingerprint"], letter["row"]
    record = json.dumps(letter["record"], sort_keys=True)
    return letter["table"], None, letter["row"], hashlib.sha256(record.encode()).digest()


def _form_of(uri: str) -> str:
    for ending, form in ((".jsonl", "jsonl"), (".ndjson", "jsonl"), (".parquet", "parquet")):
        if uri.lower().endswith(ending):
            return form
    raise ConfigurationError(f"dead_letter_uri {uri!r} must end in .jsonl or .parquet")


def _lines(letters: list[dict[str, Any]]) -> bytes:
    # json, and not orjson, for integers of any size and for text that is no valid Unicode.
    return "".join(json.dumps(letter) + "\n" for letter in letters).encode()


def _read_lines(data: bytes) -> list[dict[str, Any]]:
    whole, _, last = data.rpartition(b"\n")
    # A last line without its end was never finished, unless an editor left it so.
    lines = [*whole.splitlines(), *([last] if _is_letter(last) else [])]
    letters = [json.loads(line) for line in lines if line.strip()]
    for letter in letters:
        _key(letter)
        if letter[MARKER] != VERSION:
            raise ValueError("a letter of another version")
    if data and not letters and not data.startswith(f'{{"{MARKER}"'.encode()):
        raise ValueError("no letters")
    return letters


def _is_letter(line: bytes) -> bool:
    try:
        return isinstance(letter := json.loads(line), dict) and MARKER in letter
    except ValueError:
        return False


def _parquet(letters: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {name: [letter[name] for letter in letters] for name in _COLUMNS}
    for name in ("fields", "record"):
        columns[name] = [json.dumps(value) for value in columns[name]]
    whole = {MARKER: pa.int64(), "row": pa.int64()}
    schema = pa.schema([(name, whole.get(name, pa.string())) for name in _COLUMNS])
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), sink)
    return sink.getvalue()


def _read_parquet(data: bytes) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
    for row in rows:
        if row[MARKER] != VERSION:
            raise ValueError("a letter of another version")
        row["fields"], row["record"] = json.loads(row["fields"]), json.loads(row["record"])
    return rows
