"""The column ``other``: event data as PHP ``serialize`` or as JSON, in one table side by side.

Moodle wrote PHP until the switch ``logstore_standard/jsonformat`` appeared, and old rows stay as
they are. Both are decoded to the same JSON text here, once per distinct value. Objects are read as
maps and never instantiated. What may leave the site is not decided here.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson
import pyarrow as pa

UNDECODABLE = object()

_PHP_STARTS = ("N;", "a:", "s:", "i:", "b:", "d:", "O:", "C:", "E:", "r:", "R:")
_DEEPEST = 50
_FLAT = re.compile(
    r'a:(\d+):\{((?:s:\d+:"[^"]*";|i:-?\d+;|b:[01];|d:-?\d{1,15}(?:\.\d{1,20})?;|N;)*)\}'
)
_LONGEST_INTEGER = 18
_VALUE = re.compile(r's:(\d+):"([^"]*)";|i:(-?\d+);|b:([01]);|d:([^;]+);|N;')


def decode_column(other: pa.ChunkedArray) -> tuple[pa.DictionaryArray, pa.Array]:
    """Decode the column.

    Args:
        other: text as stored, any length.

    Returns:
        The decoded JSON text (null where there is nothing or it cannot be read), and a boolean
        column that is true where it cannot be read.
    """
    encoded = other.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    texts: list[str | None] = []
    broken: list[bool] = []
    for stored in encoded.dictionary.to_pylist():
        text = _text(decode(stored))
        broken.append(text is UNDECODABLE)
        texts.append(None if text is UNDECODABLE else text)
    codes = {
        text: code for code, text in enumerate(dict.fromkeys(t for t in texts if t is not None))
    }
    indices = encoded.indices
    new = pa.array([None if t is None else codes[t] for t in texts], pa.int32())
    return (
        pa.DictionaryArray.from_arrays(new.take(indices), pa.array(list(codes), pa.string())),
        pa.array(broken, pa.bool_()).take(indices).fill_null(False),
    )


def decode(stored: str) -> Any:  # noqa: ANN401 - any JSON value
    """Decode one stored value.

    Returns:
        A JSON value (maps with text keys, lists, text, numbers, booleans), None when the value says
        "nothing" (``N;``, ``null``, ``"null"``, empty), or :data:`UNDECODABLE`.
    """
    text = stored.strip()
    if text in {"", "N;", "null", '"null"'}:
        return None
    try:
        if text.startswith(_PHP_STARTS):
            if text.isascii() and (found := _flat(text)) is not None:
                return found
            return _Php(text.encode("utf-8", "surrogatepass")).read_all()
        return _from_json(text)
    except (ValueError, IndexError, KeyError, RecursionError):
        return UNDECODABLE


def _from_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # PHP writes lone surrogates and long integers that the strict reader refuses.
        return _storable(json.loads(text))


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Replace what JSON text in UTF-8 cannot hold."""
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
    except orjson.JSONEncodeError:  # what is nested too deeply can be read, but not written
        return UNDECODABLE


def _flat(text: str) -> dict[str, Any] | list[Any] | None:
    """What most event data are: an array without others in it, or quotes; None: left to `_Php`."""
    array = _FLAT.fullmatch(text)
    if array is None:
        return None
    values: list[Any] = []
    for length, string, integer, boolean, decimal in _VALUE.findall(array[2]):
        if length:
            if len(string) != int(length):
                return None
            values.append(string)
        elif integer:
            if len(integer) > _LONGEST_INTEGER:
                return None
            values.append(int(integer))
        elif decimal:
            values.append(float(decimal))
        else:
            values.append(boolean == "1" if boolean else None)
    keys = values[::2]
    if len(values) != 2 * int(array[1]) or not all(isinstance(key, int | str) for key in keys):
        return None
    return _array(keys, values[1::2])


def _array(keys: list[int | str], values: list[Any]) -> dict[str, Any] | list[Any]:
    """As in PHP's JSON: an array with the keys 0, 1, 2, … is a list, also when empty."""
    if keys == list(range(len(keys))):
        return values
    return dict(zip(map(str, keys), values, strict=True))


class _Php:
    """Reader of PHP's ``serialize`` format. Lengths of strings count bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read_all(self) -> Any:  # noqa: ANN401 - any JSON value
        value = self._value(0)
        if self._at != len(self._data):
            raise ValueError("trailing bytes")
        return _storable(value)

    def _until(self, mark: bytes) -> bytes:
        end = self._data.index(mark, self._at)
        found = self._data[self._at : end]
        self._at = end + len(mark)
        return found

    def _expect(self, mark: bytes) -> None:
        if not self._data.startswith(mark, self._at):
            raise ValueError("malformed")
        self._at += len(mark)

    def _value(self, depth: int) -> Any:  # noqa: ANN401 - any JSON value
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        kind = self._data[self._at : self._at + 2]
        self._at += 2
        if kind == b"N;":
            return None
        if kind == b"i:":
            return int(self._until(b";"))
        if kind == b"b:":
            return self._until(b";") == b"1"
        if kind == b"d:":
            return float(self._until(b";"))
        if kind == b"s:":
            text = self._text()
            self._expect(b";")
            return text
        if kind == b"a:":
            entries = self._entries(depth)
            return _array([key for key, _ in entries], [value for _, value in entries])
        if kind == b"O:":
            self._text()
            self._expect(b":")
            # Private and protected properties carry their class between NUL bytes.
            return {str(key).rpartition("\0")[2]: value for key, value in self._entries(depth)}
        raise ValueError("unknown type")

    def _text(self) -> str:
        length = int(self._until(b":"))
        self._expect(b'"')
        if length < 0 or self._at + length > len(self._data):
            raise ValueError("malformed")
        text = self._data[self._at : self._at + length].decode("utf-8", "replace")
        self._at += length
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
