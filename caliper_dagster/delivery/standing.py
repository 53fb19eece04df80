"""Standing checks: whether all is well with the hours, whichever run was the last.

Plain functions on sets of hours and numbers; ``dagster.standing_checks`` collects these and shows
the results. The words of a result hold names of ours, numbers and times only: alerts repeat them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import EXPANDED_LOG, Frame
from caliper_dagster.core.hours import SECONDS, Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.core.wording import plural

Numbers = dict[str, int | float | str | datetime]
"""By their names in the web UI; times are aware."""

_FEWEST_ROWS = 100
"""A share of fewer rows says nothing."""


@dataclass(frozen=True, slots=True)
class StandingResult:
    """The result of a standing check.

    Attributes:
        problem: what is wrong; None when nothing is.
        is_warning: whether events are neither late nor lost.
        numbers: what was found.
    """

    problem: str | None
    is_warning: bool = False
    numbers: Numbers = field(default_factory=dict)


def failed_hours_retried(failed: Iterable[Hour], retried: Collection[Hour]) -> StandingResult:
    """Whether every hour that failed is retried.

    Args:
        failed: the hours whose last run failed.
        retried: the hours that a sensor retries; it need not contain only failed ones.
    """
    given_up = sorted(set(failed).difference(retried))
    numbers: Numbers = {"hours": len(given_up)}
    if not given_up:
        return StandingResult(None, numbers=numbers)
    hours = HourRange.covering(given_up)
    numbers["first hour"], numbers["last hour"] = given_up[0].key, given_up[-1].key
    return StandingResult(
        f"{plural(len(given_up), 'hour')} failed and {_is(given_up)} not retried, "
        f"the first of them {hours.start}: switch the sensors on, or run `caliper-dagster backfill "
        f"--from {hours.start} --to {hours.end}`.",
        numbers=numbers,
    )


def newest_hour_recent(
    newest: Hour | None, start: Hour, now: float, limit: int, waiting: Hour | None = None
) -> StandingResult:
    """Whether the newest hour that an event store has completely is recent.

    Args:
        newest: that hour; None if it has none.
        start: the first hour that there is.
        now: Unix time in seconds.
        limit: hours after the end of the newest hour.
        waiting: the first hour with log rows that wait for a replica, and which is therefore not
            complete; None without one.
    """
    waits = waiting is not None and (newest is None or newest >= waiting)
    if waiting is not None and waits:
        newest = waiting + -1
    age = (now - (newest.end if newest else start.start)) / SECONDS
    numbers: Numbers = {"age in hours": round(age, 2)}
    if newest:
        numbers["newest hour"] = newest.key
    if age <= limit:
        return StandingResult(None, numbers=numbers)
    name = f"The newest hour is {newest}" if newest else f"No hour since {start} is there"
    why = (
        " Newer log rows wait for the database of MOODLE_DB_URL, a replica that lags behind the "
        "log."
    )
    return StandingResult(
        f"{name}: {plural(int(age), 'hour')} have passed, and at most {limit} may."
        f"{why if waits else ''}",
        numbers=numbers,
    )


def no_backlog(
    waiting: Collection[Hour],
    newest: Hour | None,
    known_since: float | None,
    now: float,
    limit: int,
) -> StandingResult:
    """Whether no hour waits for an event store.

    An hour after the newest complete one has waited since its end. An older one has waited since a
    check first found it, because its run may have been a backfill of today.

    Args:
        waiting: the hours whose events are made and not sent.
        newest: the newest hour that the event store has completely; None if it has none.
        known_since: since when an hour had waited in the previous check, if one had; Unix time.
        now: Unix time in seconds.
        limit: hours of waiting after which it is more than a warning.
    """
    if not waiting:
        return StandingResult(None, numbers={"hours": 0})
    ahead = [hour.end for hour in waiting if newest is not None and hour > newest]
    older = [known_since or now] if len(ahead) < len(waiting) else []
    since = min([*ahead, *older, *([known_since] if known_since else [])])
    moment = datetime.fromtimestamp(since, UTC)
    hours = sorted(waiting)
    return StandingResult(
        f"{plural(len(hours), 'hour')} {_wait(hours)} since {moment:%Y-%m-%d %H:%M} UTC, the first "
        f"of them {hours[0]}, the last {hours[-1]}.",
        is_warning=now - since <= limit * SECONDS,
        numbers={
            "hours": len(hours),
            "waiting since": moment,
            "first hour": hours[0].key,
            "last hour": hours[-1].key,
        },
    )


def share_is_small(what: str, number: int, rows: int, limit: float) -> StandingResult:
    """Whether few rows of a day are of a kind.

    Args:
        what: the kind, as in "1 of 10 log rows …".
        number: rows of that kind.
        rows: all rows.
        limit: largest share, from 0 to 1.
    """
    share = number / rows if rows else 0.0
    numbers: Numbers = {"rows": rows, "rows of the kind": number, "share": round(share, 4)}
    if rows < _FEWEST_ROWS or share <= limit:
        return StandingResult(None, numbers=numbers)
    return StandingResult(
        f"{number:,} of the {plural(rows, 'log row')} of the last 24 hours {what}: {share:.0%}, "
        f"and at most {limit:.0%} may.",
        is_warning=True,
        numbers=numbers,
    )


def fallback_rows(store: PartitionStore, frame: Frame, hours: Iterable[Hour]) -> tuple[int, int]:
    """Log rows with the fallback recipe, and all log rows, of those hours that are stored."""
    total = Account()
    for hour in hours:
        stored = store.open_existing(frame, hour)
        if stored is not None:
            with closing(stored):
                total += Account.from_footer_stats(stored.stats())
    return total.by_resolution.get("fallback", 0), total.rows


def unresolved_rows(store: PartitionStore, hours: Iterable[Hour]) -> tuple[int, int]:
    """Log rows with an unresolved reference, and all log rows, of those hours that are stored."""
    number, rows = 0, 0
    for hour in hours:
        with suppress(StorageError):
            column = store.read(EXPANDED_LOG, [hour], ["unresolved"])["unresolved"]
            number, rows = number + len(column) - column.null_count, rows + len(column)
    return number, rows


def _is(hours: Collection[Hour]) -> str:
    return "is" if len(hours) == 1 else "are"


def _wait(hours: Collection[Hour]) -> str:
    return "waits" if len(hours) == 1 else "wait"
