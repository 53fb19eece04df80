"""Events as columns of text that are joined row by row; a row may have no text in a column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.arrow_memory import string_array
from caliper_dagster.translator.rows import LOG_MARK, Codes, Flags, Indices, all_equal, combinations

_ROWS_PER_BATCH = 3_000
"""Rows that are joined at a time, so few that their texts stay in the processor's cache."""


class TextColumn(Protocol):
    """A column of text."""

    def array(self, rows: slice) -> pa.Array | str:
        """The texts of some rows, or one text if it is the same in all of them."""


class Fragments:
    """A column of JSON fragments that is filled in parts. A row may have no fragment.

    A text may hold :data:`LOG_MARK`, which each row replaces by the id of its log row. So texts
    that differ only by this id are stored once.

    Args:
        codes: for each row the number of its text; 0 for none.
        before: prefix of every text.
        texts: texts by number.
        logs: for each row the id of its log row, if texts have marks.
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
        self.texts = list(texts)
        self._logs = logs
        self._pool: pa.StringArray | None = None
        self._ends: list[pa.StringArray] = []
        self._marked: Codes = codes

    @classmethod
    def empty(cls, rows: int, before: bytes = b"") -> Fragments:
        """A column in which no row has a fragment."""
        return cls(np.zeros(rows, dtype=np.int64), before)

    def fill(self, rows: Indices, texts: Sequence[bytes | None], inverse: Indices) -> None:
        """Assign texts to rows: row ``i`` of ``rows`` gets ``texts[inverse[i]]``."""
        codes = np.arange(len(self.texts), len(self.texts) + len(texts))
        absent = [number for number, text in enumerate(texts) if text is None]
        codes[absent] = 0
        self.codes[rows] = codes[inverse]
        before = self.before
        self.texts.extend(b"" if text is None else before + text for text in texts)
        self._pool, self._ends = None, []

    @classmethod
    def merge(cls, columns: Sequence[Fragments]) -> Fragments:
        """The joined texts of several columns that have few distinct combinations."""
        used = [column for column in columns if column.codes.any()]
        firsts, inverse = combinations(
            [(column.codes, len(column.texts)) for column in used], len(columns[0].codes)
        )
        parts = [[column.texts[code] for code in column.codes[firsts].tolist()] for column in used]
        texts = [b"".join(row) for row in zip(*parts, strict=True)] or [b""] * len(firsts)
        return cls(inverse, texts=texts)

    def take(self, rows: Indices, logs: Codes | None = None) -> Fragments:
        """The column of other rows, each with the text of one of these."""
        return Fragments(self.codes[rows], self.before, self.texts, logs)

    def without(self, rows: Flags) -> Fragments:
        """The column in which some rows have no fragment."""
        return Fragments(np.where(rows, 0, self.codes), self.before, self.texts, self._logs)

    def distinct(self) -> pa.Array:
        """The texts that rows have, once each; one with marks for each row that has it."""
        pool = self._split_at_marks()
        occurring = np.bincount(self.codes, minlength=len(pool)) > 0
        if not self._ends:
            return pool if occurring.all() else pool.filter(pa.array(occurring))
        is_marked = self._marked > 0
        plain = pool.filter(pa.array(occurring & ~is_marked))
        return pa.concat_arrays([plain, self._whole(np.flatnonzero(is_marked[self.codes]))])

    def array(self, rows: slice) -> pa.Array | str:
        """The texts of some rows; one text if it is the same in all of them."""
        codes = self.codes[rows]
        pool = self._split_at_marks()
        if self._ends:
            return self._whole(rows)
        return self.texts[codes[0]].decode() if all_equal(codes) else pool.take(pa.array(codes))

    def _whole(self, rows: slice | Indices) -> pa.Array:
        """The texts of some rows, with the ids of their log rows in the places of the marks."""
        codes = self.codes[rows]
        begins = self._split_at_marks().take(pa.array(codes))
        if self._logs is None:
            return begins
        logs = pa.array(self._logs[rows]).cast(pa.string())
        which = pa.array(self._marked[codes])
        ends = [
            pc.binary_join_element_wise(logs, end.take(which), "").fill_null("")
            for end in self._ends
        ]
        return pc.binary_join_element_wise(begins, *ends, "")

    def all(self) -> pa.DictionaryArray:
        """The texts of all rows, without the prefix's key; null where a row has none."""
        pool = self._split_at_marks()
        if self._ends:
            texts = self.array(slice(None))
            return pc.dictionary_encode(pc.if_else(pc.equal(texts, ""), None, texts))
        encoded = pool.dictionary_encode()
        codes = encoded.indices.to_numpy()[self.codes]
        return pa.DictionaryArray.from_arrays(
            pa.array(codes, mask=self.codes == 0), encoded.dictionary
        )

    def _split_at_marks(self) -> pa.StringArray:
        """The texts up to their first mark; the texts after the marks go to ``_ends``.

        ``_ends`` has one array for the text after the first mark, one for the second, and so on.
        Each holds a null, then the texts of those that have marks.
        """
        if self._pool is not None:
            return self._pool
        whole, begins = b"".join(self.texts), self.texts
        marks = [match.start() for match in _MARKS.finditer(whole)] if _MARK in whole else []
        if marks:
            number = len(begins)
            ends = np.cumsum(np.fromiter(map(len, begins), np.int64, number))
            marked = np.unique(np.searchsorted(ends, marks, side="right"))
            self._marked = np.zeros(number, dtype=np.int64)
            self._marked[marked] = np.arange(1, len(marked) + 1)
            parts = [begins[at].split(_MARK) for at in marked.tolist()]
            begins = list(begins)
            for at, part in zip(marked.tolist(), parts, strict=True):
                begins[at] = part[0]
            remainders = zip_longest(*(part[1:] for part in parts))
            self._ends = [pa.array([None, *texts], pa.string()) for texts in remainders]
            whole = b"".join(begins)
        self._pool = string_array(begins, whole)
        return self._pool


_MARK = LOG_MARK.encode()
_MARKS = re.compile(_MARK)


@dataclass(frozen=True)
class PooledColumn:
    """A column of texts by number.

    Attributes:
        codes: for each row the number of its text.
        texts: the texts.
    """

    codes: Codes
    texts: pa.StringArray

    def array(self, rows: slice) -> pa.Array:
        """The text of some rows."""
        return self.texts.take(pa.array(self.codes[rows]))


@dataclass(frozen=True)
class PlainColumn:
    """A column in which every row has a text."""

    texts: pa.Array

    def array(self, rows: slice) -> pa.Array:
        """The text of some rows."""
        return self.texts[rows]


@dataclass(frozen=True)
class _IntegerColumn:
    """A column of integers; a row that does not show its integer has no text.

    Attributes:
        integers: integers.
        shown: rows that show theirs.
    """

    integers: Codes
    shown: Flags

    def array(self, rows: slice) -> pa.Array:
        """The text of some rows."""
        hidden = ~self.shown[rows]
        texts = pa.array(self.integers[rows], mask=hidden).cast(pa.string())
        return texts.fill_null("") if hidden.any() else texts


def integer_columns(integers: Codes, before: str, shown: Flags) -> list[TextColumn | str]:
    """Integers that are mostly distinct, as two columns: their prefix, and the digits.

    Args:
        integers: integers.
        before: prefix of each integer.
        shown: rows that show theirs; the others have no text.
    """
    digits = _IntegerColumn(integers, shown)
    if shown.all():
        return [before, digits]
    return [PooledColumn(shown.astype(np.int64), pa.array(["", before])), digits]


def time_columns(seconds: Codes, before: str) -> list[TextColumn]:
    """Times in Caliper's form, as two columns: up to the hour, and the rest.

    Args:
        seconds: Unix times; no text comes of what is none between the years 1 and 9999.
        before: prefix of each time.
    """
    hours, within = np.divmod(seconds, 3600)
    encoded = pa.array(hours).dictionary_encode()
    starts = pc.multiply(encoded.dictionary, 3600).cast(pa.timestamp("s"))
    texts = pc.strftime(starts, f"{before}%Y-%m-%dT%H:")
    return [PooledColumn(encoded.indices.to_numpy(), texts), PooledColumn(within, _WITHIN_HOUR)]


_WITHIN_HOUR = pa.array([f"{s // 60:02d}:{s % 60:02d}.000Z" for s in range(3600)])


def join_columns(columns: Sequence[TextColumn | str], rows: int) -> pa.ChunkedArray:
    """The columns joined row by row."""
    return pa.chunked_array(_joined_batches(columns, rows), pa.string())


def _joined_batches(columns: Sequence[TextColumn | str], number: int) -> Iterator[pa.Array]:
    for start in range(0, number, _ROWS_PER_BATCH):
        rows = slice(start, min(start + _ROWS_PER_BATCH, number))
        parts: list[pa.Array | str] = []
        for column in columns:
            text = column if isinstance(column, str) else column.array(rows)
            if isinstance(text, str) and parts and isinstance(parts[-1], str):
                parts[-1] += text
            elif not isinstance(text, str) or text:
                parts.append(text)
        yield pc.binary_join_element_wise(*parts, "")
