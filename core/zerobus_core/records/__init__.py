"""Records, which are objects whose values have names, and objects that replace unreadable records and values."""

from .given_text import GivenText
from .members import (
    dumped,
    in_case_of,
    is_message,
    is_record,
    members_of,
    members_within,
    names_of,
    renamed_members,
    with_members,
    without_members,
)
from .tuple_rows import TupleRows, in_one_list
from .unreadable import UnfitError, UnfitValue, UnreadableRecord, UnreadableRow, short_repr

__all__ = [
    "GivenText",
    "TupleRows",
    "UnfitError",
    "UnfitValue",
    "UnreadableRecord",
    "UnreadableRow",
    "dumped",
    "in_case_of",
    "in_one_list",
    "is_message",
    "is_record",
    "members_of",
    "members_within",
    "names_of",
    "renamed_members",
    "short_repr",
    "with_members",
    "without_members",
]
