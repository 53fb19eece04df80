"""Faults: how the embedded event store misbehaves when it is asked to.

They serve tests, and whoever wants to see what becomes of a delivery when a real event store has a
bad day. All chances follow from a seed and the number of the POST, so a run can be repeated, and
they end after as many POSTs as one likes. What the event store refuses for its content or its size
it refuses always.
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
_KINDS = (*_STATUSES, DROP, DROP_LATE, LOSE, RESTART, SLOW)
_REFUSALS = ("400", "422")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong.

    Attributes:
        shares: share of the POSTs, by kind of fault.
        refused: share of the events that are refused, by status; the same ones every time.
        refuse: pattern (as of file names) of ids or types of events that are refused with 400.
        largest: bytes that an envelope may have; more is a 413.
        retry_after: seconds that a 429 or 503 asks for; None says nothing.
        seconds: how long a slow answer takes.
        until: number of POSTs after which only refusals are left; None never.
        seed: decides all chances.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[int, float] = field(default_factory=dict)
    refuse: str | None = None
    largest: int | None = None
    retry_after: int | None = None
    seconds: float = 1
    until: int | None = None
    seed: int = 0
    _posts: count[int] = field(default_factory=count, compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read ``NAME=VALUE,…``, with the names in ``docs/reliability.md``.

        Raises:
            ConfigurationError: a name or a value means nothing; the sentence names it.
        """
        faults = cls()
        for given in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = given.partition("=")
            try:
                faults = replace(faults, **_read(faults, name, value))
            except ValueError:
                raise ConfigurationError(f"--hostile does not understand {given!r}.") from None
        return faults

    def next_fault(self) -> str | None:
        """The fault that the next POST meets, if any."""
        number = next(self._posts)
        if self.until is not None and number >= self.until:
            return None
        drawn = random.Random(f"{self.seed}/{number}").random()  # noqa: S311 - no secret
        for kind, share in self.shares.items():
            drawn -= share
            if drawn < 0:
                return kind
        return None

    def refusal(self, event_id: str, event_type: str) -> int | None:
        """The status with which an event is refused; None when it is taken."""
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
    if name in _KINDS:
        return {"shares": {**faults.shares, name: _share(value)}}
    if name in _REFUSALS:
        return {"refused": {**faults.refused, int(name): _share(value)}}
    if name == "refuse" and value:
        return {"refuse": value}
    if name == "seconds":
        return {"seconds": float(value)}
    if name in {"413", "retry-after", "until", "seed"}:
        return {{"413": "largest"}.get(name, name.replace("-", "_")): int(value)}
    raise ValueError(name)


def _share(value: str) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(value)
    return share
