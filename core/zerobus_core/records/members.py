"""Recognises records and reads their values by name; the libraries that define the records are not imported.

A class is recognised by its attributes. The list says what is read from each kind of record; the first kind that fits
is used:

1. a mapping: itself; protobuf's ``Struct``: its fields
2. a pydantic model or pydantic dataclass: what ``model_dump(mode="python")`` returns
3. an object of SQLAlchemy's ORM: its mapped columns, but not its relationships
4. a dataclass, an attrs class, a msgspec Struct: its fields; unset fields of a msgspec Struct are left out
5. a protobuf message: its fields that are set, and its fields that always have a value (those without presence)
6. a named tuple, a row of SQLAlchemy or of psycopg's ``namedtuple_row``: its fields
7. a Row of pyspark: its fields
8. anything with ``keys()`` and ``[key]``, such as a row of sqlite3 or asyncpg
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..process.signals import is_of_signal
from .unreadable import UnfitError
from .well_known import well_known_reader

__all__ = [
    "dumped",
    "in_case_of",
    "is_message",
    "is_record",
    "members_of",
    "members_within",
    "names_of",
    "renamed_members",
    "with_members",
    "without_members",
]

Read = Callable[[Any], Any]
"""A function that returns the members of an object, or something other than a mapping if it is not a record."""

_KNOWN_CLASSES = 256


class _Members(dict[str, Any]):
    """The members of a record by name; ``second_names`` maps names to aliases, which can also match columns."""

    __slots__ = ("second_names",)

    def __init__(self) -> None:
        super().__init__()
        self.second_names: dict[str, str] = {}


def is_record(value: Any) -> bool:
    """Return whether the class of ``value`` is a class of records, which are objects whose values have names.

    For some objects of these classes, such as pydantic's RootModel of a list, ``members_of`` returns None.
    """
    kind: Any = type(value)
    return isinstance(value, Mapping) or (not isinstance(value, type) and _reader(kind) is not None)


def members_of(record: Any) -> Mapping[str, Any] | None:
    """Return a record's values by name, or None if ``record`` is not a record.

    Raises UnfitError if the record cannot be read, for example because its own code fails, or because two of its values
    have the same name.
    """
    if isinstance(record, Mapping):
        return record
    if isinstance(record, type):
        return None
    kind: Any = type(record)
    read = _reader(kind)
    if read is None:
        return None
    members = _read(read, record)
    return members if isinstance(members, Mapping) else None


def members_within(record: Any, names: set[str] | frozenset[str]) -> Mapping[str, Any] | None:
    """Return the members of a record, renamed to match ``names``; None if ``record`` is not a record.

    A member whose alias is in ``names`` is returned under the alias. A name that differs only in case from a name in
    ``names`` is spelled as in ``names``. All other members keep their names. Raises UnfitError if the record cannot be
    read, if both the name and the alias of a member are in ``names``, or if two members would get the same name.
    """
    members = members_of(record)
    if isinstance(members, _Members) and members.second_names:
        members = _with_aliases(members, names)
    return members if members is None or names.issuperset(members) else in_case_of(members, names)


def in_case_of(members: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
    """Return the members; a name that differs only in case from a name in ``names`` is spelled as in ``names``.

    Databricks ignores case when it compares names. Raises UnfitError if two members would get the same name.
    """
    by_lower = {name.lower(): name for name in names}
    cased: dict[str, Any] = {}
    given: dict[str, str] = {}
    for name, value in members.items():
        own = name if name in names else by_lower.get(str(name).lower(), name)
        if own in cased:
            raise UnfitError(
                f"{given[own]!r} and {name!r} are one column, {own}: column names are compared without case"
            )
        cased[own], given[own] = value, name
    return cased


def _with_aliases(members: _Members, names: Collection[str]) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for name, value in members.items():
        second = members.second_names.get(name)
        if second is not None and second in names:
            if name in names:
                raise UnfitError(f"a field's name, {name}, and its alias, {second}, are both columns")
            name = second  # noqa: PLW2901
        if name in renamed:
            raise UnfitError(f"two fields are called {name}")
        renamed[name] = value
    return renamed


def renamed_members(members: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the members of a record; ``names`` maps the names or aliases of members to new names.

    Members that are not in ``names`` keep their names. Raises UnfitError if two members get the same name.
    """
    seconds = members.second_names if isinstance(members, _Members) else {}
    renamed = _Members()
    for name, value in members.items():
        second = seconds.get(name)
        new = names.get(name) or (names.get(second) if second is not None else None)
        if new is None and second is not None:
            renamed.second_names[name] = second
        if (new or name) in renamed:
            raise UnfitError(f"two values are called {new or name} after the option rename was applied")
        renamed[new or name] = value
    return renamed if renamed.second_names else dict(renamed)


def with_members(members: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the members of a record together with ``more``; a value in ``more`` replaces a member of the same name."""
    if not isinstance(members, _Members):
        return {**members, **more}
    whole = _Members()
    whole.update(members)
    whole.update(more)
    whole.second_names.update(members.second_names)
    return whole


def names_of(members: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the name of a member, and its alias if it has one."""
    second = members.second_names.get(name) if isinstance(members, _Members) else None
    return (name,) if second is None else (name, second)


def without_members(members: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
    """Return the members of a record without those whose name or alias is in ``names``."""
    if not isinstance(members, _Members):
        return {name: value for name, value in members.items() if name not in names}
    kept = _Members()
    for name, value in members.items():
        if name not in names and members.second_names.get(name) not in names:
            kept[name] = value
            if name in members.second_names:
                kept.second_names[name] = members.second_names[name]
    return kept


def dumped(value: Any) -> Any:
    """Return the content of a pydantic object, or of a protobuf message that ``well_known_reader`` converts.

    Return any other value unchanged. Raises UnfitError if the content cannot be read.
    """
    kind: Any = type(value)
    read = _stand_in_reader(kind)
    return value if read is None or isinstance(value, type) else _read(read, value)


def is_message(kind: type) -> bool:
    """Return whether ``kind`` is a class of protobuf messages."""
    return hasattr(kind, "ListFields") and hasattr(kind, "DESCRIPTOR")


def _read(read: Read, record: Any) -> Any:
    try:
        return read(record)
    except UnfitError:
        raise
    except Exception as error:  # a record's own code can raise anything
        if is_of_signal(error):
            raise
        raise UnfitError(f"cannot be read: {type(error).__name__}: {error}") from error


@lru_cache(_KNOWN_CLASSES)
def _reader(kind: Any) -> Read | None:
    """Return the function that reads records of class ``kind``, or None if instances of the class are not records."""
    return _stand_in_reader(kind) or next((reader for find in _FINDERS if (reader := find(kind)) is not None), None)


# Readers of values that stand for other values: pydantic models and protobuf's well-known messages


@lru_cache(_KNOWN_CLASSES)
def _stand_in_reader(kind: Any) -> Read | None:
    return _model_reader(kind) or well_known_reader(kind)


def _model_reader(kind: Any) -> Read | None:
    serializer = _serializer(kind)
    if serializer is None:
        return None
    dump: Any = getattr(kind, "model_dump", None) or serializer.to_python
    # A user's own model_dump is called without by_alias, which it might not accept; so its result gets no aliases.
    is_own = (getattr(dump, "__module__", None) or "pydantic").partition(".")[0] not in {"pydantic", "sqlmodel"}
    if is_own or not _may_have_aliases(kind):
        return lambda model: dump(model, mode="python")

    def read(model: Any) -> Any:
        named, aliased = (serializer.to_python(model, mode="python", by_alias=alias) for alias in (False, True))
        return _with_second_names(dump(model, mode="python"), named, aliased)

    return read


def _serializer(kind: type) -> Any:
    """Return the pydantic serializer of a class, or None if the class has no serializer.

    Also returns None for a dataclass that adds fields to the pydantic dataclass that it inherits from, because the
    inherited serializer leaves out the added fields.
    """
    owner = next((base for base in kind.__mro__ if "__pydantic_serializer__" in vars(base)), None)
    if owner is None:
        return None
    if dataclasses.is_dataclass(kind) and vars(kind).get("__dataclass_fields__", owner) is not owner:
        is_same = {field.name for field in dataclasses.fields(kind)} == set(getattr(owner, "__dataclass_fields__", ()))
        if not is_same:
            return None
    return getattr(kind, "__pydantic_serializer__", None)


def _may_have_aliases(kind: type) -> bool:
    """Return whether any field of the pydantic class ``kind``, or of a model nested in it, can have an alias."""
    schema = repr(getattr(kind, "__pydantic_core_schema__", None))
    return any(word in schema for word in ("serialization_alias", "'alias'", "'any'"))


def _with_second_names(value: Any, named: Any, aliased: Any) -> Any:
    """Return ``value``, a dump of a model, with the second name of each member added.

    ``value`` has each field under its name or its alias; the second name is the other one. ``named`` and ``aliased``
    are dumps with the names and with the aliases. Members of the three dumps are matched by their order.
    """
    kind = type(value)
    if kind is not type(named) or kind is not type(aliased) or kind not in {dict, list, tuple}:
        return value
    if not len(value) == len(named) == len(aliased):  # in one of the dumps, two members have the same name
        return value
    if kind is not dict:
        return kind(map(_with_second_names, value, named, aliased))
    members = _Members()
    for (key, item), (name, item_by_name), (alias, item_by_alias) in zip(
        value.items(), named.items(), aliased.items(), strict=True
    ):
        members[key] = _with_second_names(item, item_by_name, item_by_alias)
        if name != alias:
            members.second_names[key] = name if key == alias else alias
    return members


# Readers of all other records


def _mapped_reader(kind: type) -> Read | None:
    if not hasattr(kind, "__mapper__") or not hasattr(kind, "_sa_class_manager"):
        return None
    columns = [(each.key, each.columns[0].name) for each in kind.__mapper__.column_attrs]

    def read(record: Any) -> _Members:
        members = _Members()
        for key, column in columns:
            members[key] = getattr(record, key)
            if key != column:
                members.second_names[key] = str(column)
        return members

    return read


def _fields_reader(names: Iterable[str]) -> Read:
    known = tuple(names)
    return lambda record: {name: getattr(record, name) for name in known}


def _dataclass_reader(kind: type) -> Read | None:
    return _fields_reader(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def _attrs_reader(kind: type) -> Read | None:
    fields = getattr(kind, "__attrs_attrs__", None)
    # A sequence class made with attrs, such as Airflow's for the results of mapped tasks, holds rows but is not a row.
    return None if fields is None or issubclass(kind, Sequence) else _fields_reader(field.name for field in fields)


def _struct_reader(kind: type) -> Read | None:
    """Return the function that reads msgspec Structs of class ``kind``, or None for any other class.

    Fields that are unset are left out. The alias of a field is the name that it has in encoded data.
    """
    names, encoded = getattr(kind, "__struct_fields__", None), getattr(kind, "__struct_encode_fields__", None)
    if names is None or encoded is None:
        return None
    second_names = {name: second for name, second in zip(names, encoded, strict=True) if name != second}

    def read(record: Any) -> _Members:
        members = _Members()
        for name in names:
            value = getattr(record, name)
            if type(value).__name__ != "UnsetType":
                members[name] = value
        members.second_names = {name: second for name, second in second_names.items() if name in members}
        return members

    return read


def _message_reader(kind: type) -> Read | None:
    if not is_message(kind):
        return None
    # Methods are called through the class, because a field can have the name of a method. A proto3 field without
    # presence is never missing: its zero is a value.
    message: Any = kind

    def read(record: Any) -> dict[str, Any]:
        return {
            field.name: dumped(getattr(record, field.name))
            for field in message.DESCRIPTOR.fields
            if not field.has_presence or message.HasField(record, field.name)
        }

    return read


def _named_tuple_reader(kind: type) -> Read | None:
    if not hasattr(kind, "_asdict"):
        return None

    def read(record: Any) -> dict[str, Any]:
        return _distinct(record._asdict(), getattr(record, "_fields", None))

    return read


def _spark_reader(kind: type) -> Read | None:
    if not (issubclass(kind, tuple) and hasattr(kind, "asDict")):
        return None

    def read(record: Any) -> dict[str, Any] | None:
        names = getattr(record, "__fields__", None)  # a Row without names lacks the attribute
        return None if names is None else _distinct(dict(zip(names, record, strict=True)), names)

    return read


def _keys_reader(kind: type) -> Read | None:
    if not (hasattr(kind, "keys") and hasattr(kind, "__getitem__")):
        return None

    def read(record: Any) -> dict[str, Any]:
        names = list(record.keys())
        return _distinct({name: record[name] for name in names}, names)

    return read


def _distinct(members: dict[str, Any], names: Collection[str] | None) -> dict[str, Any]:
    """Return ``members``; raise UnfitError if a name occurs twice in ``names``, the names of the record's values."""
    if names is not None and len(members) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise UnfitError(f"two values are called {twice}; if a query returned them, rename one of its columns with AS")
    return members


_FINDERS: tuple[Callable[[type], Read | None], ...] = (
    _mapped_reader,
    _dataclass_reader,
    _attrs_reader,
    _struct_reader,
    _message_reader,
    _named_tuple_reader,
    _spark_reader,
    _keys_reader,
)
