"""The privacy of an event store: what all its settings together let leave.

`EffectivePrivacy` is what translator, leak check, report and doctor go by. A profile
(``core.privacy``) says what leaves; the switches of the event store refine it. Whether they
contradict it is checked where the settings are read (``config.event_store_settings``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, get_args

from caliper_dagster.config.event_store_settings import EventStoreSettings, PersonIdentifier
from caliper_dagster.core.privacy import (
    FULL,
    IDENTIFIED,
    PROFILES,
    Profile,
    TextClass,
    TimePrecision,
)

_KEY = "privacy"


@dataclass(frozen=True, slots=True)
class EffectivePrivacy:
    """What the events of an event store tell about persons.

    Attributes:
        profile: says how ids of persons, of their records and of events are made.
        identifiers: which ``otherIdentifiers`` of persons are sent.
        ip_addresses: whether the address of a log row is sent.
        texts: classes of texts that are sent; ``person`` stands for names of persons.
        time_precision: precision of the times in events.
        pseudonym_base: IRI below which pseudonyms of persons are; None for ``urn:uuid:``, and
            without a keyed profile.
    """

    profile: Profile
    identifiers: tuple[PersonIdentifier, ...]
    ip_addresses: bool
    texts: frozenset[TextClass]
    time_precision: TimePrecision = "second"
    pseudonym_base: str | None = None

    @classmethod
    def of(cls, settings: EventStoreSettings) -> Self:
        """The privacy that the settings of an event store describe."""
        profile = PROFILES[settings.privacy]
        texts = _with(profile.texts, "personal", settings.free_text)
        identifiers = settings.person_identifiers
        addresses = settings.ip_addresses
        return cls(
            profile,
            _IDENTIFIERS.get(profile, ()) if identifiers is None else identifiers,
            profile is FULL if addresses is None else addresses,
            _with(texts, "person", settings.person_names),
            settings.time_precision,
            settings.pseudonym_base if profile.keyed else None,
        )

    @property
    def names(self) -> bool:
        """Whether full names of persons are sent."""
        return "person" in self.texts

    def stats(self, key: str | None) -> dict[str, object]:
        """What the footer of an hour of events records when it is written.

        Args:
            key: the fingerprint of the key that the hour is made with; None without one.
        """
        return {_KEY: {"profile": self.profile.name, "settings": self._digest(), "key": key}}

    def has_made(self, stats: Mapping[str, object], key: str | None) -> bool:
        """Whether an hour of events was made under this privacy.

        An hour of a release without profiles tells nothing. It was made without a key, under
        switches that are not known.

        Args:
            stats: the footer of the hour.
            key: the fingerprint of the key that belongs to the hour; None where it is not known.
        """
        recorded = stats.get(_KEY)
        if not isinstance(recorded, Mapping):
            return not self.profile.keyed
        is_same = recorded.get("settings") == self._digest()
        return is_same and key in (None, recorded.get("key"))

    def _digest(self) -> str:
        """Distinguishes privacy settings; it must be the same in every process."""
        parts = (
            self.profile.name,
            *sorted(self.identifiers),
            str(self.ip_addresses),
            *sorted(self.texts),
            self.time_precision,
            self.pseudonym_base or "",
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


_IDENTIFIERS: Mapping[Profile, tuple[PersonIdentifier, ...]] = {
    FULL: get_args(PersonIdentifier),
    IDENTIFIED: ("SystemId",),
}
"""Identifiers that a profile sends; the others send none."""


def _with(
    texts: frozenset[TextClass], text_class: TextClass, sent: bool | None
) -> frozenset[TextClass]:
    """Classes of texts with one of them added or removed, or as they are."""
    if sent is None:
        return texts
    return texts | {text_class} if sent else texts - {text_class}
