"""Records of other libraries: which objects are rows, and that what arrives is what their library gives."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.errors import RecordError
from zerobus_core.records import dumped, is_record, members_of
from zerobus_core.sources.rows.content import rows_fingerprint

FORMATS = ["protobuf", "json"]


def decoded(columns: str, rows: list[Any], record_format: Any = "protobuf") -> list[Any]:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({columns})")
    encoder = encoder_for(schema, IngestOptions(record_format=record_format), is_arrow=False)
    return [encoder.decode(batch, index) for batch in encoder.encode(Chunk(0, rows)) for index in range(batch.rows)]


def refusal(columns: str, rows: list[Any]) -> str:
    with pytest.raises(RecordError) as caught:
        decoded(columns, rows)
    return str(caught.value)


class Order(pydantic.BaseModel):
    id: int
    secret: str = pydantic.Field(default="s", exclude=True)

    @pydantic.computed_field
    @property
    def label(self) -> str:
        return f"order {self.id}"


class Orders(pydantic.BaseModel):
    first: Order
    by_name: dict[str, Order]
    all: list[Order]


ORDER = "STRUCT<id: BIGINT, label: STRING>"
ONE, TWO = {"id": 1, "label": "order 1"}, {"id": 2, "label": "order 2"}


@pytest.mark.parametrize("record_format", FORMATS)
def test_computed_fields_arrive_and_excluded_ones_do_not(record_format: str) -> None:
    assert decoded("id BIGINT, label STRING", [Order(id=1)], record_format) == [ONE]


@pytest.mark.parametrize("record_format", FORMATS)
def test_models_inside_of_models_arrive_as_the_outer_one_dumps_them(record_format: str) -> None:
    orders = Orders(first=Order(id=1), by_name={"x": Order(id=2)}, all=[Order(id=1), Order(id=2)])
    columns = f"first {ORDER}, by_name MAP<STRING, {ORDER}>, `all` ARRAY<{ORDER}>"
    assert decoded(columns, [orders], record_format) == [{"first": ONE, "by_name": {"x": TWO}, "all": [ONE, TWO]}]


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize(
    "value", [Order(id=1), [Order(id=1)], {"x": Order(id=1)}, Orders(first=Order(id=1), by_name={}, all=[])]
)
def test_models_in_variant_arrive_as_they_dump(value: Any, record_format: str) -> None:
    def plain(item: Any) -> Any:
        if isinstance(item, list):
            return list(map(plain, item))
        if isinstance(item, dict):
            return {key: plain(each) for key, each in item.items()}
        return item.model_dump(mode="python")

    (row,) = decoded("v VARIANT", [{"v": value}], record_format)
    assert json.loads(row["v"]) == plain(value)


class Serialized(pydantic.BaseModel):
    total: Decimal

    @pydantic.field_serializer("total")
    def cents(self, total: Decimal) -> int:
        return int(total * 100)


class Reshaped(pydantic.BaseModel):
    a: int

    @pydantic.model_serializer
    def shape(self) -> dict[str, int]:
        return {"b": self.a + 1}


class Wrapped(pydantic.BaseModel):
    a: int

    @pydantic.model_serializer(mode="wrap")
    def shape(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(self), "kind": "wrapped"}


class Extra(pydantic.BaseModel, extra="allow"):
    a: int


class Dumping(pydantic.BaseModel):
    a: int

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:  # type: ignore[override]
        return {"a": self.a, "mode": mode}


@pytest.mark.parametrize(
    ("columns", "record", "right"),
    [
        ("total BIGINT", Serialized(total=Decimal("1.25")), {"total": 125}),
        ("b BIGINT", Reshaped(a=1), {"b": 2}),
        ("a BIGINT, kind STRING", Wrapped(a=1), {"a": 1, "kind": "wrapped"}),
        ("a BIGINT, other STRING", Extra.model_validate({"a": 1, "other": "x"}), {"a": 1, "other": "x"}),
        ("a BIGINT, mode STRING", Dumping(a=1), {"a": 1, "mode": "python"}),
        ("a BIGINT", pydantic.RootModel[dict[str, int]]({"a": 1}), {"a": 1}),
    ],
)
@pytest.mark.parametrize("record_format", FORMATS)
def test_what_a_model_makes_of_itself_arrives(columns: str, record: Any, right: Any, record_format: str) -> None:
    assert decoded(columns, [record], record_format) == [right]
    name = f"STRUCT<{columns.replace(' BIGINT', ': BIGINT').replace(' STRING', ': STRING')}>"
    assert decoded(f"s {name}", [{"s": record}], record_format) == [{"s": right}]
    (row,) = decoded("v VARIANT", [{"v": record}], record_format)
    assert json.loads(row["v"]) == right


def test_a_root_model_stands_for_its_root_in_every_type() -> None:
    row = {
        "n": pydantic.RootModel[int](5),
        "a": pydantic.RootModel[list[int]]([1, 2]),
        "m": pydantic.RootModel[dict[str, int]]({"x": 1}),
        "v": pydantic.RootModel[list[int]]([1]),
    }
    columns = "n BIGINT, a ARRAY<BIGINT>, m MAP<STRING, BIGINT>, v VARIANT"
    assert decoded(columns, [row]) == [{"n": 5, "a": [1, 2], "m": {"x": 1}, "v": "[1]"}]
    assert "not a mapping, dataclass, model or message" in refusal("a BIGINT", [pydantic.RootModel[list[int]]([1])])


class Aliased(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    order_id: int = pydantic.Field(alias="orderId")
    place: str = pydantic.Field(default="x", serialization_alias="location")
    read_only: int = pydantic.Field(default=7, validation_alias="readOnly")

    @pydantic.computed_field(alias="shownAs")  # type: ignore[prop-decorator]
    @property
    def shown_as(self) -> str:
        return f"#{self.order_id}"


class AliasedByDefault(Aliased):
    model_config = pydantic.ConfigDict(populate_by_name=True, serialize_by_alias=True)


class Outer(pydantic.BaseModel):
    inner: Aliased
    anything: Any = None


BY_NAME = "order_id BIGINT, place STRING, read_only BIGINT, shown_as STRING"
BY_ALIAS = "orderId BIGINT, location STRING, read_only BIGINT, shownAs STRING"
NAMED = {"order_id": 1, "place": "x", "read_only": 7, "shown_as": "#1"}
ALIASED = {"orderId": 1, "location": "x", "read_only": 7, "shownAs": "#1"}


def struct(columns: str) -> str:
    return f"STRUCT<{columns.replace(' BIGINT', ': BIGINT').replace(' STRING', ': STRING')}>"


@pytest.mark.parametrize("model", [Aliased, AliasedByDefault])
@pytest.mark.parametrize(("columns", "right"), [(BY_NAME, NAMED), (BY_ALIAS, ALIASED)])
@pytest.mark.parametrize("record_format", FORMATS)
def test_a_column_may_have_the_name_of_a_field_or_its_alias(
    model: type[Aliased], columns: str, right: Any, record_format: str
) -> None:
    record = model(order_id=1)
    assert decoded(columns, [record], record_format) == [right]
    assert decoded(f"s {struct(columns)}", [{"s": record}], record_format) == [{"s": right}]
    outer = {"inner": right, "anything": [right]}
    columns = f"inner {struct(columns)}, anything ARRAY<{struct(columns)}>"
    assert decoded(columns, [Outer(inner=Aliased(order_id=1), anything=[record])], record_format) == [outer]


def test_a_table_with_columns_for_a_field_and_for_its_alias_is_refused() -> None:
    both = BY_NAME + ", orderId BIGINT"
    assert "a field's name, order_id, and its alias, orderId, are both columns" in refusal(both, [Aliased(order_id=1)])
    assert "row 0, field inner: a field's name, order_id, and its alias, orderId, are" in refusal(
        f"inner {struct(both)}, anything STRING", [Outer(inner=Aliased(order_id=1))]
    )


def test_a_variant_holds_the_names_that_model_dump_gives() -> None:
    for model in (Aliased, AliasedByDefault):
        record = model(order_id=1)
        (row,) = decoded("v VARIANT", [{"v": record}])
        assert json.loads(row["v"]) == record.model_dump()


def test_a_pydantic_dataclass_is_dumped_and_one_that_is_derived_from_it_is_read() -> None:
    @pydantic.dataclasses.dataclass
    class Point:
        x: int

        @pydantic.computed_field  # type: ignore[prop-decorator]
        @property
        def double(self) -> int:
            return 2 * self.x

    @dataclasses.dataclass
    class Place(Point):
        name: str = "here"

    assert decoded("x BIGINT, `double` BIGINT", [Point(x=1)]) == [{"x": 1, "double": 2}]
    (row,) = decoded("v VARIANT", [{"v": Point(x=1)}])
    assert json.loads(row["v"]) == {"x": 1, "double": 2}
    assert decoded("x BIGINT, name STRING", [Place(x=1)]) == [{"x": 1, "name": "here"}]


@dataclasses.dataclass
class Plain:
    a: int
    _b: str


@attrs.define
class Defined:
    a: int
    _b: str


class Struct(msgspec.Struct):
    a: int
    _b: str


class Pair(NamedTuple):
    a: int
    b: str


class Base(orm.DeclarativeBase):
    pass


class Mapped(Base):
    __tablename__ = "mapped"
    a: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    other: orm.Mapped[str] = orm.mapped_column("b")


@pytest.mark.parametrize("record", [Plain(1, "x"), Defined(1, "x"), Struct(1, "x")])
@pytest.mark.parametrize("record_format", FORMATS)
def test_every_field_of_a_class_of_records_arrives_in_columns_structs_and_variants(
    record: Any, record_format: str
) -> None:
    right = {"a": 1, "_b": "x"}
    assert decoded("a BIGINT, _b STRING", [record], record_format) == [right]
    assert decoded("s STRUCT<a: BIGINT, _b: STRING>", [{"s": record}], record_format) == [{"s": right}]
    (row,) = decoded("v VARIANT", [{"v": [record]}], record_format)
    assert json.loads(row["v"]) == [right]


def test_a_struct_of_msgspec_has_the_names_that_it_is_encoded_with_and_leaves_out_what_is_unset() -> None:
    class Renamed(msgspec.Struct, rename="camel"):
        order_id: int
        left_out: int | msgspec.UnsetType = msgspec.UNSET

    assert decoded("order_id BIGINT, left_out BIGINT", [Renamed(1)]) == [{"order_id": 1}]
    assert decoded("orderId BIGINT, leftOut BIGINT", [Renamed(1, 2)]) == [{"orderId": 1, "leftOut": 2}]


def test_an_object_of_an_orm_gives_its_columns_by_attribute_or_by_column() -> None:
    record = Mapped(a=1, other="x")
    assert decoded("a BIGINT, other STRING", [record]) == [{"a": 1, "other": "x"}]
    assert decoded("a BIGINT, b STRING", [record]) == [{"a": 1, "b": "x"}]


def test_a_record_whose_own_code_fails_is_named_with_its_row_and_the_reason() -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add(record := Mapped(a=1, other="x"))
        session.commit()  # which expires the object, so that it has to be read again
    message = refusal("a BIGINT, other STRING", [{"a": 2}, record])
    engine.dispose()
    assert "row 1" in message
    assert "cannot be read: DetachedInstanceError" in message


def test_two_values_of_one_name_are_refused() -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.connect() as connection:
        (row,) = connection.execute(sa.text("SELECT 1 AS a, 2 AS a")).fetchall()
    engine.dispose()
    assert "two values are called a" in refusal("a BIGINT", [row])


def test_named_tuples_are_records_in_variants_too() -> None:
    (row,) = decoded("v VARIANT", [{"v": Pair(1, "x")}])
    assert json.loads(row["v"]) == {"a": 1, "b": "x"}


def test_classes_and_plain_values_are_no_records() -> None:
    for value in (Order, Plain, Defined, Struct, Mapped, 1, "x", b"x", [1], (1,), None, object()):
        assert not is_record(value)
        assert members_of(value) is None
        assert dumped(value) is value


def test_a_list_of_models_is_known_by_what_they_dump() -> None:
    assert rows_fingerprint([Order(id=1)]) == rows_fingerprint([Order(id=1)]) != rows_fingerprint([Order(id=2)])
    assert (
        rows_fingerprint([Struct(1, "x")]) == rows_fingerprint([Struct(1, "x")]) != rows_fingerprint([Struct(1, "y")])
    )
    assert rows_fingerprint([Order(id=1)]) is not None
