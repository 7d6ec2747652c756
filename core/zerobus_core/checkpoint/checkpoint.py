"""The checkpoint of one delivery: the ranges of durable rows, which the next attempt can skip.

A row is durable once the service has acknowledged it. If there are too many ranges, the checkpoint leaves some durable
rows out, and the next attempt sends these rows again. A checkpoint that is invalid, or that belongs to another table,
schema, source or epoch, is refused with a reason; it is never repaired. ``Remains`` holds the facts that can be read
even from an invalid checkpoint.
"""

from __future__ import annotations

import heapq
import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import Counts
from ..ranges import END, RowRanges
from .digest import DigestForm, Segment

if TYPE_CHECKING:
    from ..schema import TableSchema

__all__ = [
    "MAX_RANGES",
    "AttemptMark",
    "Checkpoint",
    "InvalidCheckpointError",
    "Remains",
    "RowsDigest",
    "bounded",
    "why_other_table",
]

VERSION = 3
MAX_RANGES = 1_000
_FORMAT = "zerobus-checkpoint"
# Version 2 had neither digests, nor an attempt, nor a checksum.
_ADDED_SINCE_2 = {"digest", "attempt", "checksum"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptMark:
    """Identifies the attempt that wrote a checkpoint.

    The newest attempt has the highest ``number``; ``token`` distinguishes attempts with the same number.
    """

    number: int
    token: str

    def is_newer_than(self, other: AttemptMark) -> bool:
        """Return whether this attempt replaces the ``other`` one."""
        return (self.number, self.token) > (other.number, other.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """The facts that an invalid checkpoint still states: which attempt wrote it, and which rows may have been sent."""

    table: str
    table_identity: str | None
    epoch: str | None
    reached: int
    counts: Counts
    attempt: AttemptMark | None


class InvalidCheckpointError(ValueError):
    """A text is not a checkpoint that this release can read; the message says why.

    ``remains`` is a Remains object if all of its facts can be read from the text; otherwise it is None.
    """

    def __init__(self, message: str, *, remains: Remains | None = None) -> None:
        super().__init__(message)
        self.remains = remains


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsDigest:
    """A digest of the durable rows, needed if the source's fingerprint does not cover the content of its rows."""

    form: DigestForm
    segments: tuple[Segment, ...]
    """Ascending and disjoint segments; together they are the durable rows."""


def bounded(ranges: RowRanges, limit: int = MAX_RANGES) -> RowRanges:
    """Return a copy of ``ranges`` with at most ``limit`` ranges.

    The longest ranges are kept, so that as few rows as possible are sent again.
    """
    if len(ranges) <= limit:
        return ranges.copy()
    return RowRanges(_longest(list(ranges), limit))


def _longest(spans: list[Any], limit: int) -> list[Any]:
    return sorted(heapq.nlargest(limit, spans, key=lambda span: span[1] - span[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The progress of a delivery; ``durable`` holds acknowledged rows, which the next attempt can skip.

    Any row below position ``reached`` may have been sent. If such a row is not in ``durable``, the next attempt sends
    it, perhaps for the second time.

    ``table_identity`` differs between two tables of the same name, for example if they are in two workspaces, or if one
    has replaced the other. ``source_fingerprint`` is None if the source has no fingerprint; no rows can be skipped
    then. ``digest`` is needed to skip rows if the fingerprint does not cover their content. ``attempt`` is the attempt
    that wrote the checkpoint; it is None if ``version`` is 2. ``written_at`` is an ISO 8601 time in UTC.
    """

    table: str
    table_identity: str | None
    schema_fingerprint: str
    source_fingerprint: str | None
    epoch: str | None
    durable: RowRanges
    digest: RowsDigest | None = None
    reached: int = 0
    counts: Counts = field(default_factory=Counts)
    attempt: AttemptMark | None = None
    written_at: str
    version: int = VERSION

    def to_json(self) -> str:
        """Return the checkpoint as a JSON object of the newest version.

        If there are more than 1,000 ranges of durable rows, the shortest ranges are left out.
        """
        plain = {
            "format": _FORMAT,
            "version": VERSION,
            "table": self.table,
            "table_identity": self.table_identity,
            "schema_fingerprint": self.schema_fingerprint,
            "source_fingerprint": self.source_fingerprint,
            "epoch": self.epoch,
            **_plain_rows(self.durable, self.digest),
            "reached": self.reached,
            "counts": asdict(self.counts),
            "attempt": asdict(self.attempt) if self.attempt else None,
            "written_at": self.written_at,
        }
        return json.dumps({**plain, "checksum": _checksum(plain)})

    @classmethod
    def from_json(cls, text: str | bytes) -> Checkpoint:
        """Read a checkpoint of version 2 or 3; raise InvalidCheckpointError for any other text."""
        plain = _object_of(text)
        try:
            return cls._read(plain)
        except InvalidCheckpointError as error:
            raise InvalidCheckpointError(str(error), remains=_remains(plain)) from None

    @classmethod
    def _read(cls, plain: dict[str, Any]) -> Checkpoint:
        version = _check_form(plain)
        spans = _spans(plain["durable"])
        return cls(
            table=_text(plain, "table"),
            table_identity=_text_or_none(plain, "table_identity"),
            schema_fingerprint=_text(plain, "schema_fingerprint"),
            source_fingerprint=_text_or_none(plain, "source_fingerprint"),
            epoch=_text_or_none(plain, "epoch"),
            durable=RowRanges(spans),
            digest=_digest(plain.get("digest"), spans),
            reached=_reached(plain["reached"]),
            counts=_counts(plain["counts"]),
            attempt=_attempt(plain.get("attempt")),
            written_at=_moment(_text(plain, "written_at")),
            version=version,
        )


def why_other_table(found: Checkpoint | Remains, schema: TableSchema, *, epoch: str | None) -> str | None:
    """Return why a checkpoint belongs to another table or epoch; None if it belongs to this table and epoch."""
    if found.table != schema.table:
        return f"the checkpoint belongs to table {found.table}"
    if found.table_identity is None or found.table_identity != schema.identity:
        return (
            f"the checkpoint belongs to another table of this name ({found.table_identity}, now {schema.identity}): "
            "the table was replaced, or the workspace is another one"
        )
    if found.epoch != epoch:
        return f"the checkpoint belongs to epoch {found.epoch!r}, but the delivery is now in epoch {epoch!r}"
    return None


# Writing


def _plain_rows(durable: RowRanges, digest: RowsDigest | None) -> dict[str, Any]:
    if digest is None:
        return {"durable": [list(span) for span in bounded(durable)], "digest": None}
    segments: Iterable[Segment] = digest.segments
    if len(digest.segments) > MAX_RANGES:
        segments = _longest(list(digest.segments), MAX_RANGES)
    return {
        "durable": [[segment.start, segment.stop] for segment in segments],
        "digest": {**asdict(digest.form), "of_ranges": [f"{segment.digest:016x}" for segment in segments]},
    }


def _checksum(plain: dict[str, Any]) -> str:
    """Return a checksum of the content of a checkpoint; it detects damage, not forgery.

    The JSON is brought into one fixed form first, so that the checksum stays valid if a store reformats the JSON.
    """
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{zlib.crc32(text.encode()):08x}"


# Reading


def _object_of(text: str | bytes) -> dict[str, Any]:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidCheckpointError(f"incomplete or invalid JSON ({error})") from error
    if not isinstance(plain, dict) or plain.get("format") != _FORMAT:
        raise InvalidCheckpointError("not a Zerobus checkpoint")
    return plain


def _check_form(plain: dict[str, Any]) -> int:
    version = plain.get("version")
    if version not in (2, VERSION) or isinstance(version, bool):
        raise InvalidCheckpointError(f"its version is {version!r}, but this release reads versions 2 and {VERSION}")
    wanted = {"format", *(f.name for f in fields(Checkpoint)), *_ADDED_SINCE_2}
    if version == 2:  # noqa: PLR2004  # as it is written here
        wanted -= _ADDED_SINCE_2
    if set(plain) != wanted:
        raise InvalidCheckpointError(f"missing or unknown fields for version {version}: {sorted(wanted ^ set(plain))}")
    if version == VERSION and plain["checksum"] != _checksum({k: v for k, v in plain.items() if k != "checksum"}):
        raise InvalidCheckpointError("damaged: its checksum does not match its content")
    return int(version)


def _remains(plain: dict[str, Any]) -> Remains | None:
    """Return the facts that an invalid checkpoint of any version states; None if one of them cannot be read."""
    counts = plain.get("counts")
    known = {f.name for f in fields(Counts)}
    try:
        return Remains(
            table=_text(plain, "table"),
            table_identity=_text_or_none(plain, "table_identity"),
            epoch=_text_or_none(plain, "epoch"),
            reached=_reached(plain["reached"]),
            counts=_counts({k: v for k, v in counts.items() if k in known} if isinstance(counts, dict) else counts),
            attempt=_attempt(plain.get("attempt")),
        )
    except (InvalidCheckpointError, KeyError):
        return None


def _text(plain: dict[str, Any], key: str) -> str:
    value = plain[key]
    if not isinstance(value, str) or not value:
        raise InvalidCheckpointError(f"{key} is {value!r}, but must be text that is not empty")
    return value


def _text_or_none(plain: dict[str, Any], key: str) -> str | None:
    return None if plain[key] is None else _text(plain, key)


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidCheckpointError(f"written_at is {text!r}, which is not a time") from error
    return text


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= END


def _reached(plain: object) -> int:
    if not _is_count(plain):
        raise InvalidCheckpointError(f"the field 'reached' must be a row number, not {plain!r}")
    assert isinstance(plain, int)
    return plain


def _counts(plain: object) -> Counts:
    names = {f.name for f in fields(Counts)}
    # Checkpoints without rows_filtered were written before it was counted.
    if (
        not isinstance(plain, dict)
        or not names - {"rows_filtered"} <= set(plain) <= names
        or not all(map(_is_count, plain.values()))
    ):
        raise InvalidCheckpointError(f"counts are {plain!r}, but need a whole number for each of {sorted(names)}")
    return Counts(**plain)


def _spans(plain: object) -> list[tuple[int, int]]:
    if not isinstance(plain, list):
        raise InvalidCheckpointError("'durable' is not a list of row ranges")
    spans: list[tuple[int, int]] = []
    end = 0
    for span in plain:
        if not isinstance(span, list) or len(span) != 2 or not all(map(_is_count, span)):  # noqa: PLR2004  # a pair
            raise InvalidCheckpointError(f"'durable' contains {span!r}, which is not a row range")
        start, stop = span
        # Ranges that overlap or are out of order were not written by this package, and could count rows twice.
        if not end <= start < stop:
            raise InvalidCheckpointError(
                f"'durable' contains {span!r} after row {end}; ranges must ascend and must not overlap"
            )
        spans.append((start, stop))
        end = stop
    return spans


def _digest(plain: object, spans: list[tuple[int, int]]) -> RowsDigest | None:
    if plain is None:
        return None
    try:
        assert isinstance(plain, dict)
        form = DigestForm(**{f.name: plain[f.name] for f in fields(DigestForm)})
        segments = [Segment(*span, int(text, 16)) for span, text in zip(spans, plain["of_ranges"], strict=True)]
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise InvalidCheckpointError("its digest is malformed, or does not fit the ranges in 'durable'") from error
    return RowsDigest(form=form, segments=tuple(segments))


def _attempt(plain: object) -> AttemptMark | None:
    if plain is None:
        return None
    if isinstance(plain, dict) and set(plain) == {"number", "token"} and _is_count(plain["number"]):
        return AttemptMark(number=plain["number"], token=_text(plain, "token"))
    raise InvalidCheckpointError(f"'attempt' must have a number and a token, but is {plain!r}")
