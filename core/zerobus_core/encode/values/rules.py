"""The conversion rules that follow from the options and the record format, not from the types of the columns.

The exact walk (``rows.walk``), the fast path (``rows.fast_columns``) and the casts of Arrow arrays (``arrow.cast``) use
the same rules, so that they accept the same values and give the same results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...options import IngestOptions

__all__ = ["ConversionRules"]

# The fields that are copied from the fields of the same names in IngestOptions.
_OF_OPTIONS = (
    "parse_text",
    "parse_json",
    "write_json",
    "round_floats",
    "parse_base64",
    "numeric_booleans",
    "epoch_unit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionRules:
    """The conversion rules of one record format for one delivery."""

    as_json: bool = False
    """Refuse values that JSON cannot express; write BINARY as base64, and map keys as text."""
    parse_text: bool = False
    """Accept text for numbers, dates, times and booleans, as in ``IngestOptions``; ``text`` has the rules."""
    parse_json: bool = False
    """Accept JSON text for VARIANT, ARRAY, MAP and STRUCT, as in ``IngestOptions``."""
    write_json: bool = False
    """Accept dicts, lists and records for STRING, and write them as JSON text, as in ``IngestOptions``."""
    round_floats: bool = False
    """Accept floats for DECIMAL, rounded to its scale, as in ``IngestOptions``."""
    parse_base64: bool = False
    """Accept base64 text for BINARY, as in ``IngestOptions``."""
    numeric_booleans: bool = False
    """Accept 0 and 1 for BOOLEAN, as in ``IngestOptions``."""
    epoch_unit: str | None = None
    """The unit that whole numbers for timestamps count since 1970, as in ``IngestOptions``."""
    wire_text: bool = False
    """Accept values as protobuf messages carry them: DECIMAL and VARIANT as text, timestamps as microseconds."""
    inner_nulls: bool = False
    """Whether the record format carries nulls inside arrays and maps; JSON and Arrow do, protobuf does not."""
    refuse_unknown: bool = False
    """Have the fast path refuse fields that the table or a struct's type does not have.

    Not needed for protobuf, whose message classes refuse them. The exact walk always refuses them.
    """
    check_variant: Callable[[str], None] | None = None
    """A function that raises UnfitError for JSON text that the record format's VARIANT cannot hold; None: no check."""

    @classmethod
    def of(cls, options: IngestOptions, **of_format: Any) -> ConversionRules:
        """Return the rules that follow from a delivery's options and its record format."""
        return cls(**{name: getattr(options, name) for name in _OF_OPTIONS}, **of_format)
