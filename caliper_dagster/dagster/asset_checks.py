"""Asset checks: conditions that every hour must meet, evaluated in the step that writes it.

The checks judge numbers of ``core.row_accounting``, ``translator.sampling`` and ``emitter``, and
word the result for the web UI. A check result names the hours that do not pass, because Dagster's
check results have no partition in a run over many hours.
https://docs.dagster.io/guides/test/asset-checks
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

import dagster as dg

from caliper_dagster.core.hour_verdict import HourVerdict
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.row_accounting import Account, DeliveryCounts
from caliper_dagster.core.wording import plural

if TYPE_CHECKING:
    from caliper_dagster.translator.sampling import SampleReport

MOST_REFERENCES_FOUND = "most_references_found"
EVERY_ROW_EXPLAINED = "every_row_explained"
EVERY_EVENT_VALID = "every_event_valid"
NO_PERSONAL_DATA = "no_personal_data"
EVERY_EVENT_ACKNOWLEDGED = "every_event_acknowledged"

_HOURS_NAMED = 20
_UNRESOLVED_SHARE = 0.6
"""Measured at a real site: its deleted courses exceed it in 2 of 93 hours, a missing table of
courses or users in 89 at least (docs/decisions.md)."""


def most_references_found(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that log rows lead to records, for ``expanded_log``."""
    return dg.AssetCheckSpec(
        MOST_REFERENCES_FOUND,
        asset=asset,
        description="Of no hour more than 60 % of the rows refer to records that Moodle's "
        "database does not have. Otherwise there is a warning: a replica may lack a table, or its "
        "rows. A deleted course leaves such rows, too.",
    )


def every_row_explained(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that every log row has an outcome, for ``caliper_events``."""
    return dg.AssetCheckSpec(
        EVERY_ROW_EXPLAINED,
        asset=asset,
        description="Rows counted by Moodle's database = rows read = events + filtered + failed, "
        "and every row read has exactly one outcome. Rows that wait for a replica of Moodle's "
        "database are not counted yet; in an hour that is over they give a warning.",
    )


def every_event_valid(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that the events are valid Caliper, for ``caliper_events``."""
    return dg.AssetCheckSpec(
        EVERY_EVENT_VALID,
        asset=asset,
        description="All ids are valid and unique, and a sample of events is valid Caliper. The "
        "sample has some events of every combination of Moodle event, recipe, type and action.",
    )


def no_personal_data(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that nothing of persons leaves that must not, for ``caliper_events``."""
    return dg.AssetCheckSpec(
        NO_PERSONAL_DATA,
        asset=asset,
        description="No text of an event holds a name, user name, e-mail address, idnumber or IP "
        "address of a person of its hour, unless the privacy profile lets it leave. Otherwise "
        "nothing of the hour is sent. Texts that the institution wrote, such as names of courses "
        "and activities, are not searched.",
    )


def every_event_acknowledged(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that every event was acknowledged, for ``emission_results``."""
    return dg.AssetCheckSpec(
        EVERY_EVENT_ACKNOWLEDGED,
        asset=asset,
        description="The event store has acknowledged every event of every hour, in this run or "
        "an earlier one. Events that it rejected for their content, and events that are withheld "
        "because they are not valid Caliper, give a warning. Hours that are withheld because log "
        "rows are not explained, event ids occur again, or values of persons would leave that must "
        "not, give an error.",
    )


def references_found(
    asset: dg.AssetKey, rows: Mapping[Hour, int], unresolved: Mapping[Hour, int]
) -> dg.AssetCheckResult:
    """The result of ``most_references_found`` for the hours of a run.

    Args:
        asset: the expanded rows.
        rows: rows of each hour.
        unresolved: of these, those with a reference that leads to no record.
    """
    too_many = {
        hour: number
        for hour, number in unresolved.items()
        if number > _UNRESOLVED_SHARE * rows[hour]
    }
    return _result(
        asset,
        MOST_REFERENCES_FOUND,
        "rows with unresolved references",
        len(rows),
        too_many,
        severity=dg.AssetCheckSeverity.WARN,
    )


def explained(
    asset: dg.AssetKey, accounts: Mapping[Hour, Account], now: float = inf
) -> dg.AssetCheckResult:
    """The result of ``every_row_explained`` for the hours of a run.

    Args:
        asset: the events.
        accounts: of each hour.
        now: Unix time. Rows of an hour that is not over may wait for a replica.
    """
    unexplained = {
        hour: account.unexplained for hour, account in accounts.items() if account.unexplained
    }
    waiting = {hour: account.waiting for hour, account in accounts.items() if account.waiting}
    over = {hour: number for hour, number in waiting.items() if hour.end <= now}
    what, number = "unexplained rows", len(accounts)
    if unexplained or not over:
        result = _result(asset, EVERY_ROW_EXPLAINED, what, number, unexplained)
    else:
        what, severity = "rows that wait for the replica", dg.AssetCheckSeverity.WARN
        result = _result(asset, EVERY_ROW_EXPLAINED, what, number, over, severity=severity)
    if not waiting:
        return result
    total = sum(waiting.values())
    sentence = (
        f"{plural(total, 'log row')} of {plural(len(waiting), 'hour')}, the first of them "
        f"{min(waiting)}, {'waits' if total == 1 else 'wait'} for the database of MOODLE_DB_URL, a "
        "replica that lags behind the log. The sensor `late_rows` takes them when it has caught "
        "up, or after MOODLE_REPLICA_WAIT hours."
    )
    return result._replace(
        description=" ".join(filter(None, (result.description if unexplained else None, sentence))),
        metadata={**result.metadata, "rows that wait for the replica": dg.IntMetadataValue(total)},
    )


def valid(asset: dg.AssetKey, reports: Sequence[SampleReport]) -> dg.AssetCheckResult:
    """The result of ``every_event_valid`` for the samples of a run."""
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


def without_personal_data(
    asset: dg.AssetKey, verdicts: Mapping[Hour, HourVerdict]
) -> dg.AssetCheckResult:
    """The result of ``no_personal_data`` for the hours of a run; it names fields, never a value."""
    fields: Counter[str] = Counter()
    for verdict in verdicts.values():
        fields.update(verdict.fields)
    failing = {hour: sum(it.fields.values()) for hour, it in verdicts.items() if it.fields}
    what = "values of persons that must not leave"
    result = _result(asset, NO_PERSONAL_DATA, what, len(verdicts), failing)
    if not failing:
        return result
    named = [f"{name}: {number:,}" for name, number in fields.most_common(_HOURS_NAMED)]
    return result._replace(
        description=f"{result.description}. Fields: {', '.join(named)}",
        metadata={**result.metadata, "fields": dg.JsonMetadataValue(dict(fields))},
    )


def acknowledged(
    asset: dg.AssetKey, deliveries: Mapping[Hour, DeliveryCounts], deferred: Sequence[Hour] = ()
) -> dg.AssetCheckResult:
    """The result of ``every_event_acknowledged`` for the hours of a run.

    Args:
        asset: the results of the event store.
        deliveries: the counts of the hours that the event store has received.
        deferred: the hours that it will receive in runs of its own.
    """
    withheld = {
        hour: sum(it.withheld.values()) for hour, it in deliveries.items() if it.is_withheld
    }
    hours = len(deliveries) + len(deferred)
    if withheld:
        return _result(asset, EVERY_EVENT_ACKNOWLEDGED, "withheld events", hours, withheld)
    if deferred:
        return _deferred(asset, hours, deferred)
    outstanding = {hour: it.outstanding for hour, it in deliveries.items() if it.outstanding}
    refused = {
        hour: it.rejected + sum(it.withheld.values())
        for hour, it in deliveries.items()
        if it.rejected or it.withheld
    }
    if refused and not outstanding:
        return _result(
            asset,
            EVERY_EVENT_ACKNOWLEDGED,
            _refused(deliveries.values()),
            hours,
            refused,
            severity=dg.AssetCheckSeverity.WARN,
        )
    return _result(asset, EVERY_EVENT_ACKNOWLEDGED, "outstanding events", hours, outstanding)


def _refused(deliveries: Iterable[DeliveryCounts]) -> str:
    total = sum(deliveries, DeliveryCounts())
    kinds = (("rejected", total.rejected), ("withheld", total.withheld))
    return " and ".join(kind for kind, number in kinds if number) + " events"


def _deferred(asset: dg.AssetKey, hours: int, deferred: Sequence[Hour]) -> dg.AssetCheckResult:
    named = deferred[:_HOURS_NAMED]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=EVERY_EVENT_ACKNOWLEDGED,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"deferred to runs of its own: {len(deferred):,} of {plural(hours, 'hour')}, "
        + ", ".join(map(str, named)),
        metadata={"hours": hours, "deferred hours": [hour.key for hour in named]},
    )


def _result(
    asset: dg.AssetKey,
    name: str,
    what: str,
    hours: int,
    failing: Mapping[Hour, int],
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    """A result that passes when no hour is failing.

    Args:
        asset: the asset.
        name: the name of the check.
        what: what is counted.
        hours: the number of hours of the run.
        failing: the count of each hour that does not pass.
        severity: of a result that does not pass.
    """
    named = ", ".join(f"{hour}: {count:,}" for hour, count in list(failing.items())[:_HOURS_NAMED])
    description = f"{what} in {len(failing):,} of {plural(hours, 'hour')}: {named}"
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=not failing,
        severity=severity,
        description=description if failing else None,
        metadata={
            "hours": hours,
            what: sum(failing.values()),
            "failing hours": [hour.key for hour in list(failing)[:_HOURS_NAMED]],
        },
    )
