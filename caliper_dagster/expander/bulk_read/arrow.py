"""Arrow tables of what a database answers, by the types of a schema.

Every reader of this package, and the driver's rows, give the types that are defined here.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

import pyarrow as pa


class UnsupportedResult(Exception):  # noqa: N818 - not an error: the driver reads the answer
    """The answer has a form that this package does not decode."""


REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Stands for a byte that is not part of UTF-8 text."""


def _replace_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return REPLACEMENT * (error.end - error.start), error.end


codecs.register_error("replace_bytes", _replace_bytes)


def decoded(text: bytes) -> str:
    """Text of a database as UTF-8; each byte that is none becomes :data:`REPLACEMENT`.

    MariaDB stores lone surrogates (``ED A0 BD``) without a warning, and a BLOB holds any bytes.
    """
    return text.decode("utf-8", "replace_bytes")


def _plain(value: object) -> object:
    return decoded(value) if isinstance(value, bytes) else value


def from_rows(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> pa.Table:
    """A table of rows that a driver has read; the texts of dictionary columns are encoded."""
    arrays = []
    for field, values in zip(schema, zip(*rows, strict=True), strict=True):
        array = pa.array([_plain(value) for value in values], value_type(field))
        arrays.append(array.dictionary_encode() if is_dictionary(field) else array)
    return pa.table(arrays, schema=schema)


def plain_values(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The Python values of integers, floats or texts, as ``to_pylist`` gives them, but faster."""
    column = pa.chunked_array([array]) if isinstance(array, pa.Array) else array
    if pa.types.is_string(column.type) or not column.null_count:
        values = column.to_numpy()
    else:
        values = column.fill_null(0).to_numpy().astype(object)
        values[column.is_null().to_numpy()] = None
    plain: list[Any] = values.tolist()
    return plain


def records_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table of integers, floats and texts, each as a dict."""
    names = table.column_names
    rows = zip(*map(plain_values, table.columns), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def value_type(field: pa.Field) -> pa.DataType:
    """The type of the field's values: that of the dictionary where it has one."""
    return field.type.value_type if is_dictionary(field) else field.type


def is_dictionary(field: pa.Field) -> bool:
    """Whether the field is dictionary-encoded."""
    return bool(pa.types.is_dictionary(field.type))
