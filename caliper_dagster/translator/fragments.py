"""Events as columns of text that are joined: every row has a piece, or none, in each column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.translator.rows import LOG_MARK, NOTHING, Codes, Flags, Indices

_AT_ONCE = 20_000
"""Rows that are joined at a time: all their pieces stay near the processor."""


class Pieces(Protocol):
    """A column of text."""

    def array(self, rows: slice) -> pa.Array | str:
        """The text of some rows, or that of all of them."""


class Fragments:
    """A column of JSON fragments that is filled in parts; rows without one have none.

    A text may hold :data:`LOG_MARK`, in whose place each row has the id of its log row: so texts
    that differ by nothing else are one.

    Args:
        codes: for each row the number of its text; 0 for none.
        before: what stands before every text.
        texts: texts by number.
        logs: for each row the id of its log row, where texts have marks.
    """

    def __init__(
        self,
        codes: Codes,
        before: bytes = b"",
        texts: Sequence[bytes] = (b"",),
        logs: Codes | None = None,
    ) -> None:
        self.codes = codes
        self.before = before
        self._texts = list(texts)
        self._logs = logs
        self._pool: pa.StringArray | None = None
        self._ends: list[pa.StringArray] = []

    @classmethod
    def empty(cls, rows: int, before: bytes = b"") -> Fragments:
        """A column in which no row has a fragment."""
        return cls(np.zeros(rows, dtype=np.int64), before)

    def place(self, rows: Indices, texts: Sequence[bytes | None], inverse: Indices) -> None:
        """Give rows their texts: row ``i`` of ``rows`` gets ``texts[inverse[i]]``."""
        codes = np.arange(len(self._texts), len(self._texts) + len(texts))
        absent = [number for number, text in enumerate(texts) if text is None]
        codes[absent] = 0
        self.codes[rows] = codes[inverse]
        before = self.before
        self._texts.extend(b"" if text is None else before + text for text in texts)
        self._pool = None

    def taken(self, rows: Indices, logs: Codes | None = None) -> Fragments:
        """The column of other rows, each with the text of one of these."""
        return Fragments(self.codes[rows], self.before, self._texts, logs)

    def array(self, rows: slice) -> pa.Array | str:
        """The text of some rows; that of all of them when it is the same."""
        codes = self.codes[rows]
        if self._pool is None:
            self._pool, self._ends = _pool(self._texts)
        if not self._ends and (codes == codes[0]).all():
            return self._texts[codes[0]].decode()
        begins = self._pool.take(pa.array(codes))
        if not self._ends or self._logs is None:
            return begins
        logs = pa.array(self._logs[rows]).cast(pa.string())
        ends = [
            pc.binary_join_element_wise(logs, end.take(pa.array(codes)), "").fill_null("")
            for end in self._ends
        ]
        return pc.binary_join_element_wise(begins, *ends, "")


def _pool(texts: Sequence[bytes]) -> tuple[pa.StringArray, list[pa.StringArray]]:
    """The texts up to their first mark; what is behind the first one, the second, …, or null."""
    marked = {number: text.split(_MARK) for number, text in enumerate(texts) if _MARK in text}
    begins = list(texts)
    for number, parts in marked.items():
        begins[number] = parts[0]
    sizes = np.fromiter(map(len, begins), np.int32, len(begins))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    pool = pa.StringArray.from_buffers(
        len(begins), pa.py_buffer(offsets), pa.py_buffer(b"".join(begins))
    )
    ends = []
    for at in range(1, max(map(len, marked.values()), default=1)):
        found: list[bytes | None] = [None] * len(texts)
        for number, parts in marked.items():
            found[number] = parts[at] if at < len(parts) else None
        ends.append(pa.array(found, pa.string()))
    return pool, ends


_MARK = LOG_MARK.encode()


@dataclass(frozen=True)
class Numbers:
    """A column of integers with their key before them; where one is missing there is no text.

    Attributes:
        before: key.
        values: integers; :data:`NOTHING` is a missing one.
        shown: rows that may have it; all when it is None.
    """

    before: str
    values: Codes
    shown: Flags | None = None

    def array(self, rows: slice) -> pa.Array:
        """The text of some rows."""
        values = self.values[rows]
        missing = values == NOTHING
        if self.shown is not None:
            missing |= ~self.shown[rows]
        texts = pa.array(values, mask=missing).cast(pa.string())
        joined = pc.binary_join_element_wise(self.before, texts, "")
        return joined.fill_null("") if missing.any() else joined


@dataclass(frozen=True)
class Texts:
    """A column of texts that are all there."""

    texts: pa.Array

    def array(self, rows: slice) -> pa.Array:
        """The text of some rows."""
        return self.texts[rows]


def times(seconds: Codes, before: str) -> list[Pieces]:
    """A column of times in two parts, as Caliper writes them.

    Args:
        seconds: Unix times; no text comes of what is none between the years 1 and 9999.
        before: what stands before each.
    """
    hours, within = np.divmod(seconds, 3600)
    encoded = pa.array(hours).dictionary_encode()
    starts = pc.multiply(encoded.dictionary, 3600).cast(pa.timestamp("s"))
    texts = pc.strftime(starts, f"{before}%Y-%m-%dT%H:").to_pylist()
    return [
        Fragments(encoded.indices.to_numpy(), texts=[text.encode() for text in texts]),
        Fragments(within, texts=_WITHIN_HOUR),
    ]


_WITHIN_HOUR = [b"%02d:%02d.000Z" % divmod(second, 60) for second in range(3600)]


def joined(columns: Sequence[Pieces | str], rows: int) -> pa.ChunkedArray:
    """The columns joined row by row."""
    return pa.chunked_array(_joined(columns, rows), pa.string())


def _joined(columns: Sequence[Pieces | str], number: int) -> Iterator[pa.Array]:
    for start in range(0, number, _AT_ONCE):
        rows = slice(start, min(start + _AT_ONCE, number))
        parts: list[pa.Array | str] = []
        for column in columns:
            text = column if isinstance(column, str) else column.array(rows)
            if isinstance(text, str) and parts and isinstance(parts[-1], str):
                parts[-1] += text
            elif not isinstance(text, str) or text:
                parts.append(text)
        yield pc.binary_join_element_wise(*parts, "")


def dump(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """JSON text."""
    return orjson.dumps(value)
