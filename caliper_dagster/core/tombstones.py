"""Tombstones: which persons have been erased, in a form from which nobody can be read.

A tombstone is a keyed hash of a user id. Its key is made at first use and never changes. Whoever
has an id can ask whether that person was erased; the tombstones alone name nobody. They are kept in
the ledger (``emitter.ledger.tombstones``), which all machines of a site share.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

KEY_BYTES = 32


def mark(key: bytes, kind: str, number: int) -> str:
    """The keyed hash of an id.

    Args:
        key: the key of the site's tombstones.
        kind: what the id is of: ``user``, or a kind of request.
        number: the id in Moodle.
    """
    return hmac.digest(key, f"{kind}\n{number}".encode(), "sha256").hex()


@dataclass(frozen=True, slots=True)
class Tombstones:
    """The erased persons of a site.

    Attributes:
        key: the key of the hashes; empty while nobody was erased.
        marks: the hashes of the erased persons.
    """

    key: bytes = b""
    marks: frozenset[str] = frozenset()
    _known: dict[int, bool] = field(default_factory=dict, compare=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self.marks)

    def among(self, users: Iterable[int]) -> frozenset[int]:
        """Those of some user ids whose persons were erased. An id is hashed once."""
        if not self.marks:
            return frozenset()
        distinct = set(users)
        for user in distinct - self._known.keys():
            self._known[user] = mark(self.key, "user", user) in self.marks
        return frozenset(user for user in distinct if self._known[user])


NOBODY = Tombstones()
"""No person was erased."""

ReadTombstones = Callable[[], Tombstones]
"""Reads the tombstones as they are now."""
