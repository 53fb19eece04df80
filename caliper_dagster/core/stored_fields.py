"""Which personal fields of log rows and records stored hours have, and which they must have.

The footer of an hour says what was left out when it was written. So an hour without names is never
taken for one of people without names: whoever needs them gets an error, or reads the hour again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Addresses = Literal["none", "truncated", "whole"]
"""What is stored of IP addresses, from the least to the most."""

_ORDER: tuple[Addresses, ...] = get_args(Addresses)
_KEY = "stored_fields"


@dataclass(frozen=True, slots=True)
class StoredFields:
    """Personal fields of stored hours.

    Attributes:
        addresses: what is stored of the IP addresses of clients.
        names: whether persons have names, user names, id numbers and e-mail addresses.
        texts: whether texts are stored that persons wrote.
        keys: keys of event data whose texts are stored anyway, because recipes of the site need
            them.
    """

    addresses: Addresses = "whole"
    names: bool = True
    texts: bool = True
    keys: frozenset[str] = frozenset()

    def missing(self, wanted: StoredFields) -> list[str]:
        """What of ``wanted`` is not stored, as words; empty when nothing is missing."""
        return [*self._missing(wanted)]

    def _missing(self, wanted: StoredFields) -> Iterator[str]:
        if _ORDER.index(self.addresses) < _ORDER.index(wanted.addresses):
            truncated = " whole" if self.addresses == "truncated" else ""
            yield f"{truncated} IP addresses".strip()
        if wanted.names and not self.names:
            yield "names of persons"
        if wanted.texts and not self.texts:
            yield "texts of persons"
        elif not self.texts and wanted.keys - self.keys:
            yield f"event data under {', '.join(sorted(wanted.keys - self.keys))}"

    def common(self, other: StoredFields) -> StoredFields:
        """What both of them have."""
        keys = self.keys & other.keys if self.texts == other.texts else self.keys | other.keys
        return StoredFields(
            min(self.addresses, other.addresses, key=_ORDER.index),
            self.names and other.names,
            self.texts and other.texts,
            keys,
        )

    def as_footer_stats(self) -> dict[str, object]:
        """What the footer of an hour records; nothing when nothing is left out."""
        if self == WHOLE:
            return {}
        return {
            _KEY: {
                "addresses": self.addresses,
                "names": self.names,
                "texts": self.texts,
                "keys": sorted(self.keys),
            }
        }


WHOLE = StoredFields()
"""Everything, as hours of earlier releases have it."""

NOTHING = StoredFields("none", names=False, texts=False)
"""No personal field."""


def stored_fields_of(stats: Mapping[str, object]) -> StoredFields:
    """What a stored hour has, from its footer stats.

    What a later release says in words that are unknown here counts as left out.
    """
    said = stats.get(_KEY)
    if not isinstance(said, Mapping):
        return WHOLE
    known: Iterator[Addresses] = (name for name in _ORDER if name == said.get("addresses"))
    keys = said.get("keys")
    return StoredFields(
        next(known, "none"),
        said.get("names") is True,
        said.get("texts") is True,
        frozenset(keys) if isinstance(keys, list) else frozenset(),
    )


def with_fields(stats: Mapping[str, object], fields: StoredFields) -> dict[str, object]:
    """Footer stats that say what an hour has, whatever they said before."""
    others = {key: value for key, value in stats.items() if key != _KEY}
    return others | fields.as_footer_stats()
