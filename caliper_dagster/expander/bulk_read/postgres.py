"""PostgreSQL: a ``SELECT`` by ``COPY``, whose text Arrow's CSV reader decodes."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from caliper_dagster.expander.bulk_read.arrow import (
    UnsupportedResult,
    decoded,
    is_dictionary,
    value_type,
)

# COPY writes these in place of the characters. No text of PostgreSQL contains NUL, so NUL can stand
# for a backslash while the other sequences are replaced.
_ESCAPES = ((r"\\", "\0"), (r"\b", "\b"), (r"\f", "\f"), (r"\n", "\n"), (r"\r", "\r"),
            (r"\t", "\t"), (r"\v", "\v"), ("\0", "\\"))  # fmt: skip


def read_postgres(connection: Any, schema: pa.Schema, from_clause: str) -> pa.Table:  # noqa: ANN401
    """Run a ``SELECT`` of the schema's columns by ``COPY``.

    Args:
        connection: a connection of psycopg2.
        schema: columns that are ``int64``, ``string`` or dictionaries of strings.
        from_clause: the statement from ``FROM`` on, without parameters.

    Raises:
        UnsupportedResult: the driver has to read the answer.
        psycopg2.Error: the database did not answer.
    """
    if connection.encoding not in ("UTF8", "SQLASCII", "SQL_ASCII"):
        raise UnsupportedResult
    answer = io.BytesIO()
    with connection.cursor() as cursor:
        columns = ", ".join(schema.names)
        cursor.copy_expert(f"COPY (SELECT {columns} {from_clause}) TO STDOUT", answer)
    if not answer.tell():
        return schema.empty_table()
    try:
        table = _parsed(schema, answer.getvalue())
    except pa.ArrowInvalid:
        # A server with the encoding SQL_ASCII stores any bytes.
        try:
            table = _parsed(schema, decoded(answer.getvalue()).encode())
        except pa.ArrowInvalid:
            raise UnsupportedResult from None
    arrays = []
    for field in schema:
        array = table[field.name].combine_chunks()
        if is_dictionary(field):
            encoded = array.dictionary_encode()
            texts = _unescaped(encoded.dictionary)
            array = pa.DictionaryArray.from_arrays(encoded.indices, texts)
        elif pa.types.is_string(field.type):
            array = _unescaped(array)
        arrays.append(array)
    return pa.table(arrays, schema=schema)


def _unescaped(texts: pa.Array) -> pa.Array:
    if not pc.any(pc.match_substring(texts, "\\")).as_py():
        return texts
    for escaped, plain in _ESCAPES:
        texts = pc.replace_substring(texts, escaped, plain)
    return texts


def _parsed(schema: pa.Schema, answer: bytes) -> pa.Table:
    return pa.csv.read_csv(
        pa.BufferReader(answer),
        pa.csv.ReadOptions(column_names=schema.names, block_size=len(answer) + 1),
        pa.csv.ParseOptions(delimiter="\t", quote_char=False),
        pa.csv.ConvertOptions(
            column_types={field.name: value_type(field) for field in schema},
            null_values=[r"\N"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
