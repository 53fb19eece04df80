"""Values that cannot be read: text that is not UTF-8, and times that are none.

The row leaves without them, and its column ``unresolved`` names them, such as ``course.fullname``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.hours import LAST_TIME
from caliper_dagster.expander.bulk_read import REPLACEMENT
from caliper_dagster.expander.log_rows import LogRows
from caliper_dagster.expander.record_columns import Flags, Integers

_TEXT_COLUMNS = ("eventname", "component", "action", "target", "objecttable", "crud", "origin")
_RECORD_COLUMNS = ("user", "realuser", "relateduser", "course", "module", "object", "site")
_WITH_TIMES = ("course", "module", "object")
_REPLACEMENT = REPLACEMENT.encode()
_LONG_DIGITS = 12
"""A Unix time of seconds has fewer digits."""
_BLOCK = 1 << 16
"""Bytes that are searched together: as many as a processor keeps at hand."""
_TIME = re.compile(r"time|date|deadline|available|start|end|opening|closing")
_LONG_TIME = rf'(?:{_TIME.pattern})[^"]*":[-\[0-9.,nul]*[0-9]{{{_LONG_DIGITS}}}'
"""Of a time, or of several, at least one with :data:`_LONG_DIGITS` digits."""


def note(rows: LogRows, columns: Mapping[str, pa.DictionaryArray]) -> None:
    """Add the values that cannot be read to the unresolved references of the rows.

    Args:
        rows: the log rows.
        columns: the record columns.
    """
    for name in _TEXT_COLUMNS:
        values, codes = rows.texts(name)
        wrong = [REPLACEMENT in value for value in values]
        if any(wrong):
            rows.add_unresolved(name, np.flatnonzero(np.array(wrong)[codes]))
    addresses = pc.match_substring(rows.log["ip"], REPLACEMENT).fill_null(False)
    rows.add_unresolved("ip", np.flatnonzero(addresses.to_numpy()))
    for name in _RECORD_COLUMNS:
        texts = columns[name].dictionary
        suspects = np.zeros(0, dtype=np.int64)
        if _have_replacement(texts):
            suspects = np.flatnonzero(pc.match_substring(texts, REPLACEMENT))
        if name in _WITH_TIMES:
            suspects = np.union1d(suspects, _with_long_times(texts))
        codes = columns[name].indices.fill_null(-1).to_numpy()
        for code in suspects.tolist():
            positions = np.flatnonzero(codes == code)
            for path in dict.fromkeys(_unreadable(orjson.loads(texts[code].as_py()), name)):
                rows.add_unresolved(path, positions)


def _have_replacement(texts: pa.StringArray) -> bool:
    data = texts.buffers()[2]
    if data is None:
        return False
    # Few texts have its first byte; none of them is copied to look for it.
    text = np.frombuffer(data, np.uint8)
    begins = np.flatnonzero(text[: 1 - len(_REPLACEMENT)] == _REPLACEMENT[0])
    for place, byte in enumerate(_REPLACEMENT):
        begins = begins[text[begins + place] == byte]
    return len(begins) > 0


def _with_long_times(texts: pa.StringArray) -> Integers:
    """The indices of the texts that may have a time of :data:`_LONG_DIGITS` digits."""
    long = _with_long_numbers(texts)
    found: Integers = long[np.flatnonzero(pc.match_substring_regex(texts.take(long), _LONG_TIME))]
    return found


def _with_long_numbers(texts: pa.StringArray) -> Integers:
    """The indices of the texts with a number of :data:`_LONG_DIGITS` digits before its point.

    Grades have as many after it.
    """
    _, offsets, data = texts.buffers()
    if data is None:
        return np.zeros(0, dtype=np.int64)
    text = np.frombuffer(data, dtype=np.uint8)
    found = [np.zeros(0, dtype=np.int64)]
    for begin in range(0, len(text), _BLOCK):
        # Of a place and the next so many, whether all are digits.
        digits = _is_digit(text[begin : begin + _BLOCK + _LONG_DIGITS - 1])
        for step in (1, 2, 4, _LONG_DIGITS - 8):
            digits = digits[:-step] & digits[step:]
        found.append(begin + np.flatnonzero(digits))
    # A record begins with a brace, never with a digit.
    places = np.concatenate(found)
    before = text[places - 1]
    places = places[~_is_digit(before) & (before != ord("."))]
    starts = np.frombuffer(offsets, dtype=np.int32)[: len(texts) + 1]
    return np.unique(np.searchsorted(starts, places, side="right") - 1)


def _is_digit(text: npt.NDArray[np.uint8]) -> Flags:
    digits: Flags = text - ord("0") < 10
    return digits


def _unreadable(value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """The paths of the values that cannot be read."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _unreadable(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _unreadable(item, path)
    elif isinstance(value, str):
        if REPLACEMENT in value:
            yield path
    elif isinstance(value, int | float) and value > LAST_TIME and _TIME.search(_last(path)):
        yield path


def _last(path: str) -> str:
    return path.rpartition(".")[2]
