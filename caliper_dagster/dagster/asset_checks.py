"""Checks: what must be true of every hour, proved in the step that made it.

Here belongs the verdict on numbers that ``accounting`` and the emitter give, and how it reads in
the web UI. A check says which hours fall short: Dagster's own checks have no partition in a run
over many hours. https://docs.dagster.io/guides/test/asset-checks
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from caliper_dagster.core.hours import Hour
from caliper_dagster.core.row_accounting import Account, DeliveryCounts

if TYPE_CHECKING:
    from caliper_dagster.translator.sampling import SampleReport

EVERY_ROW_EXPLAINED = "every_row_explained"
EVERY_EVENT_VALID = "every_event_valid"
EVERY_EVENT_ACKNOWLEDGED = "every_event_acknowledged"

_HOURS_NAMED = 20


def every_row_explained(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that no log row goes missing, for ``caliper_events``."""
    return dg.AssetCheckSpec(
        EVERY_ROW_EXPLAINED,
        asset=asset,
        description="Rows counted by Moodle's database = rows read = events + filtered + failed, "
        "and every row read has exactly one outcome.",
    )


def every_event_valid(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that what is sent is Caliper, for ``caliper_events``."""
    return dg.AssetCheckSpec(
        EVERY_EVENT_VALID,
        asset=asset,
        description="Every id is checked, and whole events by sample: some of every combination "
        "of Moodle event, recipe, type and action.",
    )


def every_event_acknowledged(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that every event has arrived, for ``emission_results``."""
    return dg.AssetCheckSpec(
        EVERY_EVENT_ACKNOWLEDGED,
        asset=asset,
        description="The event store has acknowledged every event of every hour, in this run or "
        "in an earlier one, or has rejected it for what it is (a warning, if there are any).",
    )


def explained(asset: dg.AssetKey, accounts: Mapping[Hour, Account]) -> dg.AssetCheckResult:
    """The verdict of ``every_row_explained`` over the hours of a run."""
    short = {hour: account.unexplained for hour, account in accounts.items() if account.unexplained}
    return _verdict(asset, EVERY_ROW_EXPLAINED, "unexplained rows", len(accounts), short)


def valid(asset: dg.AssetKey, reports: Sequence[SampleReport]) -> dg.AssetCheckResult:
    """The verdict of ``every_event_valid`` over the samples of a run."""
    findings = [finding for report in reports for finding in report.findings]
    named = [
        f"{finding.event_name or 'ids'}: {finding.problem.sentence} ({finding.rows})"
        for finding in findings[:_HOURS_NAMED]
    ]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=EVERY_EVENT_VALID,
        passed=not findings,
        description="; ".join(named) or None,
        metadata={
            "events": sum(report.events for report in reports),
            "checked as a whole": sum(report.checked for report in reports),
            "not valid": sum(report.invalid for report in reports),
            "problems": named,
        },
    )


def acknowledged(
    asset: dg.AssetKey, deliveries: Mapping[Hour, DeliveryCounts], left: Sequence[Hour] = ()
) -> dg.AssetCheckResult:
    """The verdict of ``every_event_acknowledged`` over the hours of a run.

    Args:
        asset: of the event store.
        deliveries: what became of the hours that it has got.
        left: hours that it is still to get, in runs of its own.
    """
    if left:
        return _left_over(asset, len(deliveries) + len(left), left)
    short = {hour: done.outstanding for hour, done in deliveries.items() if done.outstanding}
    if not short:
        rejected = {hour: done.rejected for hour, done in deliveries.items() if done.rejected}
        if rejected:
            return _verdict(
                *(asset, EVERY_EVENT_ACKNOWLEDGED, "rejected events", len(deliveries), rejected),
                warning=True,
            )
    return _verdict(asset, EVERY_EVENT_ACKNOWLEDGED, "outstanding events", len(deliveries), short)


def _left_over(asset: dg.AssetKey, hours: int, left: Sequence[Hour]) -> dg.AssetCheckResult:
    named = [str(hour) for hour in left[:_HOURS_NAMED]]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=EVERY_EVENT_ACKNOWLEDGED,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"left over to runs of its own: {len(left)} of {hours} hour(s), "
        + ", ".join(named),
        metadata={"hours": hours, "hours left over": [hour.key for hour in left[:_HOURS_NAMED]]},
    )


def _verdict(
    asset: dg.AssetKey,
    name: str,
    what: str,
    hours: int,
    short: Mapping[Hour, int],
    *,
    warning: bool = False,
) -> dg.AssetCheckResult:
    named = ", ".join(f"{hour}: {number}" for hour, number in list(short.items())[:_HOURS_NAMED])
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=not short,
        severity=dg.AssetCheckSeverity.WARN if warning else dg.AssetCheckSeverity.ERROR,
        description=f"{what} in {len(short)} of {hours} hour(s): {named}" if short else None,
        metadata={
            "hours": hours,
            what: sum(short.values()),
            "hours that fall short": [hour.key for hour in list(short)[:_HOURS_NAMED]],
        },
    )
