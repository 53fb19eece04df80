"""The filters of the event stores: which hold, and whether Moodle tells what they need."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.event_stores import EventStoreDefinition, event_stores
from caliper_dagster.config.patterns import Patterns
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.wording import plural
from caliper_dagster.delivery.row_filter import RowRules, grants_missing
from caliper_dagster.operations.doctor.findings import Finding, broken, fine

_SUBJECT = "Filter"


def filters(settings: Settings) -> Iterator[Finding]:
    """The finding about the filter of each event store that has one."""
    for store in event_stores(settings):
        if rule_names(store):
            yield _missing(settings, store) or _filter(settings, store)


def rule_names(store: EventStoreDefinition) -> tuple[str, ...]:
    """The names of the rules of an event store, of rows and of events."""
    of_events = ("moodle_events", "caliper_types")
    set_ = (name for name in of_events if getattr(store.filter, name) != Patterns())
    return (*store.filter.rows.rules, *set_)


def _missing(settings: Settings, store: EventStoreDefinition) -> Finding | None:
    """What is wrong if the account may not read what the filter needs."""
    if not store.filter.rows.reads_moodle:
        return None
    with open_moodle(settings) as database:
        missing = grants_missing(store.filter.rows, database)
        if not missing:
            return None
        tables = ", ".join(database.prefix + table for table in missing)
        return broken(
            _SUBJECT,
            f"the account cannot read {tables}, which the filter of the {store.label} needs: runs "
            "stop.",
            " ".join(database.grants(missing)),
        )


def _filter(settings: Settings, store: EventStoreDefinition) -> Finding:
    try:
        rules = RowRules.read(store, partial(open_moodle, settings))
    except ConfigurationError as error:
        return broken(_SUBJECT, str(error))
    persons = _persons(rules) if rules else ""
    return fine(_SUBJECT, f"{store.label}: {', '.join(rule_names(store))}{persons}")


def _persons(rules: RowRules) -> str:
    """How many persons are meant by the rules about persons."""
    found = {"opted out": rules.opted_out, "opted in": rules.opted_in}
    named = [
        f"{plural(len(users), 'person')} {what}"
        for what, users in found.items()
        if users is not None
    ]
    return f" ({', '.join(named)})" if named else ""
