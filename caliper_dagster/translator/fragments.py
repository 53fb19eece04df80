"""Events as columns of text that are joined row by row; a row may have no text in a column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.arrow_memory import string_array
from caliper_dagster.translator.rows import LOG_MARK, Codes, Flags, Indices, all_equal, combinations

_ROWS_PER_BATCH = 1_000
"""Rows that are joined at a time, so few that their texts stay in the processor's cache."""

_BYTES_PER_BATCH = 64_000_000
"""Memory that is requested for them at most, or for one row."""


@dataclass(frozen=True)
class PooledColumn:
    """A column of texts by number.

    Attributes:
        codes: for each row the number of its text.
        texts: the texts.
    """

    codes: Codes
    texts: pa.StringArray

    @classmethod
    def of_each(cls, texts: pa.StringArray) -> PooledColumn:
        """A column in which every row has a text of its own."""
        return cls(np.arange(len(texts)), texts)

    def pooled(self) -> list[PooledColumn]:
        """The column itself."""
        return [self]

    def take(self, rows: Indices) -> PooledColumn:
        """The column of other rows, each with the text of one of these."""
        return PooledColumn(self.codes[rows], self.texts)


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

    def pooled(self) -> list[PooledColumn]:
        """The column as texts by number; as several columns side by side if texts have marks."""
        columns = [PooledColumn(self.codes, self._split_at_marks())]
        if not self._ends or self._logs is None:
            return columns
        logs = pa.concat_arrays([pa.array(self._logs).cast(pa.string()), pa.array([""])])
        marked = self._marked[self.codes]
        for end in self._ends:
            has_mark = end.is_valid().to_numpy(zero_copy_only=False)[marked]
            own = np.where(has_mark, np.arange(len(marked)), len(marked))
            columns += [PooledColumn(own, logs), PooledColumn(marked, end.fill_null(""))]
        return columns

    def _whole(self, rows: Indices) -> pa.Array:
        """The texts of some rows, with the ids of their log rows in the places of the marks."""
        columns = [column.take(rows) for column in self.pooled()]
        return join_columns(columns, len(rows)).combine_chunks()

    def all(self) -> pa.DictionaryArray:
        """The texts of all rows, without the prefix's key; null where a row has none."""
        pool = self._split_at_marks()
        if self._ends:
            texts = self._whole(np.arange(len(self.codes)))
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


TextColumn: TypeAlias = Fragments | PooledColumn | str
"""A column of text; a string is the text of every row."""


def integer_columns(integers: Codes, before: str, shown: Flags) -> list[TextColumn]:
    """Integers that are mostly distinct, as two columns: their prefix, and the digits.

    Args:
        integers: integers.
        before: prefix of each integer.
        shown: rows that show theirs; the others have no text.
    """
    digits = pa.array(integers, mask=~shown).cast(pa.string()).fill_null("")
    return [
        PooledColumn(shown.astype(np.int64), pa.array(["", before])),
        PooledColumn.of_each(digits),
    ]


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


def join_columns(columns: Sequence[TextColumn], rows: int) -> pa.ChunkedArray:
    """The columns joined row by row.

    The texts of all columns are numbered together, as one pool. Taken from it by number, row by row
    and column by column, they are one text in which those of a row are already side by side.

    Raises:
        pa.ArrowInvalid: the texts of so many rows as are joined at a time are longer than 2 GiB.
    """
    if not rows:
        return pa.chunked_array([], pa.string())
    parts = list(_pooled(columns, rows))
    pools = [part.texts.cast(pa.large_string()) for part in parts]
    firsts = np.cumsum([0, *map(len, pools[:-1])])
    numbered = [(first, part.codes) for first, part in zip(firsts, parts, strict=True)]
    return pa.chunked_array(_joined_batches(pa.concat_arrays(pools), numbered, rows), pa.string())


def _pooled(columns: Sequence[TextColumn], rows: int) -> Iterator[PooledColumn]:
    """The columns as texts by number; neighbours with one text in all rows become one column."""
    constant = ""
    for column in columns:
        if isinstance(column, str):
            constant += column
            continue
        for part in column.pooled():
            if all_equal(part.codes):
                constant += part.texts[part.codes[0]].as_py()
                continue
            if constant:
                yield _constant(constant, rows)
            constant = ""
            yield part
    yield _constant(constant, rows)


def _constant(text: str, rows: int) -> PooledColumn:
    return PooledColumn(np.broadcast_to(np.int64(0), rows), pa.array([text]))


def _joined_batches(
    pool: pa.LargeStringArray, columns: Sequence[tuple[int, Codes]], rows: int
) -> Iterator[pa.Array]:
    """The texts of the rows, in batches.

    Args:
        pool: the texts of all columns.
        columns: for each column its first text in the pool, and the codes of its rows from there.
        rows: their number.
    """
    # For each text `take` requests as much memory as the texts of the pool need on average.
    requested = pool.nbytes / len(pool) * len(columns)
    most = max(1, min(_ROWS_PER_BATCH, int(_BYTES_PER_BATCH / requested)))
    numbers = np.empty((most, len(columns)), dtype=np.int64)
    for start in range(0, rows, most):
        size = min(most, rows - start)
        for at, (first, codes) in enumerate(columns):
            numbers[:size, at] = codes[start : start + size]
            numbers[:size, at] += first
        taken = pool.take(pa.array(numbers[:size].ravel()))
        _, offsets, text = taken.buffers()
        begins = np.frombuffer(offsets, np.int64)[: len(taken) + 1 : len(columns)]
        batch = pa.LargeStringArray.from_buffers(size, pa.py_buffer(begins.copy()), text)
        yield batch.cast(pa.string())
