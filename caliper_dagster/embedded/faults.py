"""Faults that the embedded event store simulates on request.

Tests use them, and they show what a delivery does when a real event store fails. The seed and the
number of the POST decide each fault, so a run can be repeated. Faults can end after a number of
POSTs. Events refused for their content and envelopes refused for their size are always refused.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from hashlib import blake2b
from itertools import count
from typing import Any

from caliper_dagster.core.errors import ConfigurationError

DROP = "drop"
DROP_LATE = "drop-late"
LOSE = "lose"
RESTART = "restart"
SLOW = "slow"

_STATUSES = ("401", "403", "404", "408", "425", "429", "500", "502", "503", "504")
_FAULTS = (*_STATUSES, DROP, DROP_LATE, LOSE, RESTART, SLOW)
_REFUSALS = ("400", "422")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults to simulate.

    Attributes:
        shares: share of the POSTs (0 to 1) by fault.
        refused: share of the events (0 to 1) that are refused, by status; always the same events.
        refuse: pattern (as for file names) of ids or types of events that are refused with 400.
        max_bytes: maximum size of an envelope in bytes; a larger one is answered with 413.
        retry_after: ``Retry-After`` of a 429 or 503 in seconds; None sends none.
        seconds: seconds that a slow answer takes.
        until: number of POSTs after which only refusals remain; None for no end.
        seed: seed of all random decisions.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[int, float] = field(default_factory=dict)
    refuse: str | None = None
    max_bytes: int | None = None
    retry_after: int | None = None
    seconds: float = 1
    until: int | None = None
    seed: int = 0
    _posts: count[int] = field(default_factory=count, compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read ``NAME=VALUE,…`` with the names of ``docs/reliability.md``.

        Raises:
            ConfigurationError: a name or a value is unknown; the message names it.
        """
        faults = cls()
        for setting in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = setting.partition("=")
            try:
                faults = replace(faults, **_read(faults, name, value))
            except ValueError:
                raise ConfigurationError(f"--hostile does not understand {setting!r}.") from None
        return faults

    def next_fault(self) -> str | None:
        """The fault of the next POST; None for a POST without one."""
        number = next(self._posts)
        if self.until is not None and number >= self.until:
            return None
        drawn = random.Random(f"{self.seed}/{number}").random()  # noqa: S311 - not a secret
        for fault, share in self.shares.items():
            drawn -= share
            if drawn < 0:
                return fault
        return None

    def refusal(self, event_id: str, event_type: str) -> int | None:
        """The status with which an event is refused; None when it is accepted."""
        if self.refuse and any(fnmatchcase(text, self.refuse) for text in (event_id, event_type)):
            return 400
        if not self.refused:
            return None
        digest = blake2b(f"{self.seed}/{event_id}".encode(), digest_size=8).digest()
        drawn = int.from_bytes(digest) / 2**64
        for status, share in self.refused.items():
            drawn -= share
            if drawn < 0:
                return status
        return None


def _read(faults: Faults, name: str, value: str) -> dict[str, Any]:
    if name in _FAULTS:
        return {"shares": {**faults.shares, name: _share(value)}}
    if name in _REFUSALS:
        return {"refused": {**faults.refused, int(name): _share(value)}}
    if name == "refuse" and value:
        return {"refuse": value}
    if name == "seconds":
        return {"seconds": float(value)}
    if name in {"413", "retry-after", "until", "seed"}:
        return {{"413": "max_bytes"}.get(name, name.replace("-", "_")): int(value)}
    raise ValueError(name)


def _share(value: str) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(value)
    return share
