"""Arrow tables of what a database answers, by the types of a schema.

Every reader of this package, and the driver's rows, give the types that are defined here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa


class UnsupportedResult(Exception):  # noqa: N818 - not an error: the driver reads the answer
    """The answer has a form that this package does not decode."""


def from_rows(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> pa.Table:
    """A table of rows that a driver has read; the texts of dictionary columns are encoded."""
    arrays = []
    for field, values in zip(schema, zip(*rows, strict=True), strict=True):
        array = pa.array(values, value_type(field))
        arrays.append(array.dictionary_encode() if is_dictionary(field) else array)
    return pa.table(arrays, schema=schema)


def value_type(field: pa.Field) -> pa.DataType:
    """The type of the field's values: that of the dictionary where it has one."""
    return field.type.value_type if is_dictionary(field) else field.type


def is_dictionary(field: pa.Field) -> bool:
    """Whether the field is dictionary-encoded."""
    return bool(pa.types.is_dictionary(field.type))
