"""Parquet files that carry a digest of themselves: the one writer and reader of stored tables.

Parquet's own checksums cover pages, not the footer, so a flipped bit can change data in silence.
Every file therefore ends with a digest of all its other bytes::

    PAR1 | pages of all row groups | tag (16) | BLAKE2b-256 (32) | footer | length of it (4) | PAR1

The offsets in a Parquet footer are absolute, and no offset leads to the tag and the digest. So any
Parquet reader reads the file, and nothing beside it has to be kept in step with it.

The tag names the scheme. One with a key (a keyed digest, encryption) gets a tag of its own, and its
key is an argument of `DigestedParquetWriter` and `open_verified`. Files of releases before there
were digests have no tag; they are read without a check.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_TAG = b"caliper.digest.1"
_DIGEST_SIZE = 32
_SCHEME_KEY = b"caliper_dagster.digest"
"""Footer key of files with a digest. It tells a file whose tag is damaged from one without."""

_TRAILER_SIZE = 8
"""Size of what follows the footer: its length, and ``PAR1``."""

_BLOCK = 1 << 20
_BUFFER = 1 << 18
# A record's text is written once per row group, not once per page: dictionaries are large.
_DICTIONARY_BYTES = 64 * 1024 * 1024


class DamagedFileError(Exception):
    """The content of a file is not what was written; the text says how that shows."""


class DigestedParquetWriter:
    """Writes tables of one schema as the row groups of one file, and its digest at the end.

    Args:
        file: where the file is written, from its present position on; it is not closed.
        schema: the columns of all tables.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._sink = _HashingSink(file)
        # Parquet writes some bytes at a time, several times for each column.
        self._buffered = pa.BufferedOutputStream(pa.PythonFile(self._sink, "w"), _BUFFER)
        self._writer = pq.ParquetWriter(
            self._buffered,
            schema,
            compression="zstd",
            # Other texts hardly repeat, and minimum and maximum of a text help no query.
            use_dictionary=_names(schema, pa.types.is_dictionary),
            write_statistics=_names(schema, pa.types.is_primitive),
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
        )

    def write(self, table: pa.Table) -> None:
        """Write a table as one row group."""
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def close(self, metadata: Mapping[bytes, bytes]) -> int:
        """Write the digest and the footer.

        Args:
            metadata: keys and values of the footer.

        Returns:
            The size of the file in bytes.
        """
        self._writer.add_key_value_metadata({**metadata, _SCHEME_KEY: b"BLAKE2b-256"})
        self._buffered.flush()
        return self._sink.finish(self._write_footer)

    def abort(self) -> None:
        """Write nothing more; has no effect after `close`."""
        self._sink.discard()
        with suppress(OSError, pa.ArrowException):
            self._write_footer()

    def _write_footer(self) -> None:
        self._writer.close()
        self._buffered.flush()


class _HashingSink(io.RawIOBase):
    """Passes on what is written, and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash, self._size = file, blake2b(digest_size=_DIGEST_SIZE), 0
        self._held: list[bytes] | None = None
        self._discards = False

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override] # what pyarrow passes
        if self._held is not None:
            self._held.append(bytes(data))
        elif not self._discards:
            self._put(data)
        return len(data)

    def discard(self) -> None:
        """Ignore what is written from now on."""
        self._discards = True

    def finish(self, write_footer: Callable[[], None]) -> int:
        """Let the footer be written, and put the digest before it; returns the size of all."""
        self._held = []
        write_footer()
        end, self._held = b"".join(self._held), None
        footer_size = int.from_bytes(end[-_TRAILER_SIZE:-4], "little") + _TRAILER_SIZE
        self._put(end[:-footer_size] + _TAG)
        self._hash.update(end[-footer_size:])
        self._file.write(self._hash.digest() + end[-footer_size:])
        return self._size + _DIGEST_SIZE + footer_size

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._size += len(data)


def open_verified(file: pa.NativeFile) -> pq.ParquetFile:
    """Open a Parquet file whose digest, if it has one, is that of its content.

    The whole file is read before Parquet parses any of it.

    Raises:
        DamagedFileError: the digest is that of other content, or is gone, or this is no Parquet.
        OSError: the file could not be read.
    """
    read = partial(_read, file)
    place = _digest_place(read, file.size())
    if place is not None and _digest(file, place) != read(place, _DIGEST_SIZE):
        raise DamagedFileError("its content is not what was written")
    file.seek(0)
    try:
        parquet = pq.ParquetFile(file)
    except Exception as error:
        # Which errors pyarrow raises on damaged bytes depends on where they are.
        raise DamagedFileError(f"it is no Parquet file: {type(error).__name__}") from None
    if place is None and _SCHEME_KEY in (parquet.metadata.metadata or {}):
        raise DamagedFileError("its digest is gone")
    return parquet


def read_rows(
    parquet: pq.ParquetFile,
    columns: Sequence[str] | None = None,
    groups: Sequence[int] | None = None,
) -> pa.Table:
    """The rows of a file that `open_verified` has opened.

    Args:
        parquet: the file.
        columns: those to read, as far as the file has them; all by default.
        groups: numbers of the row groups to read; all by default.

    Raises:
        DamagedFileError: the file has no digest, and its content is no Parquet.
    """
    try:
        # An hour is small: several threads would cost more than they gain.
        if groups is None:
            groups = range(parquet.metadata.num_row_groups)
        table = parquet.read_row_groups(list(groups), columns=columns, use_threads=False)
    except Exception as error:
        raise DamagedFileError(f"its rows cannot be read: {type(error).__name__}") from None
    metadata = dict(table.schema.metadata or {})
    metadata.pop(_SCHEME_KEY, None)
    return table.replace_schema_metadata(metadata or None)


def has_digest(read: Callable[[int, int], bytes], size: int) -> bool:
    """Whether a file carries a digest; reads a few bytes of it and verifies nothing.

    Args:
        read: returns bytes of the file, by position and length.
        size: size of the file.
    """
    return _digest_place(read, size) is not None


def _names(schema: pa.Schema, is_kind: Callable[[pa.DataType], bool]) -> list[str]:
    return [field.name for field in schema if is_kind(field.type)]


def _digest_place(read: Callable[[int, int], bytes], size: int) -> int | None:
    """Where the digest begins; None in a file without one."""
    if size < _TRAILER_SIZE:
        return None
    footer_size = int.from_bytes(read(size - _TRAILER_SIZE, 4), "little") + _TRAILER_SIZE
    place = size - footer_size - _DIGEST_SIZE
    if place < len(_TAG) or read(place - len(_TAG), len(_TAG)) != _TAG:
        return None
    return place


def _digest(file: pa.NativeFile, place: int) -> bytes:
    """The digest of all bytes except those of the digest itself, which begins at ``place``."""
    found = blake2b(digest_size=_DIGEST_SIZE)
    for start, end in ((0, place), (place + _DIGEST_SIZE, file.size())):
        file.seek(start)
        while start < end:
            block = file.read_buffer(min(_BLOCK, end - start))
            if not block.size:
                break
            found.update(block)
            start += block.size
    return found.digest()


def _read(file: pa.NativeFile, start: int, length: int) -> bytes:
    file.seek(start)
    return bytes(file.read(length))
