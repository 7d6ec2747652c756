"""The slow, exact walk over a row: converts each value, or says where the value is and why it does not fit.

Any row can be encoded this way, but most rows are encoded by one of the fast paths.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...records import UnfitError, UnfitValue, UnreadableRecord, dumped, members_within
from ...schema.types import (
    REAL_KINDS,
    ArrayType,
    DataType,
    DecimalType,
    Field,
    Kind,
    MapType,
    PrimitiveType,
    StructType,
    is_primitive,
)
from ..problems import MISSING, WHOLE_ROW, RowProblems, shown_name
from ..values.json_input import parsed_json
from ..values.scalars import null_test, scalar_converter

if TYPE_CHECKING:
    from ..values.rules import ConversionRules

__all__ = ["ExactWalk", "as_list", "as_pairs", "has_nan", "json_key"]

Convert = Callable[[Any, str, RowProblems], Any]

_NOUNS: dict[type, str] = {ArrayType: "a list", MapType: "a mapping", StructType: "a record"}
# JSON's whitespace.
_JSON_BLANKS = " \t\n\r"


class ExactWalk:
    """Converts rows to wire values for one record format. An instance keeps no state of a row, so it can be shared.

    ``reserved`` contains the names of the columns that the delivery fills itself; rows must not contain them.
    """

    def __init__(
        self, fields: Sequence[Field], rules: ConversionRules, *, reserved: frozenset[str] = frozenset()
    ) -> None:
        self._rules = rules
        self._reserved = reserved
        self._row = self._struct(StructType(tuple(fields)))

    def row(self, record: Any, problems: RowProblems) -> dict[str, Any]:
        """Return the row as a dict of wire values. A column that is null is missing from the dict or is None in it.

        Values that do not fit are added to ``problems``; if there are any, the returned dict must not be used.
        """
        converted = self._row(record, "", problems)
        return converted if isinstance(converted, dict) else {}

    def _converter(self, kind: DataType) -> Convert:
        if isinstance(kind, StructType):
            return self._from_json(self._struct(kind), kind)
        if isinstance(kind, ArrayType):
            return self._from_json(self._array(kind), kind)
        if isinstance(kind, MapType):
            return self._from_json(self._map(kind), kind)
        return self._scalar(kind)

    def _from_json(self, convert_value: Convert, kind: DataType) -> Convert:
        """Return a converter that parses JSON text if ``parse_json`` is set, and refuses text otherwise.

        The converter passes parsed text, and values that are not text, to ``convert_value``. It refuses an UnfitValue.
        Callers must handle the JSON text ``null`` themselves, with ``_null_test``.
        """
        parse_json, noun = self._rules.parse_json, _NOUNS[type(kind)]

        def convert(value: Any, path: str, problems: RowProblems) -> Any:
            if not isinstance(value, str | UnfitValue):
                return convert_value(value, path, problems)
            try:
                parsed = parsed_json(_checked_text(value, None if parse_json else noun))
            except UnfitError as unfit:
                problems.add(path, value, str(kind), str(unfit))
                return None
            return convert_value(parsed, path, problems)

        return convert

    def _scalar(self, kind: DataType) -> Convert:
        convert_value = scalar_converter(kind, self._rules)
        expected = str(kind)
        check = self._rules.check_variant if kind == PrimitiveType(Kind.VARIANT) else None

        def convert(value: Any, path: str, problems: RowProblems) -> Any:
            try:
                converted = convert_value(value)
                if check is not None:
                    check(converted)
            except UnfitError as unfit:
                problems.add(path, value, expected, str(unfit))
                return None
            return converted

        return convert

    def _null_test(self, kind: DataType, *, nan_is_null: bool | None = None) -> Callable[[Any], bool]:
        """Return a function that returns whether a value stands for NULL in the type ``kind``.

        If JSON text is parsed for this type, the text ``null`` stands for NULL. If ``nan_is_null`` is None, NaN stands
        for NULL in all types except FLOAT and DOUBLE.
        """
        is_null = null_test(kind, self._rules, nan_is_null=not has_nan(kind) if nan_is_null is None else nan_is_null)
        if not (self._rules.parse_json and type(kind) in _NOUNS):
            return is_null
        return lambda value: value.strip(_JSON_BLANKS) == "null" if isinstance(value, str) else is_null(value)

    def _array(self, kind: ArrayType) -> Convert:
        element, expected = self._converter(kind.element), str(kind)
        is_null = self._null_test(kind.element)
        nulls = _null_rule("an element", "array", contains_null=kind.contains_null, inner_nulls=self._rules.inner_nulls)

        def convert(value: Any, path: str, problems: RowProblems) -> Any:
            items = as_list(value)
            if items is None:
                problems.add(path, value, expected, "not a list")
                return None
            out: list[Any] = []
            for index, item in enumerate(items):
                if not is_null(item):
                    out.append(element(item, f"{path}[{index}]", problems))
                elif nulls is None:
                    out.append(None)
                else:
                    problems.add(f"{path}[{index}]", item, str(kind.element), nulls)
            return out

        return convert

    def _map(self, kind: MapType) -> Convert:
        convert_key, convert_value, expected = self._converter(kind.key), self._converter(kind.value), str(kind)
        is_null = self._null_test(kind.value)
        is_decimal = isinstance(kind.key, DecimalType)
        is_null_key = self._null_test(kind.key, nan_is_null=True)
        nulls = _null_rule(
            "a value", "map", contains_null=kind.value_contains_null, inner_nulls=self._rules.inner_nulls
        )

        def convert(value: Any, path: str, problems: RowProblems) -> Any:
            pairs = as_pairs(value)
            if pairs is None:
                problems.add(path, value, expected, "not a mapping")
                return None
            out: dict[Any, Any] = {}
            seen: set[Any] = set()
            for key, item in pairs:
                place = f"{path}[{key!r}]"
                if is_null_key(key):
                    problems.add(place, key, str(kind.key), "a key cannot be null")
                    continue
                wire_key = convert_key(key, place, problems)
                # As keys, 1.0 and 1.00 are the same number.
                identity = Decimal(wire_key) if is_decimal and wire_key is not None else wire_key
                if self._rules.as_json:
                    wire_key = json_key(wire_key)
                if identity in seen or wire_key in out:
                    problems.add(place, key, expected, "the key appears twice")
                seen.add(identity)
                if not is_null(item):
                    out[wire_key] = convert_value(item, place, problems)
                elif nulls is None:
                    out[wire_key] = None
                else:
                    problems.add(place, item, str(kind.value), nulls)
            return out

        return convert

    def _struct(self, kind: StructType) -> Convert:
        members = [(field, self._converter(field.type), self._null_test(field.type)) for field in kind.fields]
        names = {field.name for field in kind.fields}

        def convert(value: Any, path: str, problems: RowProblems) -> Any:
            try:
                record = members_within(value, names)
            except UnfitError as unfit:
                problems.add(path or WHOLE_ROW, value, _brief(kind), str(unfit))
                return None
            if record is None:
                is_unread = isinstance(value, UnreadableRecord)
                reason = value.reason if is_unread else "not a mapping, dataclass, model or message"
                problems.add(path or WHOLE_ROW, value, _brief(kind), reason)
                return None
            prefix = f"{path}." if path else ""
            out: dict[str, Any] = {}
            for field, convert_member, is_null in members:
                member = record.get(field.name, MISSING)
                if member is MISSING or is_null(member):
                    if not field.nullable:
                        reason = (
                            "missing, and the column is NOT NULL" if member is MISSING else "null in a NOT NULL column"
                        )
                        problems.add(f"{prefix}{field.name}", member, str(field.type), reason)
                else:
                    out[field.name] = convert_member(member, f"{prefix}{field.name}", problems)
            for name in record:
                if name not in names:
                    expected, reason = self._unknown(name, names, "column" if not path else "field")
                    if not path and _are_records(record[name]):
                        reason += "; it is a list of records: if they are the rows, pass that list"
                    problems.add(f"{prefix}{shown_name(name)}", record[name], expected, reason)
            return out

        return convert

    def _unknown(self, name: object, names: set[str], what: str) -> tuple[str, str]:
        if name in self._reserved:
            return "nothing", "the delivery fills this column itself (delivery_columns or metadata_columns)"
        import difflib

        near = next(iter(difflib.get_close_matches(str(name), names, n=1)), None)
        return "nothing", f"the table has no such {what}" + (f"; did you mean {near}?" if near else "")


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _checked_text(value: str | UnfitValue, noun: str | None) -> str:
    """Return ``value`` if it is text and ``noun`` is None; otherwise raise UnfitError.

    If ``noun`` is given (for example "a list"), text is refused, and the error message says to pass ``noun`` instead.
    If ``value`` is an UnfitValue, the source could not read the value, and the error gives the source's reason.
    """
    if isinstance(value, UnfitValue):
        raise UnfitError(value.reason)
    if noun is not None:
        raise UnfitError(f"text is not parsed: pass {noun}, or set parse_json=True if it is JSON")
    return value


def as_list(value: Any) -> Sequence[Any] | None:
    """Return the elements of a list, a tuple, a NumPy array or another sequence.

    If ``value`` is a pydantic model or a well-known protobuf message, the elements of its content are returned. Returns
    None for text, for bytes and for anything that is not a sequence.
    """
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping):
        return None
    # A NumPy array, not a NumPy scalar. Its elements stay NumPy values, so that nanoseconds are noticed and refused.
    if hasattr(value, "tolist") and getattr(value, "ndim", 1) != 0:
        return list(value)
    if isinstance(value, Sequence):
        return value
    inner = dumped(value)
    return None if inner is value else as_list(inner)


def as_pairs(value: Any) -> list[tuple[Any, Any]] | None:
    """Return the entries of a mapping or of a list of pairs (tuples); return None for anything else.

    If ``value`` is a pydantic model or a well-known protobuf message, the entries of its content are returned.
    """
    value = dumped(value)
    if isinstance(value, Mapping) or hasattr(value, "items"):
        return list(value.items())
    # pyarrow gives maps as lists of pairs.
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):  # noqa: PLR2004
        return value
    return None


def _null_rule(what: str, holder: str, *, contains_null: bool, inner_nulls: bool) -> str | None:
    """Return the reason why a null inside an array or a map is refused; return None if the null is accepted.

    The reason contains ``what``, such as "an element", and ``holder``, such as "array".
    """
    if not contains_null:
        return f"{what} of this {holder} cannot be null"
    if inner_nulls:
        return None
    return (
        f'protobuf cannot carry a null inside {"an" if holder == "array" else "a"} {holder}: use record_format="json"'
    )


def has_nan(kind: DataType) -> bool:
    """Return whether the type is FLOAT or DOUBLE, which can store NaN. In all other types, NaN stands for NULL."""
    return is_primitive(kind, REAL_KINDS)


def json_key(key: Any) -> str:
    """Convert the wire value of a map's key to the key of a JSON object."""
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, bytes):
        return b64encode(key).decode()
    return key if isinstance(key, str) else str(key)


def _brief(kind: StructType) -> str:
    names = [field.name for field in kind.fields if field.name.isprintable()]
    return f"a record with {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"  # noqa: PLR2004  # enough to recognise
