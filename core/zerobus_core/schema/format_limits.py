"""Finds the column types that protobuf records or Arrow records cannot carry; JSON records can carry all types.

The rules are those of the SDK's own conversion (schema.rs in SDK 1.10.0), which the service uses to read both formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .types import REAL_KINDS, ArrayType, DataType, Field, Kind, MapType, StructType, is_primitive

__all__ = ["arrow_limits", "protobuf_limits"]

_NO_KEYS = REAL_KINDS | {Kind.BINARY}


def protobuf_limits(fields: Iterable[Field], prefix: str = "") -> Iterator[str]:
    """Yield an error description for each type that protobuf records cannot carry.

    The types of ``fields`` and the types nested in them are checked.
    """
    for field in fields:
        yield from _type_limits(field.type, f"{prefix}{field.name}", _NO_KEYS)


def arrow_limits(fields: Iterable[Field], prefix: str = "") -> Iterator[str]:
    """Yield an error description for each type that Arrow records cannot carry.

    The types of ``fields`` and the types nested in them are checked.
    """
    for field in fields:
        yield from _type_limits(field.type, f"{prefix}{field.name}", _NO_KEYS | {Kind.VARIANT})


def _type_limits(kind: DataType, path: str, no_keys: frozenset[Kind]) -> Iterator[str]:
    if isinstance(kind, StructType):
        for field in kind.fields:
            yield from _type_limits(field.type, f"{path}.{field.name}", no_keys)
    elif isinstance(kind, ArrayType):
        if isinstance(kind.element, ArrayType | MapType):
            yield f"{path} is {kind}, an array of {'arrays' if isinstance(kind.element, ArrayType) else 'maps'}"
        yield from _type_limits(kind.element, f"{path}[]", no_keys)
    elif isinstance(kind, MapType):
        is_scalar_key = not isinstance(kind.key, StructType | ArrayType | MapType)
        if not is_scalar_key or is_primitive(kind.key, no_keys):
            yield f"{path} is {kind}, a map with {kind.key} keys"
        if isinstance(kind.value, ArrayType | MapType):
            yield f"{path} is {kind}, a map of {'arrays' if isinstance(kind.value, ArrayType) else 'maps'}"
        yield from _type_limits(kind.value, f"{path}[value]", no_keys)
