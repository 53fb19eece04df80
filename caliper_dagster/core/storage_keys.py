"""Keys of encrypted files: one for each file, derived from the secret of the storage.

Parquet encrypts with AES-GCM, whose guarantees end when one key is used for too many files. So each
file has a salt of its own, in the clear, and its key is HKDF-SHA256 (RFC 5869) of the secret with
that salt. A *check* beside the salt tells which of several secrets it was: a wrong key is told from
a damaged file, and a file can be read while the secret is being changed.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

SALT_SIZE = 16
CHECK_SIZE = 16
LEAST_LENGTH = 32
"""Characters of a secret, at least: that many random ones cannot be guessed."""


@dataclass(frozen=True, slots=True)
class FileKey:
    """The key of one file.

    Attributes:
        salt: what the key is derived with.
        check: tells the secret.
        key: for AES-256.
    """

    salt: bytes
    check: bytes
    key: bytes = field(repr=False)


class StorageKeys:
    """The secrets of a storage.

    Args:
        secrets: the first one is for new files, all of them for reading.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets)

    def new(self) -> FileKey:
        """The key of a new file."""
        return _file_key(self._secrets[0], secrets.token_bytes(SALT_SIZE))

    def find(self, salt: bytes, check: bytes) -> FileKey | None:
        """The key of a file with this salt and check; None if no secret is that of the file."""
        for secret in self._secrets:
            found = _file_key(secret, salt)
            if hmac.compare_digest(found.check, check):
                return found
        return None

    def is_newest(self, key: FileKey) -> bool:
        """Whether a key was derived from the secret for new files."""
        return _file_key(self._secrets[0], key.salt) == key


def _file_key(secret: bytes, salt: bytes) -> FileKey:
    extracted = hmac.digest(salt, secret, "sha256")
    key = hmac.digest(extracted, b"caliper_dagster partition\x01", "sha256")
    check = hmac.digest(extracted, b"caliper_dagster check\x01", "sha256")[:CHECK_SIZE]
    return FileKey(salt, check, key)
