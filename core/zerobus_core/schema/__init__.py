"""Unity Catalog tables as typed columns, and the forms derived from them: descriptors, ``.proto``, Arrow schemas."""

from .table import TableSchema
from .types import ArrayType, DataType, DecimalType, Field, Kind, MapType, PrimitiveType, StringType, StructType

__all__ = [
    "ArrayType",
    "DataType",
    "DecimalType",
    "Field",
    "Kind",
    "MapType",
    "PrimitiveType",
    "StringType",
    "StructType",
    "TableSchema",
]
