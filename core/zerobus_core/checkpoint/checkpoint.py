"""What the next try may skip: durable row ranges of one delivery, kept where that try finds them.

The law: a checkpoint never claims a row that was not acknowledged.  It is written after the ACK; where it has to be
made smaller it forgets durable rows, which are then sent again; and whatever is truncated, of another version, or of
another table, schema, source or epoch is refused with a reason instead of being repaired.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import Counts
from ..ranges import RowRanges

if TYPE_CHECKING:
    from ..schema import TableSchema

__all__ = ["MAX_RANGES", "Checkpoint", "InvalidCheckpointError", "bounded"]

VERSION = 2
MAX_RANGES = 1_000
_FORMAT = "zerobus-checkpoint"


class InvalidCheckpointError(ValueError):
    """Text that is no checkpoint of this version; the message says what is wrong with it."""


def bounded(ranges: RowRanges, limit: int = MAX_RANGES) -> RowRanges:
    """At most ``limit`` ranges of ``ranges``: the longest ones, so that the fewest rows are sent again."""
    if len(ranges) <= limit:
        return ranges.copy()
    return RowRanges(sorted(heapq.nlargest(limit, ranges, key=lambda span: span[1] - span[0])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far a delivery has come; ``durable`` holds the rows that were acknowledged, in all tries so far.

    Rows below ``reached`` may have been given to the service: those that are not durable may be sent twice.

    ``table_identity`` is that of the schema: the same name may be of another table, in another workspace or since it
    was replaced.  ``source_fingerprint`` is None where the source has none; such a checkpoint informs, but nothing
    resumes from it.  ``written_at`` is ISO 8601 in UTC.
    """

    table: str
    table_identity: str | None
    schema_fingerprint: str
    source_fingerprint: str | None
    epoch: str | None
    durable: RowRanges
    reached: int = 0
    counts: Counts = field(default_factory=Counts)
    written_at: str
    version: int = VERSION

    def to_json(self) -> str:
        """One JSON object; a checkpoint of more than 1,000 ranges forgets the shortest."""
        return json.dumps(
            {
                "format": _FORMAT,
                "version": self.version,
                "table": self.table,
                "table_identity": self.table_identity,
                "schema_fingerprint": self.schema_fingerprint,
                "source_fingerprint": self.source_fingerprint,
                "epoch": self.epoch,
                "durable": [list(span) for span in bounded(self.durable)],
                "reached": self.reached,
                "counts": asdict(self.counts),
                "written_at": self.written_at,
            }
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Checkpoint:
        """Read what ``to_json`` wrote, and nothing else: raises InvalidCheckpointError."""
        plain = _object_of(text)
        return cls(
            table=_text(plain, "table"),
            table_identity=_text_or_none(plain, "table_identity"),
            schema_fingerprint=_text(plain, "schema_fingerprint"),
            source_fingerprint=_text_or_none(plain, "source_fingerprint"),
            epoch=_text_or_none(plain, "epoch"),
            durable=_ranges(plain["durable"]),
            reached=_reached(plain["reached"]),
            counts=_counts(plain["counts"]),
            written_at=_moment(_text(plain, "written_at")),
        )

    def why_other(self, schema: TableSchema, *, source_fingerprint: str | None, epoch: str | None) -> str | None:
        """Why the checkpoint is not of a delivery of this source to this table; None if it is."""
        if self.table != schema.table:
            return f"the checkpoint is of table {self.table}, not {schema.table}"
        if self.table_identity != schema.identity:
            return (
                f"the checkpoint is of another table of this name ({self.table_identity}, now {schema.identity}): "
                "it was replaced, or is in another workspace"
            )
        if self.epoch != epoch:
            return f"the checkpoint is of epoch {self.epoch!r}, and this is epoch {epoch!r}"
        if source_fingerprint is None:
            return "the source has no fingerprint, so nothing says that its rows are the same (see source_version)"
        if self.source_fingerprint != source_fingerprint:
            return f"the source has changed: its fingerprint was {self.source_fingerprint}, now {source_fingerprint}"
        return None


_KEYS = {"format", *(f.name for f in fields(Checkpoint))}


def _object_of(text: str | bytes) -> dict[str, Any]:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidCheckpointError(f"not whole JSON ({error})") from error
    if not isinstance(plain, dict) or plain.get("format") != _FORMAT:
        raise InvalidCheckpointError("not a checkpoint of Zerobus")
    if plain.get("version") != VERSION or isinstance(plain["version"], bool):
        raise InvalidCheckpointError(f"of version {plain.get('version')!r}, and this release reads version {VERSION}")
    if set(plain) != _KEYS:
        raise InvalidCheckpointError(f"has other fields than version {VERSION}: {sorted(_KEYS ^ set(plain))}")
    return plain


def _text(plain: dict[str, Any], key: str) -> str:
    value = plain[key]
    if not isinstance(value, str) or not value:
        raise InvalidCheckpointError(f"{key} is {value!r}, not a text")
    return value


def _text_or_none(plain: dict[str, Any], key: str) -> str | None:
    return None if plain[key] is None else _text(plain, key)


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidCheckpointError(f"written_at is {text!r}, not a time") from error
    return text


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _reached(plain: object) -> int:
    if not _is_count(plain):
        raise InvalidCheckpointError(f"reached is {plain!r}, not a row number")
    assert isinstance(plain, int)
    return plain


def _counts(plain: object) -> Counts:
    names = {f.name for f in fields(Counts)}
    if not isinstance(plain, dict) or set(plain) != names or not all(map(_is_count, plain.values())):
        raise InvalidCheckpointError(f"counts are {plain!r}, not whole numbers of {sorted(names)}")
    return Counts(**plain)


def _ranges(plain: object) -> RowRanges:
    if not isinstance(plain, list):
        raise InvalidCheckpointError("durable is not a list of row ranges")
    ranges, end = RowRanges(), -1
    for span in plain:
        if not isinstance(span, list) or len(span) != 2 or not all(map(_is_count, span)):  # noqa: PLR2004  # a pair
            raise InvalidCheckpointError(f"durable holds {span!r}, which is no row range")
        start, stop = span
        # Ranges that overlap or stand out of order were not written by us, and may claim rows twice.
        if not end < start < stop:
            raise InvalidCheckpointError(f"durable holds {span!r} after row {end}; ranges ascend and do not touch")
        ranges.add(start, stop)
        end = stop
    return ranges
