"""Many rows of the database as Arrow columns, without a Python object for each value.

Drivers make an object of every value: for a log row, 21. Here the answer is taken as the bytes that
the server sends, and decoded column by column. What is unusual (another character set, values that
are no integers, texts of many megabytes) is left to the driver; the result is the same.
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
import pyarrow.compute as pc
import pyarrow.csv
from pymysql.constants import CR, FIELD_TYPE
from pymysql.cursors import SSCursor
from pymysql.err import OperationalError, raise_mysql_exception

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Decoded = TypeVar("Decoded")


INSIDE = ("_result", "_rfile", "_force_close")
"""Private attributes of PyMySQL's connection that are used here."""


class Unusual(Exception):  # noqa: N818 - no error: the driver reads it
    """The answer is not what can be decoded here."""


def from_rows(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> pa.Table:
    """What a driver has made of the rows as a table; repeated texts become dictionaries."""
    arrays = []
    for field, values in zip(schema, zip(*rows, strict=True), strict=True):
        array = pa.array(values, _plain(field))
        arrays.append(array.dictionary_encode() if _is_repeated(field) else array)
    return pa.table(arrays, schema=schema)


def _plain(field: pa.Field) -> pa.DataType:
    return field.type.value_type if _is_repeated(field) else field.type


def _is_repeated(field: pa.Field) -> bool:
    return bool(pa.types.is_dictionary(field.type))


# --- PostgreSQL ---------------------------------------------------------------------------------

# COPY writes these in place of the characters. No text of PostgreSQL holds NUL.
_ESCAPES = ((r"\\", "\0"), (r"\b", "\b"), (r"\f", "\f"), (r"\n", "\n"), (r"\r", "\r"),
            (r"\t", "\t"), (r"\v", "\v"), ("\0", "\\"))  # fmt: skip


def read_postgres(connection: Any, schema: pa.Schema, rest: str) -> pa.Table:  # noqa: ANN401
    """Run a ``SELECT`` of the schema's columns by ``COPY``.

    Args:
        connection: of psycopg2.
        schema: columns that are ``int64``, ``string`` or dictionaries of strings.
        rest: the statement from ``FROM`` on, without parameters.

    Raises:
        Unusual: the answer is left to the driver.
    """
    if connection.encoding != "UTF8":
        raise Unusual
    answer = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY (SELECT {', '.join(schema.names)} {rest}) TO STDOUT", answer)
    if not answer.tell():
        return schema.empty_table()
    size = answer.tell()
    answer.seek(0)
    try:
        table = pa.csv.read_csv(
            answer,
            pa.csv.ReadOptions(column_names=schema.names, block_size=size + 1),
            pa.csv.ParseOptions(delimiter="\t", quote_char=False),
            pa.csv.ConvertOptions(
                column_types={field.name: _plain(field) for field in schema},
                null_values=[r"\N"],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        raise Unusual from None
    arrays = []
    for field in schema:
        array = table[field.name].combine_chunks()
        if _is_repeated(field):
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


# --- MariaDB and MySQL --------------------------------------------------------------------------
# https://mariadb.com/kb/en/result-set-packets/ : a row is a packet, a field begins with its length.

_BLOCK = 1 << 18
_FEW_ROWS = 64
_PIECE = 1 << 22
_HEADER = 4
_LONGEST_PACKET = 0xFFFFFF
_END, _ERROR = 0xFE, 0xFF
_LONGEST_END = 8
_NULL, _TWO_BYTES, _THREE_BYTES = 251, 252, 253
# Eight bytes may be read before the first field, and after the last.
_MARGIN = 16
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
    rest: str,
    few: Collection[str],
) -> pa.Table:
    """Run a ``SELECT`` of the schema's columns.

    Args:
        connection: of PyMySQL.
        schema: columns that are ``int64``, ``string`` or dictionaries of strings.
        rest: the statement from ``FROM`` on, without parameters.
        few: columns that have few values, all dictionaries among them.

    Raises:
        Unusual: the answer is left to the driver.
        pymysql.Error: the database did not answer.
    """
    _require_known(connection)
    # What has few values comes first: all that together has few values, too.
    fields = sorted(schema, key=lambda field: field.name not in few)
    kinds = _execute(connection, f"SELECT {', '.join(field.name for field in fields)} {rest}")
    usual = all(
        kind in _INTEGERS
        for field, kind in zip(fields, kinds, strict=True)
        if pa.types.is_integer(field.type)
    )

    def decode(decoder: _Decoder) -> pa.Table:
        return decoder.table(fields, len(few)).select(schema.names)

    tables = _decoded(connection, decode, usual=usual)
    return pa.concat_tables([schema.empty_table(), *tables]).unify_dictionaries().combine_chunks()


def read_mysql_rows(connection: Any, statement: str) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """Run a statement and return its rows: integers, decimals as float, texts.

    Raises:
        Unusual, pymysql.Error: see ``read_mysql``.
    """
    _require_known(connection)
    kinds = _execute(connection, statement)
    usual = all(kind in (*_INTEGERS, *_DECIMALS, *_TEXTS) for kind in kinds)

    def decode(decoder: _Decoder) -> list[tuple[Any, ...]]:
        if decoder.number < _FEW_ROWS:
            return decoder.rows(kinds)
        return list(zip(*map(decoder.values, kinds), strict=True))

    return [row for rows in _decoded(connection, decode, usual=usual) for row in rows]


def _require_known(connection: Any) -> None:  # noqa: ANN401
    """The text is UTF-8, and the driver is one whose inside is known here."""
    known = all(hasattr(connection, name) for name in INSIDE)
    if not known or connection.charset not in _UTF8:
        raise Unusual


def _execute(connection: Any, statement: str) -> list[int]:  # noqa: ANN401
    """Send a statement, whose answer the driver shall not take; the types of its columns."""
    cursor = connection.cursor(SSCursor)
    cursor.execute(statement)
    # Else the driver takes it when the cursor goes.
    result = connection._result  # noqa: SLF001
    result.unbuffered_active = False
    result.connection = None
    connection._result = None  # noqa: SLF001
    return [column[1] for column in cursor.description]


def _decoded(
    connection: Any,  # noqa: ANN401
    decode: Callable[[_Decoder], Decoded],
    *,
    usual: bool,
) -> list[Decoded]:
    """The answer, decoded piece by piece; all of it is received, also what is unusual."""
    found = []
    for answer, rows in _receive(connection):
        usual = usual and not (np.diff(rows) > _LONGEST_PACKET).any()
        if usual and len(rows) > 1:
            try:
                found.append(decode(_Decoder(answer, rows)))
            except (pa.ArrowInvalid, UnicodeDecodeError):
                usual = False
    if not usual:
        raise Unusual
    return found


def _receive(connection: Any) -> Iterator[tuple[bytearray, Places]]:  # noqa: ANN401
    """What the server sends in answer to a statement, and where each row begins in it.

    It comes in pieces of whole rows. While one is decoded the server makes the next.
    """
    stream = connection._rfile  # noqa: SLF001 - the one way to what is received
    answer, rows, place = bytearray(_MARGIN), [], _MARGIN
    size_of = struct.Struct("<I").unpack_from
    try:
        while True:
            answer += _block(stream)
            end = len(answer)
            while place + _HEADER <= end:
                after = place + _HEADER + (size_of(answer, place)[0] & _LONGEST_PACKET)
                if after > end:
                    break
                rows.append(place + _HEADER)
                place = after
            done = place == end and _is_last(answer, rows[-1])
            if done or place > _PIECE:
                rest = answer[rows[-1] :] if done else answer[place:]
                if done:
                    place = rows.pop() - _HEADER
                # Where the last row ends is where the next one would begin.
                yield answer + bytes(_MARGIN), np.array([*rows, place + _HEADER], dtype=np.int64)
                if done:
                    break
                answer, rows, place = bytearray(_MARGIN) + rest, [], _MARGIN
    except BaseException:
        connection._force_close()  # noqa: SLF001 - what is still to come answers nothing else
        raise
    if rest[0] == _ERROR:
        raise_mysql_exception(bytes(rest))


def _block(stream: io.BufferedReader) -> bytes:
    block = stream.read1(_BLOCK)
    if not block:
        raise OperationalError(CR.CR_SERVER_LOST, "Lost connection during query")
    return block


def _is_last(answer: bytearray, packet: int) -> bool:
    kind = answer[packet] if packet < len(answer) else 0
    return kind == _ERROR or (kind == _END and len(answer) - packet <= _LONGEST_END)


class _Decoder:
    """The fields of all rows, taken from left to right: one field of all rows at a time."""

    def __init__(self, answer: bytearray, rows: Places) -> None:
        self._buffer = pa.py_buffer(answer)
        self._bytes: Bytes = np.frombuffer(answer, np.uint8)
        self._words = _overlapping(answer, "<u8")
        self._halves = _overlapping(answer, "<u4")
        self._answer, self._rows = answer, rows
        self._place = rows[:-1]
        self.number = len(rows) - 1

    def rows(self, kinds: Sequence[int]) -> list[tuple[Any, ...]]:
        """All fields of all rows as Python's values, row by row."""
        reads = [
            int if kind in _INTEGERS else float if kind in _DECIMALS else str for kind in kinds
        ]
        places = self._rows.tolist()
        found = []
        for begin, after in pairwise(places):
            texts = _split(bytes(self._answer[begin : after - _HEADER]), len(kinds))
            found.append(
                tuple(
                    None if text is None else read(text)
                    for read, text in zip(reads, texts, strict=True)
                )
            )
        return found

    def table(self, fields: Sequence[pa.Field], few: int) -> pa.Table:
        """All fields, of which the first ones have few values."""
        arrays = self.repeated(fields[:few])
        for field in fields[few:]:
            arrays.append(self.integers() if pa.types.is_integer(field.type) else self.texts())
        return pa.table(arrays, schema=pa.schema(fields))

    def repeated(self, fields: Sequence[pa.Field]) -> list[pa.Array]:
        """The next fields, of which there are few; dictionaries are in the order of the rows."""
        begin = self._place
        for _ in fields:
            self._next()
        length = self._place - begin
        together = self._views(begin, length, np.zeros(len(begin), dtype=bool))
        encoded = together.cast(pa.binary()).dictionary_encode()
        rows = [_split(whole, len(fields)) for whole in encoded.dictionary.to_pylist()]
        arrays = []
        for field, values in zip(fields, zip(*rows, strict=True), strict=True):
            if _is_repeated(field):
                distinct = pa.array(values, pa.string()).dictionary_encode()
                codes = distinct.indices.take(encoded.indices)
                arrays.append(pa.DictionaryArray.from_arrays(codes, distinct.dictionary))
            else:
                arrays.append(pa.array(values, pa.string()).cast(field.type).take(encoded.indices))
        return arrays

    def texts(self) -> pa.StringArray:
        """The next field as texts."""
        begin, length, null = self._next()
        return self._views(begin, length, null).cast(pa.string())

    def integers(self) -> pa.Int64Array:
        """The next field as integers of up to 16 digits; longer ones are parsed as texts."""
        begin, length, null = self._next()
        if length.max(initial=0) > 16:
            return self._views(begin, length, null).cast(pa.string()).cast("int64")
        negative = (self._bytes[begin] == ord("-")) & ~null
        end, digits = begin + length, length - negative
        values = _number(self._words[end - 8], digits.clip(max=8))
        if digits.max(initial=0) > 8:
            values += 10**8 * _number(self._words[end - 16], (digits - 8).clip(min=0))
        values[negative] *= -1
        return pa.array(values, mask=null) if null.any() else pa.array(values)

    def values(self, kind: int) -> list[Any]:
        """The next field as Python's values."""
        if kind in _INTEGERS:
            found = self.integers().to_pylist()
        else:
            found = self.texts().to_pylist()
            if kind in _DECIMALS:
                found = [None if text is None else float(text) for text in found]
        return list(found)

    def _next(self) -> tuple[Places, Places, Flags]:
        """Begin and length of the next field of every row, and whether it is null."""
        first = self._bytes[self._place]
        begin = self._place + 1
        length = first.astype(np.int64)
        null = first == _NULL
        if first.max(initial=0) >= _NULL:
            length[null] = 0
            for kind, width in ((_TWO_BYTES, 2), (_THREE_BYTES, 3)):
                wide = np.flatnonzero(first == kind)
                length[wide] = self._halves[begin[wide]] & ((1 << 8 * width) - 1)
                begin[wide] += width
        self._place = begin + length
        return begin, length, null

    def _views(self, begin: Places, length: Places, null: Flags) -> pa.Array:
        """Texts as Arrow's views into the answer: length, then the text itself or its place."""
        views = np.zeros((len(begin), 4), dtype=np.uint32)
        views[:, 0] = length
        short = length <= 12
        for word in range(3):
            kept = (length - 4 * word).clip(0, 4).astype(np.uint64)
            mask = ((np.uint64(1) << (kept * np.uint64(8))) - np.uint64(1)).astype(np.uint32)
            views[:, 1 + word] = self._halves[begin + 4 * word] & mask
        views[~short, 2] = 0
        views[~short, 3] = begin[~short]
        valid = pa.py_buffer(np.packbits(~null, bitorder="little")) if null.any() else None
        return pa.Array.from_buffers(
            pa.binary_view(),
            len(begin),
            [valid, pa.py_buffer(views), self._buffer],
            int(null.sum()),
        )


def _overlapping(answer: bytearray, kind: str) -> npt.NDArray[Any]:
    """The words that begin at each of the bytes."""
    size = np.dtype(kind).itemsize
    return np.ndarray((len(answer) - size + 1,), kind, answer, 0, (1,))


def _number(words: npt.NDArray[np.uint64], digits: Places) -> npt.NDArray[np.int64]:
    """Numbers of up to eight digits, which end with the words: all digits at once."""
    unused = ((8 - digits) * 8).astype(np.uint64)
    found = ((words >> unused) << unused) & np.uint64(0x0F0F0F0F0F0F0F0F)
    found[digits == 0] = 0
    found = (found * np.uint64(10 * 2**8 + 1)) >> np.uint64(8)
    found = ((found & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(100 * 2**16 + 1)) >> np.uint64(16)
    found &= np.uint64(0x0000FFFF0000FFFF)
    return ((found * np.uint64(10000 * 2**32 + 1)) >> np.uint64(32)).astype(np.int64)


def _split(whole: bytes, fields: int) -> list[str | None]:
    """The texts of some fields of one row."""
    place, texts = 0, list[str | None]()
    for _ in range(fields):
        length, place = whole[place], place + 1
        if length == _NULL:
            texts.append(None)
            continue
        for kind, width in ((_TWO_BYTES, 2), (_THREE_BYTES, 3)):
            if length == kind:
                length = int.from_bytes(whole[place : place + width], "little")
                place += width
                break
        texts.append(whole[place : place + length].decode())
        place += length
    return texts
