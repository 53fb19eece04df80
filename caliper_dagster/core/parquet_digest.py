"""Parquet files that carry a digest of themselves: the one writer and reader of stored tables.

Parquet's own checksums cover pages, not the footer, so a flipped bit can change data in silence.
Every file therefore ends with a digest of all its other bytes::

    PAR1 | pages of all row groups | tag (16) | BLAKE2b-256 (32) | footer | length of it (4) | PAR1

The offsets in a Parquet footer are absolute, and no offset leads to the tag and the digest. So any
Parquet reader reads the file, and nothing beside it has to be kept in step with it.

The tag names the scheme. An encrypted file (Parquet's modular encryption, with its footer) has
another tag, and before it what its key is found by (``storage_keys``)::

    PARE | encrypted pages | salt (16) | check (16) | tag (16) | BLAKE2b-256 (32) | … | PARE

Files of releases before there were digests have no tag; they are read without a check.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.storage_keys import CHECK_SIZE, SALT_SIZE, FileKey, StorageKeys

_TAG = b"caliper.digest.1"
_ENCRYPTED_TAG = b"caliper.digest.2"
_DIGEST_SIZE = 32
_SCHEME_KEY = b"caliper_dagster.digest"
"""Footer key of files with a digest. It tells a file whose tag is damaged from one without."""

_SCHEMA_KEY = b"ARROW:schema"
"""Footer key by which Arrow's readers know which columns are dictionaries."""

_TIME = "timecreated"
_TRAILER_SIZE = 8
"""Size of what follows the footer: its length, and ``PAR1``."""

_BLOCK = 1 << 20
_BUFFER = 1 << 18
# A record's text is written once per row group, not once per page: dictionaries are large.
_DICTIONARY_BYTES = 64 * 1024 * 1024


class DamagedFileError(Exception):
    """The content of a file is not what was written; the text says how that shows."""


class StorageKeyError(Exception):
    """A file is encrypted, and none of the given keys is its key.

    Attributes:
        has_keys: whether any key was given.
    """

    def __init__(self, *, has_keys: bool) -> None:
        super().__init__("the file is encrypted with another key")
        self.has_keys = has_keys


class ParquetForm:
    """How tables of one schema are written.

    It is made once for many files: asking a schema for its columns costs as much as a small file.

    Attributes:
        schema: the columns of all tables.
        options: of Parquet's writer.
        metadata: keys and values that stand in the footer of every file.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.options: Mapping[str, Any] = {
            "compression": "zstd",
            # Other texts hardly repeat, and only the times of a row group are ever asked for.
            "use_dictionary": [it.name for it in schema if pa.types.is_dictionary(it.type)],
            "write_statistics": [_TIME] if _TIME in schema.names else False,
            "store_schema": False,
            "dictionary_pagesize_limit": _DICTIONARY_BYTES,
        }
        self.metadata: Mapping[bytes, bytes] = {
            **(schema.metadata or {}),
            _SCHEME_KEY: b"BLAKE2b-256",
            _SCHEMA_KEY: b64encode(schema.serialize()),
        }


class DigestedParquetWriter:
    """Writes tables of one schema as the row groups of one file, and its digest at the end.

    Args:
        file: where the file is written, from its present position on; it is not closed.
        form: how the tables are written.
        keys: the file is encrypted with a key of these; without them it is not encrypted.

    Raises:
        ConfigurationError: the installed pyarrow cannot encrypt.
    """

    def __init__(self, file: BinaryIO, form: ParquetForm, keys: StorageKeys | None = None) -> None:
        key = keys.new() if keys else None
        self._form = form
        self._mark = key.salt + key.check + _ENCRYPTED_TAG if key else _TAG
        self._sink = _HashingSink(file)
        # Parquet writes some bytes at a time, several times for each column.
        self._buffered = pa.BufferedOutputStream(pa.PythonFile(self._sink, "w"), _BUFFER)
        self._writer = pq.ParquetWriter(
            self._buffered,
            form.schema,
            **form.options,
            encryption_properties=_encryption().create_encryption_properties(key.key)
            if key
            else None,
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
        self._writer.add_key_value_metadata({**metadata, **self._form.metadata})
        self._buffered.flush()
        return self._sink.finish(self._write_footer, self._mark)

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

    def finish(self, write_footer: Callable[[], None], mark: bytes) -> int:
        """Let the footer be written, and put mark and digest before it; returns the whole size."""
        self._held = []
        write_footer()
        end, self._held = b"".join(self._held), None
        footer_size = int.from_bytes(end[-_TRAILER_SIZE:-4], "little") + _TRAILER_SIZE
        self._put(end[:-footer_size] + mark)
        self._hash.update(end[-footer_size:])
        self._file.write(self._hash.digest() + end[-footer_size:])
        return self._size + _DIGEST_SIZE + footer_size

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._size += len(data)


def open_verified(file: pa.NativeFile, keys: StorageKeys | None = None) -> pq.ParquetFile:
    """Open a Parquet file whose digest, if it has one, is that of its content.

    The whole file is read before Parquet parses any of it.

    Args:
        file: the file.
        keys: for a file that is encrypted; others are read, too.

    Raises:
        DamagedFileError: the digest is that of other content, or is gone, or this is no Parquet.
        StorageKeyError: the file is encrypted, and none of the keys is its key.
        ConfigurationError: the installed pyarrow cannot decrypt.
        OSError: the file could not be read.
    """
    read = partial(read_at, file)
    place = _digest_place(read, file.size())
    if place is not None and _digest(file, place) != read(place.digest, _DIGEST_SIZE):
        raise DamagedFileError("its content is not what was written")
    key = _key(place, keys)
    decryption = _encryption().create_decryption_properties(key.key) if key else None
    file.seek(0)
    try:
        parquet = pq.ParquetFile(file, decryption_properties=decryption)
    except Exception as error:
        # Which errors pyarrow raises on damaged bytes depends on where they are.
        raise DamagedFileError(f"it is no Parquet file: {type(error).__name__}") from None
    if place is None and _SCHEME_KEY in (parquet.metadata.metadata or {}):
        raise DamagedFileError("its digest is gone")
    return parquet


def _key(place: _DigestPlace | None, keys: StorageKeys | None) -> FileKey | None:
    """The key of a file; None if it is not encrypted."""
    if place is None or place.key_mark is None:
        return None
    if keys is None:
        raise StorageKeyError(has_keys=False)
    key = keys.find(place.key_mark[:SALT_SIZE], place.key_mark[SALT_SIZE:])
    if key is None:
        raise StorageKeyError(has_keys=True)
    return key


def _encryption() -> Any:  # noqa: ANN401 - a module of pyarrow
    try:
        import pyarrow.parquet.encryption as encryption
    except ImportError:
        encryption = None
    if not hasattr(encryption, "create_encryption_properties"):
        raise ConfigurationError(
            Sentence(
                SettingName("CALIPER_STORAGE_KEY"),
                f" needs pyarrow 25 or later with encryption; installed is {pa.__version__}.",
            )
        )
    return encryption


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


class Scheme(NamedTuple):
    """How a file is protected, as far as its bytes say so without a key.

    Attributes:
        has_digest: whether damage is noticed.
        key_mark: what the key of an encrypted file is found by; None of a file in the clear.
    """

    has_digest: bool
    key_mark: bytes | None

    def is_of(self, keys: StorageKeys | None) -> bool:
        """Whether a new file would be protected in the same way, by the same secret."""
        if keys is None or self.key_mark is None:
            return keys is None and self.key_mark is None
        key = keys.find(self.key_mark[:SALT_SIZE], self.key_mark[SALT_SIZE:])
        return key is not None and keys.is_newest(key)


def scheme_of(read: Callable[[int, int], bytes], size: int) -> Scheme:
    """How a file is protected; reads a few bytes of it and verifies nothing.

    Args:
        read: returns bytes of the file, by position and length.
        size: size of the file.
    """
    place = _digest_place(read, size)
    return Scheme(place is not None, place.key_mark if place else None)


class _DigestPlace(NamedTuple):
    """Where the digest begins, and what is before the tag of an encrypted file."""

    digest: int
    key_mark: bytes | None


def _digest_place(read: Callable[[int, int], bytes], size: int) -> _DigestPlace | None:
    """Where the digest of a file is; None in a file without one."""
    if size < _TRAILER_SIZE:
        return None
    footer_size = int.from_bytes(read(size - _TRAILER_SIZE, 4), "little") + _TRAILER_SIZE
    place = size - footer_size - _DIGEST_SIZE
    if place < len(_TAG):
        return None
    begin = max(0, place - len(_TAG) - SALT_SIZE - CHECK_SIZE)
    before = read(begin, place - begin)
    if before.endswith(_TAG):
        return _DigestPlace(place, None)
    if before.endswith(_ENCRYPTED_TAG):
        return _DigestPlace(place, before[: -len(_ENCRYPTED_TAG)])
    return None


def _digest(file: pa.NativeFile, place: _DigestPlace) -> bytes:
    """The digest of all bytes except those of the digest itself."""
    found = blake2b(digest_size=_DIGEST_SIZE)
    for start, end in ((0, place.digest), (place.digest + _DIGEST_SIZE, file.size())):
        file.seek(start)
        while start < end:
            block = file.read_buffer(min(_BLOCK, end - start))
            if not block.size:
                break
            found.update(block)
            start += block.size
    return found.digest()


def read_at(file: pa.NativeFile, start: int, length: int) -> bytes:
    """Bytes of a file, by position and length."""
    file.seek(start)
    return bytes(file.read(length))
