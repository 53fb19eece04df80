"""The keys that pseudonyms are made with: one for each event store, or several in turn.

The secret ``CALIPER_PSEUDONYM_KEY`` holds one key, or several, of which each but the first one has
the hour from which it holds. An hour is rendered with the key of its own time, so a replay makes
the same ids for ever, also after another key has been added.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.hours import HOUR_FORM, Hour, HourRange, parse_hour
from caliper_dagster.core.key_schedule import FIRST_HOUR, KeySchedule

_SETTING = SettingName("CALIPER_PSEUDONYM_KEY")

_SHORTEST = 32
"""Characters of a key, at least: 128 bits, if they are hexadecimal digits."""

_FEWEST_DISTINCT = 8
"""Different characters of a key, at least: 32 random hexadecimal digits have more."""

_KEY = re.compile(r"[!-+\--~]+")
_ENTRIES = re.compile(r"[\r\n,]+")


@dataclass(frozen=True, slots=True)
class PseudonymKeys:
    """The keys of one event store.

    Attributes:
        keys: each with the hour from which it holds, in the order of the hours.
    """

    keys: tuple[tuple[Hour, bytes], ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> PseudonymKeys:
        """Read the value of the setting.

        Raises:
            ConfigurationError: a key is too short or has other characters than a key may have, or
                the hours are wrong; the sentence does not repeat a key.
        """
        lines = [line.split() for line in _ENTRIES.split(text) if line.strip()] or [[]]
        keys = [
            (_hour(line[:-1], first=not number), _key(line)) for number, line in enumerate(lines)
        ]
        for (hour, _), (later, _) in pairwise(keys):
            if hour >= later:
                raise _wrong(f"its hours must ascend, but {later} follows {hour}")
        return cls(tuple(keys))

    def at(self, hour: Hour) -> bytes:
        """The key of an hour."""
        return self.keys[bisect_right([since for since, _ in self.keys], hour) - 1][1]

    def spans(self, hours: HourRange) -> Iterator[tuple[HourRange, bytes]]:
        """The hours in ranges that have one key each, in order."""
        starts = [since for since, _ in self.keys if hours.start < since < hours.end]
        for start, end in pairwise([hours.start, *starts, hours.end]):
            yield HourRange(start, end), self.at(start)

    def schedule(self) -> KeySchedule:
        """The keys without their values."""
        return KeySchedule.of(self.keys)


def no_key(profile: str) -> ConfigurationError:
    """The error about an event store without the key that its profile needs."""
    return ConfigurationError(
        Sentence(
            _SETTING,
            f" is not set, and the privacy profile {profile} makes pseudonyms with it: set it to a "
            f"secret of at least {_SHORTEST} characters, such as `openssl rand -hex 32` writes.",
        )
    )


def _key(line: list[str]) -> bytes:
    key = line[-1] if line else ""
    if len(key) < _SHORTEST:
        raise _wrong(
            f"a key must have at least {_SHORTEST} characters, such as `openssl rand -hex 32` "
            "writes"
        )
    if not _KEY.fullmatch(key):
        raise _wrong("a key may have only letters, digits and signs of ASCII without commas")
    if len({*key}) < _FEWEST_DISTINCT:
        raise _wrong(
            f"a key must have at least {_FEWEST_DISTINCT} different characters, such as `openssl "
            "rand -hex 32` writes"
        )
    return key.encode()


def _hour(words: list[str], *, first: bool) -> Hour:
    """The hour from which a key holds."""
    if first and words:
        raise _wrong("the first key has no time, for it holds for all hours before the second one")
    if first:
        return FIRST_HOUR
    try:
        return parse_hour(" ".join(words), "")
    except ConfigurationError:
        # What stands there may be a part of a key.
        raise _wrong(f"each key after the first one must follow {HOUR_FORM} and a space") from None


def _wrong(problem: str) -> ConfigurationError:
    return ConfigurationError(Sentence(_SETTING, f" is wrong: {problem}."))
