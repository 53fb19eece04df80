"""A backfill that is killed again and again, and what must be true when it has come to its end."""

from __future__ import annotations

import random
from dataclasses import dataclass

from caliper_dagster.core.hours import HourRange
from caliper_dagster_tests.harness.commands import Command
from caliper_dagster_tests.harness.installation import Installation, between

SLOW = "slow=1,seconds=0.05"
"""An event store that takes its time, so that most kills meet envelopes in flight."""

SETTINGS = {
    "CALIPER_BATCH_SIZE": "20",
    "CALIPER_ENVELOPES_IN_FLIGHT": "2",
    "CALIPER_HOURS_PER_RUN": "6",
}
IN_FLIGHT = int(SETTINGS["CALIPER_ENVELOPES_IN_FLIGHT"])


_SENDING = 1.5
"""Seconds of sending within which a kill comes."""
_LONGEST = 7200
"""Seconds in which the last attempt must have come to its end."""


@dataclass(frozen=True, slots=True)
class Round:
    """A backfill that was killed until it came to its end.

    Attributes:
        kills: how often.
        while_sending: of these, when envelopes had arrived in the same attempt.
        events: events of the hours.
        repeated: envelopes that arrived and were not acknowledged.
        twice: times that an event arrived again.
        complete: every event is stored at the event store, and in the ledger once.
        unexplained: what the last run said of it; None if it failed.
    """

    kills: int
    while_sending: int
    events: int
    repeated: int
    twice: int
    complete: bool
    unexplained: int | None


def backfill_killed(
    site: Installation, hours: HourRange, chance: random.Random, most: int, mean: float
) -> Round:
    """Backfill the hours, killed at most so often.

    Half of the kills come after a random time, of so many seconds in the mean; the other half at a
    random moment of the seconds after the attempt has begun to send.
    """
    kills = while_sending = 0
    while True:
        before = site.arrived().envelopes
        command = site.start("backfill", *between(hours))
        if kills == most or _ends_before(site, command, chance, mean):
            command.ends_within(_LONGEST)  # what is left of years takes longer than any test
            last = command.finish()
            break
        command.kill()
        kills += 1
        while_sending += site.arrived().envelopes > before
    events = sorted(site.events(hours))
    received, arrived = site.received(), site.arrived()
    return Round(
        kills=kills,
        while_sending=while_sending,
        events=len(events),
        repeated=arrived.envelopes - site.batches(hours).num_rows,
        twice=arrived.received - arrived.events,
        complete=sorted(received) == events == sorted(site.acknowledged(hours)),
        unexplained=last.number("Unexplained rows") if last.status == 0 else None,
    )


def _ends_before(site: Installation, command: Command, chance: random.Random, mean: float) -> bool:
    """Wait for the moment to kill it; whether it has come to its end before."""
    if chance.random() < 0.5:
        return command.ends_within(chance.expovariate(1 / mean))
    before = site.arrived().envelopes
    while site.arrived().envelopes == before:
        if command.ends_within(0.02):
            return True
    return command.ends_within(chance.uniform(0, _SENDING))
