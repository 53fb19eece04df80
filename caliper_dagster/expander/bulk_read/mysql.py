"""MariaDB and MySQL: the packets of a result set, decoded column by column.

The driver (PyMySQL) sends the statement and reads the description of the columns. This module then
reads the packets of the rows from the driver's stream. A row is one packet, and each field begins
with its length: https://mariadb.com/kb/en/result-set-packets/
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pymysql.constants import CR, FIELD_TYPE
from pymysql.cursors import SSCursor
from pymysql.err import OperationalError, raise_mysql_exception

from caliper_dagster.expander.bulk_read.arrow import (
    UnsupportedResult,
    decoded,
    is_dictionary,
    plain_values,
)

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Decoded = TypeVar("Decoded")

PRIVATE_ATTRIBUTES = ("_result", "_rfile", "_force_close")
"""Private attributes of PyMySQL's connection that this module uses."""

_BYTES_PER_READ = 1 << 18
_BYTES_PER_CHUNK = 1 << 22
_ROWS_DECODED_SINGLY = 64
"""Below this number of rows, Python decodes row by row faster than numpy column by column."""
_HEADER = 4
_LONGEST_PACKET = 0xFFFFFF
_END, _ERROR = 0xFE, 0xFF
_LONGEST_END = 8
_NULL, _TWO_BYTES, _THREE_BYTES = 251, 252, 253
# The decoder reads up to eight bytes before the first field and after the last one.
_PADDING = 16
_UTF8 = ("utf8", "utf8mb3", "utf8mb4")
_DECIMALS = (FIELD_TYPE.NEWDECIMAL, FIELD_TYPE.DECIMAL, FIELD_TYPE.DOUBLE, FIELD_TYPE.FLOAT)
_TEXTS = (
    FIELD_TYPE.VAR_STRING,
    FIELD_TYPE.STRING,
    FIELD_TYPE.BLOB,
    FIELD_TYPE.MEDIUM_BLOB,
    FIELD_TYPE.LONG_BLOB,
)
_INTEGERS = (
    FIELD_TYPE.TINY,
    FIELD_TYPE.SHORT,
    FIELD_TYPE.INT24,
    FIELD_TYPE.LONG,
    FIELD_TYPE.LONGLONG,
)


def read_mysql(
    connection: Any,  # noqa: ANN401
    schema: pa.Schema,
    from_clause: str,
    low_cardinality: Collection[str],
    limited: Callable[[str], str],
) -> pa.Table:
    """Run a ``SELECT`` of the schema's columns.

    Args:
        connection: a connection of PyMySQL.
        schema: columns that are ``int64``, ``string`` or dictionaries of strings.
        from_clause: the statement from ``FROM`` on, without parameters.
        low_cardinality: columns with few distinct values; all dictionary columns are among them.
        limited: gives the statement its time limit.

    Raises:
        UnsupportedResult: the driver has to read the answer.
        pymysql.Error: the database did not answer.
    """
    _require_supported(connection)
    # These columns come first in each row: together they have few distinct values, too.
    fields = sorted(schema, key=lambda field: field.name not in low_cardinality)
    columns = ", ".join(field.name for field in fields)
    types = _execute(connection, limited(f"SELECT {columns} {from_clause}"))
    supported = all(
        type_ in _INTEGERS
        for field, type_ in zip(fields, types, strict=True)
        if pa.types.is_integer(field.type)
    )

    def decode(decoder: _Decoder) -> pa.Table:
        return decoder.table(fields, len(low_cardinality)).select(schema.names)

    tables = _decoded(connection, decode, supported=supported)
    return pa.concat_tables([schema.empty_table(), *tables]).unify_dictionaries().combine_chunks()


def read_mysql_rows(connection: Any, statement: str) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """Run a statement and return its rows: integers, decimals as float, texts.

    Raises:
        UnsupportedResult, pymysql.Error: see ``read_mysql``.
    """
    _require_supported(connection)
    types = _execute(connection, statement)
    supported = all(type_ in (*_INTEGERS, *_DECIMALS, *_TEXTS) for type_ in types)

    def decode(decoder: _Decoder) -> list[tuple[Any, ...]]:
        if decoder.row_count < _ROWS_DECODED_SINGLY:
            return decoder.rows(types)
        return list(zip(*map(decoder.values, types), strict=True))

    return [row for rows in _decoded(connection, decode, supported=supported) for row in rows]


def _require_supported(connection: Any) -> None:  # noqa: ANN401
    """Check that texts are UTF-8 and that the driver has the attributes that this module uses.

    Raises:
        UnsupportedResult: one of the two is not so.
    """
    has_attributes = all(hasattr(connection, name) for name in PRIVATE_ATTRIBUTES)
    if not has_attributes or connection.charset not in _UTF8:
        raise UnsupportedResult


def _execute(connection: Any, statement: str) -> list[int]:  # noqa: ANN401
    """Send a statement without reading its rows, and return the types of its columns."""
    cursor = connection.cursor(SSCursor)
    cursor.execute(statement)
    # Detached from the cursor: otherwise the driver reads the rows when the cursor is deleted.
    result = connection._result  # noqa: SLF001
    result.unbuffered_active = False
    result.connection = None
    connection._result = None  # noqa: SLF001
    return [column[1] for column in cursor.description]


def _decoded(
    connection: Any,  # noqa: ANN401
    decode: Callable[[_Decoder], Decoded],
    *,
    supported: bool,
) -> list[Decoded]:
    """Decode the answer chunk by chunk.

    It receives all of the answer in any case, so that the connection can be used again.

    Raises:
        UnsupportedResult: the driver has to read the answer.
    """
    results = []
    for answer, rows in _receive(connection):
        supported = supported and not (np.diff(rows) > _LONGEST_PACKET).any()
        if supported and len(rows) > 1:
            try:
                results.append(decode(_Decoder(answer, rows)))
            except (pa.ArrowInvalid, UnicodeDecodeError):
                supported = False
    if not supported:
        raise UnsupportedResult
    return results


def _receive(connection: Any) -> Iterator[tuple[bytearray, Offsets]]:  # noqa: ANN401
    """Receive the answer to a statement in chunks of whole rows.

    While the caller decodes a chunk, the server prepares the next one.

    Yields:
        The bytes, padded at both ends, and the offset of each row in them; the last offset is where
        one more row would begin.
    """
    stream = connection._rfile  # noqa: SLF001 - the only access to the received bytes
    answer, rows, offset = bytearray(_PADDING), [], _PADDING
    size_of = struct.Struct("<I").unpack_from
    try:
        while True:
            answer += _read(stream)
            end = len(answer)
            while offset + _HEADER <= end:
                next_offset = offset + _HEADER + (size_of(answer, offset)[0] & _LONGEST_PACKET)
                if next_offset > end:
                    break
                rows.append(offset + _HEADER)
                offset = next_offset
            complete = offset == end and _is_last(answer, rows[-1])
            if complete or offset > _BYTES_PER_CHUNK:
                remainder = answer[rows[-1] :] if complete else answer[offset:]
                if complete:
                    offset = rows.pop() - _HEADER
                yield answer + bytes(_PADDING), np.array([*rows, offset + _HEADER], dtype=np.int64)
                if complete:
                    break
                answer, rows, offset = bytearray(_PADDING) + remainder, [], _PADDING
    except BaseException:
        connection._force_close()  # noqa: SLF001 - unread rows would answer the next statement
        raise
    if remainder[0] == _ERROR:
        raise_mysql_exception(bytes(remainder))


def _read(stream: io.BufferedReader) -> bytes:
    received = stream.read1(_BYTES_PER_READ)
    if not received:
        raise OperationalError(CR.CR_SERVER_LOST, "Lost connection during query")
    return received


def _is_last(answer: bytearray, packet: int) -> bool:
    first = answer[packet] if packet < len(answer) else 0
    return first == _ERROR or (first == _END and len(answer) - packet <= _LONGEST_END)


class _Decoder:
    """Decodes the fields from left to right, each for all rows at once.

    Args:
        answer: the bytes that the server sent, padded at both ends.
        rows: the offset of each row, and of the end.
    """

    def __init__(self, answer: bytearray, rows: Offsets) -> None:
        self._buffer = pa.py_buffer(answer)
        self._bytes: Bytes = np.frombuffer(answer, np.uint8)
        self._eight_bytes = _overlapping(answer, "<u8")
        self._four_bytes = _overlapping(answer, "<u4")
        self._answer, self._rows = answer, rows
        self._offsets = rows[:-1]
        self.row_count = len(rows) - 1

    def rows(self, types: Sequence[int]) -> list[tuple[Any, ...]]:
        """All fields as Python values, decoded row by row.

        Args:
            types: type of each field, as in ``FIELD_TYPE`` of PyMySQL.
        """
        constructors = [
            int if type_ in _INTEGERS else float if type_ in _DECIMALS else str for type_ in types
        ]
        decoded = []
        for begin, next_row in pairwise(self._rows.tolist()):
            texts = _split(bytes(self._answer[begin : next_row - _HEADER]), len(types))
            decoded.append(
                tuple(
                    None if text is None else constructor(text)
                    for constructor, text in zip(constructors, texts, strict=True)
                )
            )
        return decoded

    def table(self, fields: Sequence[pa.Field], low_cardinality: int) -> pa.Table:
        """All fields as a table.

        Args:
            fields: the fields in their order.
            low_cardinality: how many of the first fields have few distinct values.
        """
        arrays = self.low_cardinality(fields[:low_cardinality])
        for field in fields[low_cardinality:]:
            arrays.append(self.integers() if pa.types.is_integer(field.type) else self.texts())
        return pa.table(arrays, schema=pa.schema(fields))

    def low_cardinality(self, fields: Sequence[pa.Field]) -> list[pa.Array]:
        """The next fields, decoded together: each distinct combination of values once.

        Dictionaries have the order in which the rows first use their values.
        """
        begin = self._offsets
        for _ in fields:
            self._next()
        length = self._offsets - begin
        together = self._views(begin, length, np.zeros(len(begin), dtype=bool))
        encoded = together.cast(pa.binary()).dictionary_encode()
        rows = [_split(packed, len(fields)) for packed in encoded.dictionary.to_pylist()]
        arrays = []
        for field, values in zip(fields, zip(*rows, strict=True), strict=True):
            if is_dictionary(field):
                distinct = pa.array(values, pa.string()).dictionary_encode()
                codes = distinct.indices.take(encoded.indices)
                arrays.append(pa.DictionaryArray.from_arrays(codes, distinct.dictionary))
            else:
                arrays.append(pa.array(values, pa.string()).cast(field.type).take(encoded.indices))
        return arrays

    def texts(self) -> pa.StringArray:
        """The next field as texts."""
        begin, length, null = self._next()
        views = self._views(begin, length, null)
        try:
            return views.cast(pa.string())
        except pa.ArrowInvalid:  # not UTF-8
            texts = views.to_pylist()
            values = [None if text is None else decoded(text) for text in texts]
            return pa.array(values, pa.string())

    def integers(self) -> pa.Int64Array:
        """The next field as integers of up to 16 digits; longer ones are parsed as texts."""
        begin, length, null = self._next()
        longest = length.max(initial=0)
        if longest > 16:
            return self._views(begin, length, null).cast(pa.string()).cast("int64")
        negative = (self._bytes[begin] == ord("-")) & ~null
        end, digits = begin + length, length - negative
        values = _parse_digits(self._eight_bytes[end - 8], np.minimum(digits, 8))
        if longest > 8:
            above = _parse_digits(self._eight_bytes[end - 16], np.maximum(digits - 8, 0))
            values += 10**8 * above
        values[negative] *= -1
        return pa.array(values, mask=null) if null.any() else pa.array(values)

    def values(self, type_: int) -> list[Any]:
        """The next field as Python values."""
        if type_ in _INTEGERS:
            return plain_values(self.integers())
        texts = self.texts()
        return plain_values(texts.cast(pa.float64()) if type_ in _DECIMALS else texts)

    def _next(self) -> tuple[Offsets, Offsets, Flags]:
        """Offset and length of the next field in every row, and whether it is null."""
        first = self._bytes[self._offsets]
        begin = self._offsets + 1
        length = first.astype(np.int64)
        null = first == _NULL
        if first.max(initial=0) >= _NULL:
            length[null] = 0
            for prefix, width in ((_TWO_BYTES, 2), (_THREE_BYTES, 3)):
                wide = np.flatnonzero(first == prefix)
                length[wide] = self._four_bytes[begin[wide]] & ((1 << 8 * width) - 1)
                begin[wide] += width
        self._offsets = begin + length
        return begin, length, null

    def _views(self, begin: Offsets, length: Offsets, null: Flags) -> pa.Array:
        """Texts as Arrow's views into the answer: length, then the text itself or its offset."""
        views = np.zeros((len(begin), 4), dtype=np.uint32)
        views[:, 0] = length
        short = length <= 12
        for word in range(3):
            used = (length - 4 * word).clip(0, 4).astype(np.uint64)
            mask = ((np.uint64(1) << (used * np.uint64(8))) - np.uint64(1)).astype(np.uint32)
            views[:, 1 + word] = self._four_bytes[begin + 4 * word] & mask
        views[~short, 2] = 0
        views[~short, 3] = begin[~short]
        valid = pa.py_buffer(np.packbits(~null, bitorder="little")) if null.any() else None
        return pa.Array.from_buffers(
            pa.binary_view(),
            len(begin),
            [valid, pa.py_buffer(views), self._buffer],
            int(null.sum()),
        )


def _overlapping(answer: bytearray, dtype: str) -> npt.NDArray[Any]:
    """The machine words of a numpy type that begin at each byte."""
    size = np.dtype(dtype).itemsize
    return np.ndarray((len(answer) - size + 1,), dtype, answer, 0, (1,))


def _parse_digits(words: npt.NDArray[np.uint64], digits: Offsets) -> npt.NDArray[np.int64]:
    """Numbers of up to eight digits, whose last digit is the last byte of each word.

    Neighbouring digits are added up in parallel: pairs, then groups of four, then all eight.
    """
    unused = ((8 - digits) * 8).astype(np.uint64)
    numbers = ((words >> unused) << unused) & np.uint64(0x0F0F0F0F0F0F0F0F)
    numbers[digits == 0] = 0
    numbers = (numbers * np.uint64(10 * 2**8 + 1)) >> np.uint64(8)
    pairs = numbers & np.uint64(0x00FF00FF00FF00FF)
    numbers = (pairs * np.uint64(100 * 2**16 + 1)) >> np.uint64(16)
    numbers &= np.uint64(0x0000FFFF0000FFFF)
    return ((numbers * np.uint64(10000 * 2**32 + 1)) >> np.uint64(32)).astype(np.int64)


def _split(packed: bytes, fields: int) -> list[str | None]:
    """The texts of consecutive fields of one row."""
    offset, texts = 0, list[str | None]()
    for _ in range(fields):
        length, offset = packed[offset], offset + 1
        if length == _NULL:
            texts.append(None)
            continue
        for prefix, width in ((_TWO_BYTES, 2), (_THREE_BYTES, 3)):
            if length == prefix:
                length = int.from_bytes(packed[offset : offset + width], "little")
                offset += width
                break
        text = packed[offset : offset + length]
        try:
            texts.append(text.decode())
        except UnicodeDecodeError:
            texts.append(decoded(text))
        offset += length
    return texts
