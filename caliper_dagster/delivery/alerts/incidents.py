"""What is open, and what is still to be told: the state of alerts between two looks.

A failure is told once and its end once. Failed runs belong to one failure while their hours follow
each other: an outage of a night is one, however many runs it fails. A receiver that cannot be
reached is told later, in order.

Dagster keeps the state as the cursor of the sensor, after the alerts were sent: a process that is
killed in between tells them again and loses none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.delivery.alerts.message import Alert

_MAX_UNTOLD = 100
"""Alerts that wait for a receiver; of one that is gone for good, the state would grow for ever."""


class RunFailure(BaseModel):
    """A failed run, or several whose hours follow each other. Field names never change.

    Attributes:
        subject: what failed: an asset, or a job where no step did.
        assets: the assets whose hours failed, as Dagster writes keys; empty for a run without
            hours.
        first: number of the first hour; None for a run without hours.
        end: number of the hour after the last one.
        job: name of the job.
        step: name of the step that failed first; None if none did.
        run_id: id of the first run.
        since: Unix time of its end.
    """

    subject: str
    assets: list[str]
    first: int | None
    end: int | None
    job: str
    step: str | None
    run_id: str
    since: float

    @property
    def hours(self) -> HourRange | None:
        """The hours that failed."""
        if self.first is None or self.end is None:
            return None
        return HourRange(Hour(self.first), Hour(self.end))

    def takes(self, other: RunFailure) -> bool:
        """Whether another failure is part of this one; its hours are then added.

        A run that fails again for one of several event stores is part of the run that failed for
        all of them.
        """
        if self.first is None or self.end is None or other.first is None or other.end is None:
            return self.job == other.job and self.hours == other.hours
        if not set(other.assets) <= set(self.assets):
            return False
        if other.first > self.end or other.end < self.first:
            return False
        self.first, self.end = min(self.first, other.first), max(self.end, other.end)
        return True


class CheckFailure(BaseModel):
    """A check that failed. Field names never change.

    Attributes:
        asset: the key of its asset, as Dagster writes keys.
        name: its name.
        evaluated_at: Unix time of the evaluation.
        problem: what is wrong, in words of ours; None if the words may hold others.
        is_consequence: whether it fails because runs do; it is told only if none is told.
    """

    asset: str
    name: str
    evaluated_at: float
    problem: str | None = None
    is_consequence: bool = False

    @property
    def key(self) -> str:
        """What tells it from other checks."""
        return f"{self.asset} {self.name}"


class AlertState(BaseModel):
    """The state. The field names are stored and never change.

    Attributes:
        looked_to: Unix time of the newest failed run that was looked at.
        seen: ids of the last runs that were looked at, with their Unix times. They are not looked
            at again: an hour that failed once may be busy again because of late rows.
        runs: the failures of runs that are not over.
        checks: the failures of checks that are not over, by key.
        over_at: Unix time at which the last failure of an asset's runs was over, by asset. What a
            check found before is about that failure.
        untold: what each receiver is still to be told, by its setting, the oldest alert first;
            the newest ones if they are many.
    """

    looked_to: float
    seen: dict[str, float] = {}
    runs: list[RunFailure] = []
    checks: dict[str, CheckFailure] = {}
    over_at: dict[str, float] = {}
    untold: dict[str, list[Alert]] = {}


class Incidents:
    """Finds what is to be told, and adds it to the state.

    Args:
        state: the state of the previous look, which is changed.
        site: what alerts call the site.
        receivers: the settings of those who are told.
        web_ui: address of Dagster's web UI; None leaves links out.
        now: Unix time in seconds.
    """

    def __init__(
        self, state: AlertState, site: str, receivers: Iterable[str], web_ui: str | None, now: float
    ) -> None:
        self._state, self._site, self._web_ui, self._now = state, site, web_ui, now
        state.untold = {name: state.untold.get(name, []) for name in receivers}

    def add_failed_runs(
        self, failures: Iterable[RunFailure], is_over: Callable[[RunFailure], bool]
    ) -> None:
        """Take failed runs in; those whose hours have succeeded since are not told.

        Args:
            failures: in the order in which they ended; they may have been given before.
            is_over: whether a failure is over.
        """
        runs = self._state.runs
        for failure in failures:
            if is_over(failure) or any(known.takes(failure) for known in runs):
                continue
            runs.append(failure)
            self._tell(
                "failure",
                failure.subject,
                f"A run of {_job(failure)} failed{_step(failure)}{_hours(failure)}. "
                f"Its id is {failure.run_id}.",
                failure.since,
                f"runs/{failure.run_id}",
            )
        ended = [failure for failure in runs if is_over(failure)]
        for failure in ended:
            runs.remove(failure)
            self._state.over_at.update(dict.fromkeys(failure.assets, self._now))
            hours = failure.hours
            self._tell(
                "over",
                failure.subject,
                f"A later run of {_job(failure)} succeeded."
                if hours is None
                else f"The hours {hours} have been processed, which failed{_step(failure)}.",
                failure.since,
                f"runs/{failure.run_id}",
            )

    def set_failed_checks(self, failed: Sequence[CheckFailure], known: Iterable[str]) -> None:
        """Compare the checks that fail now with those that failed before.

        Args:
            failed: those that fail now.
            known: the keys of all checks; of a check that no longer exists, no end is told.
        """
        checks, keys = self._state.checks, set(known)
        now = {check.key: check for check in failed}
        for key, check in now.items():
            if key not in checks and not self._belongs_to_runs(check):
                checks[key] = check
                self._tell_check("failure", check, f"failed{_problem(check)}")
        for key in [key for key in checks if key not in now]:
            check = checks.pop(key)
            if key in keys:
                self._tell_check("over", check, "no longer fails.")

    def _belongs_to_runs(self, check: CheckFailure) -> bool:
        if not check.is_consequence:
            return False
        is_open = any(check.asset in failure.assets for failure in self._state.runs)
        return is_open or check.evaluated_at < self._state.over_at.get(check.asset, 0)

    def _tell_check(self, status: str, check: CheckFailure, what: str) -> None:
        text = f"The check {check.name} of {check.asset} {what}"
        page = f"assets/{check.asset}?view=checks&checkDetail={check.name}"
        self._tell(status, f"{check.asset}, {check.name}", text, check.evaluated_at, page)

    def _tell(self, status: str, subject: str, text: str, since: float, page: str) -> None:
        alert = Alert.model_validate(
            {
                "status": status,
                "site": self._site,
                "subject": subject,
                "text": text,
                "since": f"{datetime.fromtimestamp(since, UTC):%Y-%m-%dT%H:%M:%SZ}",
                "link": f"{self._web_ui}/{page}" if self._web_ui else None,
            }
        )
        for alerts in self._state.untold.values():
            alerts.append(alert)
            del alerts[:-_MAX_UNTOLD]


def remove_told(state: AlertState, told: Mapping[str, int]) -> None:
    """Forget the alerts that the receivers have taken."""
    for name, number in told.items():
        del state.untold[name][:number]


def _job(failure: RunFailure) -> str:
    # Dagster gives runs that were launched from the page of an asset a job of its own, "__…".
    return "assets" if failure.job.startswith("__") else f"the job {failure.job}"


def _step(failure: RunFailure) -> str:
    return f" in the step {failure.step}" if failure.step else ""


def _hours(failure: RunFailure) -> str:
    return f", hours {failure.hours}" if failure.hours else ""


def _problem(check: CheckFailure) -> str:
    return f": {check.problem}" if check.problem else "."
