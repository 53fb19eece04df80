"""The column ``other``: event data, stored as PHP ``serialize`` or as JSON in the same table.

Moodle wrote PHP until it got the setting ``logstore_standard/jsonformat``, and old rows stay as
they are. This module decodes both to the same JSON text, once per distinct value. PHP objects are
read as maps and never instantiated. What may leave the site is decided elsewhere.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from caliper_dagster.expander.bulk_read import REPLACEMENT, plain_values

UNDECODABLE = object()

_PHP_STARTS = ("N;", "a:", "s:", "i:", "b:", "d:", "O:", "C:", "E:", "r:", "R:")
_MAX_DEPTH = 50
_FLAT = re.compile(r'a:(\d+):\{((?:s:\d+:"";|i:-?\d+;|b:[01];|d:-?\d{1,15}(?:\.\d{1,20})?;|N;)*)\}')
_MAX_INTEGER_DIGITS = 18
_MAX_SHAPES, _LONGEST_FLAT = 4096, 2000
"""How many shapes are kept, and how long an array may be whose shape is."""
_MAX_ID = 2**63
_VALUE = re.compile(r's:(\d+):"";|i:(-?\d+);|b:([01]);|d:([^;]+);|N;')


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
            if text.isascii() and (flat := _flat_array(text)) is not None:
                return flat
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
    if type(value) is int:
        return value if 0 < value < _MAX_ID else 0
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value) if len(value) < 20 else 0
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
        lengths: the length of each text, as it is written before the text.
        places: the place of each text among the values.
        values: keys and values in turns; empty texts in place of the texts.
    """

    lengths: tuple[int, ...]
    places: tuple[int, ...]
    values: tuple[Any, ...]


def _flat_array(text: str) -> dict[str, Any] | list[Any] | None:
    """An array without nested arrays and without quotes in its texts: most event data is one.

    None for anything else, which :class:`_PhpReader` reads.
    """
    if len(text) > _LONGEST_FLAT:
        return None
    parts = text.split('"')
    shape, texts = _shape(tuple(parts[::2])), parts[1::2]
    if shape is None or tuple(map(len, texts)) != shape.lengths:
        return None
    values = list(shape.values)
    for place, value in zip(shape.places, texts, strict=True):
        values[place] = value
    return _array(values[::2], values[1::2])


@lru_cache(_MAX_SHAPES)
def _shape(between: tuple[str, ...]) -> _Shape | None:
    """The shape of an array, by what stands before, between and after its texts.

    None for anything that is not an array without nested arrays.
    """
    array = _FLAT.fullmatch('""'.join(between))
    if array is None:
        return None
    lengths: list[int] = []
    places: list[int] = []
    values: list[Any] = []
    for length, integer, boolean, decimal in _VALUE.findall(array[2]):
        if length:
            lengths.append(int(length))
            places.append(len(values))
            values.append("")
        elif integer:
            if len(integer) > _MAX_INTEGER_DIGITS:
                return None
            values.append(int(integer))
        elif decimal:
            values.append(float(decimal))
        else:
            values.append(boolean == "1" if boolean else None)
    keys = values[::2]
    if len(values) != 2 * int(array[1]) or not all(isinstance(key, int | str) for key in keys):
        return None
    return _Shape(tuple(lengths), tuple(places), tuple(values))


def _array(keys: list[int | str], values: list[Any]) -> dict[str, Any] | list[Any]:
    """As in PHP's JSON: an array with the keys 0, 1, 2, … is a list; so is an empty array."""
    if keys == list(range(len(keys))):
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
