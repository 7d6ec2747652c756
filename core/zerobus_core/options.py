"""The options of a delivery: one frozen object, checked when it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from .column_options import (
    RESCUE,
    constants_problem,
    extra_columns_problem,
    metadata_columns_problem,
    transform_problem,
)
from .errors import ConfigurationError
from .storage.uris import without_secrets

if TYPE_CHECKING:
    from .file_formats import FileFormatOption

__all__ = ["MAX_BATCH_BYTES", "MAX_BATCH_ROWS", "MAX_RECORD_BYTES", "IngestOptions"]

# The SDK refuses a call over 10 MiB less 64 KiB, summed over its records (stream_options.rs in SDK 1.10.0).
MAX_BATCH_BYTES = 10 * 1024 * 1024 - 64 * 1024
# No record can be larger than the call that carries it; the service's own limit is 10 MiB (quotas page).
MAX_RECORD_BYTES = MAX_BATCH_BYTES
# Telegraf's outputs.zerobus names this as a limit of the server.
MAX_BATCH_ROWS = 100_000
_FLAGS = ("parse_text", "parse_json", "write_json", "round_floats", "parse_base64", "numeric_booleans")
# In seconds, a hundred days: the SDK's milliseconds and the waits of every platform can hold this much.
_LONGEST = 8_640_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """Options of one delivery. Times are in seconds. None as the value of a limit means "no limit".

    An invalid value raises a ConfigurationError that names the option, the value and the valid values.
    """

    record_format: Literal["auto", "protobuf", "json", "arrow"] = "auto"
    """The wire format. ``auto`` uses Arrow for Arrow data and protobuf for rows, unless the table needs another
    format."""
    streams: int = 1
    """The number of parallel streams to the table, 1 to 64. The order of rows is kept only within a stream."""
    batch_rows: int = 5_000
    """The largest number of rows in a batch. The service acknowledges or refuses a batch as a whole."""
    batch_bytes: int = 4 * 1024 * 1024
    """The largest number of payload bytes in a batch; a larger record gets a batch of its own."""
    max_unacked_bytes: int = 64 * 1024 * 1024
    """The limit on unacknowledged bytes over all streams: the payload, and 64 bytes for each row. At the limit, no more
    of the source is read."""
    timeout: float | None = 86_400.0
    """The time limit of the whole delivery. In the main thread it interrupts a source that waits for its rows (by
    SIGALRM, if nothing else in the process uses it). Otherwise it takes effect when the source yields its next row."""
    open_timeout: float = 30.0
    """The time limit of one attempt to open a stream."""
    ack_timeout: float = 60.0
    """The longest time without an acknowledgement on a stream with batches in flight; then the stream is replaced."""
    max_attempts: int = 10
    """The number of streams in a row that can end without an acknowledgement before a failed stream is no longer
    replaced. When no stream is left, the delivery fails. 10 attempts take about a minute."""
    backoff: float = 0.5
    """The upper bound of the first pause between attempts. The bound doubles up to 30 s; each pause is random, from 0
    to the bound."""
    max_stream_age: float = 600.0
    """The age at which a stream is drained and replaced; the service ends streams after about 900 s."""
    on_bad_record: Literal["fail", "dead_letter"] = "fail"
    """What to do with rows that do not fit the table or that the service refuses."""
    dead_letter_uri: str | None = field(default=None, repr=False)
    """The file for bad rows (.jsonl or .parquet, any fsspec URI); required for ``on_bad_record="dead_letter"``."""
    max_bad_records: int | float | None = 1_000
    """The largest number of bad rows that the delivery accepts (int), or the largest share of the rows read (float
    below 1). With more bad rows the delivery fails."""
    delivery_columns: Mapping[str, str] | None = field(default=None, hash=False)
    """The columns of the table to fill with a key for each row, as ``{"delivery_id": column, "row_number": column}``.
    The key is the same in every attempt at the same source."""
    delivery_name: str | None = None
    """A part of the key in ``delivery_columns``. It distinguishes deliveries whose sources are equal or have the same
    ``source_version``, and must be the same in every attempt. Airflow sets it to the run and task; Dagster sets it to
    the asset, partition and run."""
    metadata_columns: Mapping[str, str] | None = field(default=None, hash=False)
    """The columns of the table to fill with facts about each row, as ``{"ingested_at": column, "file_name": column,
    "file_path": column, "row_number": column}`` or some of these. ``ingested_at`` is when the attempt that sent the row
    began. ``file_name`` and ``file_path`` are the name and the path or URI of the row's file. ``row_number`` is the
    row's number, counted from 0, in that file or in a source without files. A source without files can have only
    ``ingested_at`` and ``row_number``."""
    epoch_unit: Literal["s", "ms", "us", "ns"] | None = None
    """The unit of whole numbers in TIMESTAMP columns, counted from 1970. None means microseconds; numbers that look
    like seconds or milliseconds are then refused."""
    parse_json: bool = False
    """Accept JSON text for VARIANT, ARRAY, MAP and STRUCT columns. Without it, text in a VARIANT column is a string
    value."""
    write_json: bool = False
    """Accept dicts, lists and records for text columns, and write them as JSON text."""
    round_floats: bool = False
    """Accept floats for DECIMAL columns, and round them half up to the column's scale, as Databricks' CAST does."""
    parse_base64: bool = False
    """Accept base64 text for BINARY columns."""
    numeric_booleans: bool = False
    """Accept 0 and 1 for BOOLEAN columns. Rows of cursors that report BIT(1) or TINYINT(1) columns do not need this
    option."""
    parse_text: bool = False
    """Accept ISO 8601 text for DATE and TIMESTAMP columns, and text for numbers in numeric columns (CSV sources always
    do)."""
    transform: Callable[[Any], Any] | str | None = field(default=None, repr=False)
    """A function that gets each row as the source has it (rows of Arrow data as dicts) and returns the row to deliver,
    or None to leave the row out; or the name of such a function as "package.module:function". The function must always
    return the same result for the same row."""
    transform_version: str | None = None
    """A version that you give to ``transform``. If it changes, a delivery with a checkpoint starts over."""
    select: Sequence[str] = ()
    """The columns of the source to deliver; all of them if empty."""
    drop: Sequence[str] = ()
    """The columns of the source to leave out."""
    rename: Mapping[str, str] | None = field(default=None, hash=False)
    """The columns to rename, as ``{name in the source: name of the column}``."""
    constants: Mapping[str, Any] | None = field(default=None, hash=False)
    """Columns that the source lacks, as ``{column: value}``. Every row gets the same value."""
    extra_columns: str = "error"
    """What happens to fields of a row that have no column in the table. ``"error"`` refuses the row. ``"drop"`` leaves
    the fields out and names them in the log and the receipt. ``"variant:COLUMN"`` collects them in an object in that
    VARIANT column. ``"rescue"`` sends them as JSON, and the service puts them into the table's column with the tag
    ``zerobus-rescue``."""
    format: FileFormatOption | Mapping[str, Any] | str | None = None
    """How files are read: a CsvFormat, JsonFormat or ExcelFormat, a mapping of the fields of one of these, or the name
    of a format (``"parquet"``) for files whose extension does not show it."""
    source_version: str | None = None
    """A name that you give to the content of the records; another attempt with the same records must use the same
    name. Without it, a delivery of a generator, or of other records without a fingerprint, cannot be resumed."""

    def __post_init__(self) -> None:
        self._check_choice("record_format", "auto", "protobuf", "json", "arrow")
        self._check_choice("on_bad_record", "fail", "dead_letter")
        self._check_whole("streams", 1, 64)
        self._check_whole("batch_rows", 1, MAX_BATCH_ROWS)
        self._check_whole("batch_bytes", 1, MAX_BATCH_BYTES)
        self._check_whole("max_unacked_bytes", 1, 2**40)
        self._check_whole("max_attempts", 1, 1_000)
        for name in ("open_timeout", "ack_timeout", "max_stream_age"):
            self._check_seconds(name)
        if self.timeout is not None:
            self._check_seconds("timeout")
        self._check_seconds("backoff", zero=True)
        self._check_text("delivery_name")
        self._check_text("source_version")
        self._check_text("dead_letter_uri")
        self._check_choice("epoch_unit", None, "s", "ms", "us", "ns")
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise self._option_error(name, "True or False")
        self._check_text("transform_version")
        self._check_names("select")
        self._check_names("drop")
        self._check_rename()
        self._check_columns()
        if self.format is not None:
            from .file_formats import format_of

            object.__setattr__(self, "format", format_of(self.format))
        self._check_bad_records()
        self._check_delivery_columns()
        self._check_metadata_columns()

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> IngestOptions:
        """Build the options from a mapping, such as a configuration; raise ConfigurationError for an unknown option."""
        if not isinstance(options, Mapping):
            raise ConfigurationError(f"options must be a mapping of option names, not {type(options).__name__}")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(map(str, options.keys() - known)):
            raise ConfigurationError(
                f"no such ingest option: {', '.join(unknown)}; the options are {', '.join(sorted(known))}"
            )
        return cls(**options)

    @property
    def filled_columns(self) -> frozenset[str]:
        """The columns that the delivery fills itself."""
        return frozenset([*(self.delivery_columns or {}).values(), *(self.metadata_columns or {}).values()])

    def _option_error(self, name: str, expected: str) -> ConfigurationError:
        shown = without_secrets(repr(getattr(self, name)))
        return ConfigurationError(f"IngestOptions.{name} must be {expected}, not {shown}")

    def _check_choice(self, name: str, *choices: str | None) -> None:
        if getattr(self, name) not in choices:
            raise self._option_error(name, f"one of {', '.join(map(repr, choices))}")

    def _check_whole(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._option_error(name, f"a whole number from {low} to {high}")

    def _check_seconds(self, name: str, *, zero: bool = False) -> None:
        value = getattr(self, name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= _LONGEST or (value == 0 and not zero):
            raise self._option_error(name, f"a number of seconds {'from' if zero else 'above'} 0, up to {_LONGEST:.0f}")

    def _check_text(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and not isinstance(value, str):
            raise self._option_error(name, "text, or None")

    def _check_rename(self) -> None:
        names = self.rename
        if names is None:
            return
        if not isinstance(names, Mapping) or not all(isinstance(name, str) for pair in names.items() for name in pair):
            raise self._option_error("rename", "{name in the source: name of the column}")
        if len(set(names.values())) < len(names):
            raise self._option_error("rename", "a mapping that gives each column a different name")
        if both := sorted(set(names) & set(self.drop)):
            raise self._option_error(
                "rename", f"a mapping that does not rename {', '.join(both)} (left out by the option drop)"
            )
        object.__setattr__(self, "rename", dict(names))

    def _check_columns(self) -> None:
        for name, problem in (
            ("transform", transform_problem(self.transform)),
            ("constants", constants_problem(self.constants)),
            ("metadata_columns", metadata_columns_problem(self.metadata_columns)),
            ("extra_columns", extra_columns_problem(self.extra_columns)),
        ):
            if problem is not None:
                raise self._option_error(name, problem)
        if both := sorted(set(self.select) & set(self.drop)):
            raise self._option_error(
                "select", f"a list that does not contain {', '.join(map(repr, both))} (left out by the option drop)"
            )
        if self.select and (others := sorted(set(self.rename or ()) - set(self.select))):
            raise self._option_error(
                "rename",
                f"a mapping that does not rename {', '.join(map(repr, others))} (left out by the option select)",
            )
        if self.transform_version is not None and self.transform is None:
            raise self._option_error("transform_version", "omitted if there is no transform")
        if self.extra_columns == RESCUE and self.record_format not in {"auto", "json"}:
            raise self._option_error("record_format", '"json" or "auto" if extra_columns="rescue"')
        if self.constants is not None:
            object.__setattr__(self, "constants", dict(self.constants))

    def _check_names(self, name: str) -> None:
        value = getattr(self, name)
        is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        if not is_list or not all(isinstance(each, str) for each in value):
            raise self._option_error(name, "a list of names of columns")
        object.__setattr__(self, name, tuple(value))

    def _check_bad_records(self) -> None:
        limit = self.max_bad_records
        is_count = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0
        is_share = isinstance(limit, float) and 0 <= limit < 1
        if limit is not None and not is_count and not is_share:
            raise self._option_error(
                "max_bad_records", "a whole number of rows, a share below 1 (float), or None for no limit"
            )
        if self.on_bad_record == "dead_letter" and not self.dead_letter_uri:
            raise self._option_error("dead_letter_uri", 'a path or URI when on_bad_record="dead_letter"')
        if self.dead_letter_uri and self.on_bad_record != "dead_letter":
            raise self._option_error("dead_letter_uri", 'omitted unless on_bad_record="dead_letter"')

    def _check_delivery_columns(self) -> None:
        columns = self.delivery_columns
        if columns is None:
            return
        is_named = isinstance(columns, Mapping) and all(isinstance(name, str) for name in columns.values())
        if not is_named or set(columns) != {"delivery_id", "row_number"} or len(set(columns.values())) != len(columns):
            raise self._option_error("delivery_columns", '{"delivery_id": column, "row_number": other column}')
        object.__setattr__(self, "delivery_columns", dict(columns))  # the caller may change its own

    def _check_metadata_columns(self) -> None:
        if self.metadata_columns is None:
            return
        other = {*(self.delivery_columns or {}).values(), *(self.constants or {})}
        if both := sorted(other & set(self.metadata_columns.values())):
            raise self._option_error(
                "metadata_columns",
                f"a mapping without columns that another option fills ({', '.join(map(repr, both))})",
            )
        object.__setattr__(self, "metadata_columns", dict(self.metadata_columns))
