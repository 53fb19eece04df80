"""Which key of pseudonyms holds in which hours, told without the keys.

Under a keyed privacy profile ids of events and persons are made with a key. Another key for an hour
that was sent makes other ids, and the hour would be sent again. So the ledger records the schedule
of the keys of an event store, and stored hours record the key that made them; both hold
fingerprints, from which no key can be computed.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from caliper_dagster.core.hours import Hour

FIRST_HOUR = Hour(0)
"""The hour from which the first key of a schedule holds."""


def key_fingerprint(key: bytes) -> str:
    """What distinguishes a key from others: 16 hexadecimal digits."""
    return hmac.digest(key, b"caliper_dagster: fingerprint of a pseudonym key", "sha256").hex()[:16]


@dataclass(frozen=True, slots=True)
class KeySchedule:
    """Fingerprints of keys, each with the hour from which it holds.

    Attributes:
        keys: in the order of the hours; the first one holds from `FIRST_HOUR` on.
    """

    keys: tuple[tuple[Hour, str], ...]

    @classmethod
    def of(cls, keys: Sequence[tuple[Hour, bytes]]) -> KeySchedule:
        """The schedule of keys."""
        return cls(tuple((since, key_fingerprint(key)) for since, key in keys))

    def at(self, hour: Hour) -> str | None:
        """The fingerprint of the key of an hour."""
        return next((key for since, key in reversed(self.keys) if since <= hour), None)

    def first_difference(self, other: KeySchedule) -> Hour | None:
        """The first hour in which two schedules have different keys; None if there is none."""
        changes = sorted({since for since, _ in (*self.keys, *other.keys)})
        return next((hour for hour in changes if self.at(hour) != other.at(hour)), None)
