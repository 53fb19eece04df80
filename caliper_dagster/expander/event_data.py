"""The column ``other``: event data, stored as PHP ``serialize`` or as JSON in the same table.

Moodle wrote PHP until it got the setting ``logstore_standard/jsonformat``, and old rows stay as
they are. This module decodes both to the same JSON text, once per distinct value. PHP objects are
read as maps and never instantiated. What may leave the site is decided elsewhere.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from caliper_dagster.expander.bulk_read import REPLACEMENT, plain_values

UNDECODABLE = object()

_PHP_STARTS = ("N;", "a:", "s:", "i:", "b:", "d:", "O:", "C:", "E:", "r:", "R:")
_MAX_DEPTH = 50
_MAX_SHAPES, _LONGEST_WITH_SHAPE = 8192, 2000
"""How many shapes are kept, and how long an array may be whose shape is."""
_MAX_ID = 2**63
_TOKEN = re.compile(
    r's:(\d+):"";|a:(\d+):\{|(\})|'
    r"i:(-?\d{1,18});|b:([01]);|d:(-?\d{1,15}(?:\.\d{1,20})?);|N;"
)


class DecodedColumn(NamedTuple):
    """The decoded column.

    Attributes:
        texts: the JSON text of each row; null where there is no event data or it cannot be decoded.
        undecodable: whether it cannot be decoded, or not wholly.
        values: the values of the dictionary of ``texts``: what reading each of its texts gives.
    """

    texts: pa.DictionaryArray
    undecodable: pa.Array
    values: list[Any]


def decode_column(other: pa.ChunkedArray) -> DecodedColumn:
    """Decode the column.

    Args:
        other: text as stored, of any length.
    """
    encoded = other.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes: list[int | None] = []
    undecodable: list[bool] = []
    code_of: dict[str, int] = {}
    values: list[Any] = []
    for stored in plain_values(encoded.dictionary):
        value = decode(stored)
        text = _text(value)
        undecodable.append(text is UNDECODABLE or REPLACEMENT in stored)
        if text is None or text is UNDECODABLE:
            codes.append(None)
            continue
        code = code_of.setdefault(text, len(values))
        if code == len(values):
            values.append(value)
        codes.append(code)
    indices = encoded.indices
    return DecodedColumn(
        pa.DictionaryArray.from_arrays(
            pa.array(codes, pa.int32()).take(indices), pa.array(list(code_of), pa.string())
        ),
        pa.array(undecodable, pa.bool_()).take(indices).fill_null(False),
        values,
    )


def decode(stored: str) -> Any:  # noqa: ANN401 - any JSON value
    """Decode one stored value.

    Returns:
        A JSON value (maps with text keys, lists, text, numbers, booleans), None when the value is
        null or empty (``N;``, ``null``, ``"null"``), or :data:`UNDECODABLE`.
    """
    text = stored.strip()
    if text in {"", "N;", "null", '"null"'}:
        return None
    try:
        if text.startswith(_PHP_STARTS):
            if (array := _array_of_shape(text)) is not None:
                return array
            data = text.encode("utf-8", "surrogatepass")
            try:
                return _PhpReader(data).read_all()
            except ValueError:
                if REPLACEMENT not in text:
                    raise
                # Each stands for one byte, and lengths count bytes.
                return _PhpReader(data.replace(REPLACEMENT.encode(), b"\xff")).read_all()
        return _from_json(text)
    except (ValueError, IndexError, KeyError, RecursionError):
        return UNDECODABLE


def as_id(value: object) -> int:
    """The id that a member of event data holds, as a number or as text; 0 where it holds none."""
    if isinstance(value, str):
        value = int(value) if len(value) < 20 and value.isascii() and value.isdigit() else 0
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MAX_ID:
        return value
    return 0


def as_number(value: object) -> float | None:
    """The number that a text or a member of event data holds; None where it holds none."""
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return None


def _from_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # PHP writes lone surrogates and long integers, which orjson rejects.
        return _storable(json.loads(text))


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The value without what JSON text in UTF-8 cannot represent."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _text(value: Any) -> Any:  # noqa: ANN401 - JSON text, None or UNDECODABLE
    if value is None or value is UNDECODABLE:
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # orjson reads deeper nesting than it writes
        return UNDECODABLE


class _Shape(NamedTuple):
    """What is left of an array without the texts in it; many arrays have the same.

    Attributes:
        values: keys and values in turns; None in place of texts and of the arrays in it.
        texts: the place of each text among the values, and which of all texts it is.
        arrays: the place of each array in it, and its shape.
    """

    values: list[Any]
    texts: list[tuple[int, int]]
    arrays: list[tuple[int, _Shape]]

    def filled(self, texts: Sequence[str]) -> dict[str, Any] | list[Any]:
        """The array with these texts."""
        values = self.values.copy()
        for place, number in self.texts:
            values[place] = texts[number]
        for place, shape in self.arrays:
            values[place] = shape.filled(texts)
        return _array(values[::2], values[1::2])


def _array_of_shape(text: str) -> dict[str, Any] | list[Any] | None:
    """An array of arrays and plain values, without quotes in its texts: most event data is one.

    None for anything else, which :class:`_PhpReader` reads.
    """
    if len(text) > _LONGEST_WITH_SHAPE:
        return None
    parts = text.split('"')
    texts = parts[1::2]
    known = _shape(tuple(parts[::2]))
    if known is None:
        return None
    shape, lengths = known
    if list(map(len, texts)) == lengths and text.isascii():
        return shape.filled(texts)
    try:
        same = [len(own.encode()) for own in texts] == lengths
    except UnicodeEncodeError:
        return None
    return shape.filled(texts) if same else None


@lru_cache(_MAX_SHAPES)
def _shape(between: tuple[str, ...]) -> tuple[_Shape, list[int]] | None:
    """The shape of an array and the bytes of each text, by what is before, between and after them.

    None for anything that is not an array of arrays and plain values.
    """
    text = '""'.join(between)
    lengths: list[int] = []
    outside = _Shape([], [], [])
    open_arrays, position = [(outside, 1)], 0
    while len(open_arrays) <= _MAX_DEPTH and (token := _TOKEN.match(text, position)):
        position = token.end()
        length, size, end, *plain = token.groups()
        shape = open_arrays[-1][0]
        if end:
            _, entries = open_arrays.pop()
            if not open_arrays or len(shape.values) != 2 * entries or not _has_keys(shape):
                return None
        elif size:
            array = _Shape([], [], [])
            shape.arrays.append((len(shape.values), array))
            shape.values.append(None)
            open_arrays.append((array, int(size)))
        elif length:
            shape.texts.append((len(shape.values), len(lengths)))
            shape.values.append(None)
            lengths.append(int(length))
        else:
            shape.values.append(_plain_value(*plain))
    is_one_array = len(outside.arrays) == len(outside.values) == len(open_arrays) == 1
    return (outside.arrays[0][1], lengths) if is_one_array and position == len(text) else None


def _plain_value(integer: str, boolean: str, decimal: str) -> int | float | bool | None:
    if integer:
        return int(integer)
    if decimal:
        return float(decimal)
    return boolean == "1" if boolean else None


def _has_keys(shape: _Shape) -> bool:
    """Whether each key is an integer or a text."""
    texts = {place for place, _ in shape.texts}
    keys = range(0, len(shape.values), 2)
    return all(place in texts or isinstance(shape.values[place], int) for place in keys)


def _array(keys: list[int | str], values: list[Any]) -> dict[str, Any] | list[Any]:
    """As in PHP's JSON: an array with the keys 0, 1, 2, … is a list; so is an empty array."""
    if not keys or (keys[0] == 0 and keys == list(range(len(keys)))):
        return values
    return dict(zip(map(str, keys), values, strict=True))


class _PhpReader:
    """Reads PHP's ``serialize`` format. Lengths of strings count bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def read_all(self) -> Any:  # noqa: ANN401 - any JSON value
        value = self._value(0)
        if self._position != len(self._data):
            raise ValueError("trailing bytes")
        return _storable(value)

    def _until(self, mark: bytes) -> bytes:
        end = self._data.index(mark, self._position)
        text = self._data[self._position : end]
        self._position = end + len(mark)
        return text

    def _expect(self, mark: bytes) -> None:
        if not self._data.startswith(mark, self._position):
            raise ValueError("malformed")
        self._position += len(mark)

    def _value(self, depth: int) -> Any:  # noqa: ANN401 - any JSON value
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        type_ = self._data[self._position : self._position + 2]
        self._position += 2
        if type_ == b"N;":
            return None
        if type_ == b"i:":
            return int(self._until(b";"))
        if type_ == b"b:":
            return self._until(b";") == b"1"
        if type_ == b"d:":
            return float(self._until(b";"))
        if type_ == b"s:":
            text = self._text()
            self._expect(b";")
            return text
        if type_ == b"a:":
            entries = self._entries(depth)
            return _array([key for key, _ in entries], [value for _, value in entries])
        if type_ == b"O:":
            self._text()
            self._expect(b":")
            # Private and protected properties carry their class between NUL bytes.
            return {str(key).rpartition("\0")[2]: value for key, value in self._entries(depth)}
        raise ValueError("unknown type")

    def _text(self) -> str:
        length = int(self._until(b":"))
        self._expect(b'"')
        if length < 0 or self._position + length > len(self._data):
            raise ValueError("malformed")
        text = self._data[self._position : self._position + length].decode("utf-8", "replace")
        self._position += length
        self._expect(b'"')
        return text

    def _entries(self, depth: int) -> list[tuple[int | str, Any]]:
        count = int(self._until(b":"))
        if count < 0:
            raise ValueError("malformed")
        self._expect(b"{")
        entries: list[tuple[int | str, Any]] = []
        for _ in range(count):
            key = self._value(depth + 1)
            if not isinstance(key, int | str):
                raise ValueError("malformed")  # noqa: TRY004 - the data is wrong, not the call
            entries.append((key, self._value(depth + 1)))
        self._expect(b"}")
        return entries
