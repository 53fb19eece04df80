"""External assets: the tables of Moodle before the chain, and the event stores behind it.

Dagster does not make them; they are in the asset graph so that the lineage begins and ends where
the data does. The tables are documentation only. An event store is *observed* at the end of each
run that sends to it: one observation for the run, whatever the number of its hours.
https://docs.dagster.io/guides/build/assets/external-assets

With every materialization Dagster stores two tags for each parent of the asset. So all tables
that are looked up are parents of one external asset, ``records``, which is the only one of them
that ``expanded_log`` depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg

from caliper_dagster.config.event_stores import EventStoreDefinition
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import EMISSION_RESULTS
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.dagster.tags import asset_tags

MOODLE = "moodle"
EVENT_STORE = "event_store"

LOG_TABLE = "logstore_standard_log"
_RECORDS = "records"
_ACTIVITIES = "activities"


class _Source(NamedTuple):
    """What is known of a table: what a row is, in words, and whether it is about a person."""

    row: str
    personal: bool = False


TABLES: Mapping[str, _Source] = {
    "config": _Source("one setting of the site, such as its Moodle release"),
    "config_plugins": _Source("one setting of a plugin, such as its version"),
    "modules": _Source("one type of activity that is installed, such as quiz"),
    "user": _Source("one account", personal=True),
    "course": _Source("one course; the front page is course 1"),
    "course_categories": _Source("one category of courses"),
    "course_sections": _Source("one section of a course"),
    "course_modules": _Source("one activity in its place in a course"),
    "context": _Source("one place in which roles and rights apply"),
    "role": _Source("one role, such as student"),
    "role_assignments": _Source("one role of an account in a context", personal=True),
    "enrol": _Source("one way in which accounts are enrolled in a course"),
    "user_enrolments": _Source("one enrolment of an account", personal=True),
    "groups": _Source("one group of a course"),
    "groups_members": _Source("one account in a group", personal=True),
    "grade_items": _Source("one thing that is graded"),
    "grade_items_history": _Source("one earlier state of a thing that is graded"),
    "grade_grades": _Source("one grade of an account", personal=True),
    "grade_grades_history": _Source("one earlier state of a grade", personal=True),
    "scale": _Source("one scale of words for grades"),
    "competency": _Source("one competency"),
    "competency_coursecomp": _Source("one competency of a course"),
    "competency_modulecomp": _Source("one competency of an activity"),
}
"""The tables that are looked up for log rows of any kind; ``expander.required_tables`` requires
them."""


def moodle_key(settings: Settings, name: str) -> dg.AssetKey:
    """The key of a table of a site's Moodle."""
    return dg.AssetKey([*settings.prefix, MOODLE, name])


def log_key(settings: Settings) -> dg.AssetKey:
    """The key of the log, which ``moodle_log`` is read from."""
    return moodle_key(settings, LOG_TABLE)


def records_key(settings: Settings) -> dg.AssetKey:
    """The key of all the records that log rows refer to."""
    return moodle_key(settings, _RECORDS)


def event_store_key(settings: Settings, store: EventStoreDefinition) -> dg.AssetKey:
    """The key of an event store: ``event_store``, with its name if it is one of several."""
    suffix = store.results.name.removeprefix(EMISSION_RESULTS.name)
    return dg.AssetKey([*settings.prefix, EVENT_STORE + suffix])


def moodle_assets(settings: Settings) -> list[dg.AssetSpec]:
    """The tables of a site's Moodle that the chain reads."""
    tables = [
        _table(settings, name, source.row, personal=source.personal)
        for name, source in TABLES.items()
    ]
    activities = dg.AssetSpec(
        moodle_key(settings, _ACTIVITIES),
        group_name=settings.group(MOODLE),
        kinds={"table"},
        tags=asset_tags(settings, personal=True),
        description="The tables of the installed activities and of other things that events are "
        "about.\n\n"
        "Each activity has a table of its name (`quiz`, `assign`, …) and others for what persons "
        "do in it: attempts, submissions, posts. Which of them are read depends on the events in "
        "the log; `caliper-dagster doctor` lists those that the account cannot read.",
    )
    log = dg.AssetSpec(
        log_key(settings),
        group_name=settings.group(MOODLE),
        kinds={"table"},
        tags=asset_tags(settings, personal=True),
        metadata={
            "dagster/table_name": settings.moodle_log_table
            or f"{settings.moodle_db_prefix}{LOG_TABLE}"
        },
        description=f"Moodle's table {LOG_TABLE}: a row is one event, written by Moodle's standard "
        "log store.\n\n"
        "It is read in the database that `MOODLE_LOG_DB_URL` names, which may be another one than "
        "that of all other tables (`MOODLE_DB_URL`), and under the name in `MOODLE_LOG_TABLE`, if "
        "these are set: then Moodle's external log store writes it.",
    )
    records = dg.AssetSpec(
        records_key(settings),
        deps=[*(table.key for table in tables), activities.key],
        group_name=settings.group(MOODLE),
        kinds={"sql"},
        tags=asset_tags(settings, personal=True),
        description="The records that log rows refer to, in all tables that are looked up.\n\n"
        "They are read in the database of `MOODLE_DB_URL`, by sets of keys, and only as far as the "
        "log rows of a run refer to them. Where the log is in another database, log rows that are "
        "newer than this one wait for it.",
    )
    return [log, *tables, activities, records]


def _table(settings: Settings, name: str, row: str, *, personal: bool) -> dg.AssetSpec:
    return dg.AssetSpec(
        moodle_key(settings, name),
        group_name=settings.group(MOODLE),
        kinds={"table"},
        tags=asset_tags(settings, personal=personal),
        metadata={"dagster/table_name": f"{settings.moodle_db_prefix}{name}"},
        description=f"Moodle's table {name}: a row is {row}.",
    )


def event_store_assets(
    settings: Settings, results: Mapping[EventStoreDefinition, dg.AssetKey]
) -> list[dg.AssetSpec]:
    """The event stores of a site.

    Args:
        settings: of the site.
        results: the key of the emission results of each event store.
    """
    return [
        dg.AssetSpec(
            event_store_key(settings, store),
            deps=[key],
            group_name=settings.group("caliper"),
            kinds={"json" if store.is_folder else "http"},
            tags=asset_tags(settings, personal=True),
            description=_event_store_description(store),
            metadata={"caliper version": store.caliper_version},
        )
        for store, key in results.items()
    ]


def _event_store_description(store: EventStoreDefinition) -> str:
    place = (
        f"Its settings are below `{store.name}` in the file that `CALIPER_EVENT_STORES` names."
        if store.name
        else "Its address is the setting `CALIPER_EVENT_STORE_URL`."
    )
    return (
        f"The {store.label}, {_way(store)}.\n\n"
        "An observation is made at the end of each run that sends to it: what it has "
        "acknowledged of the hours of the run, and how many hours it has yet to receive. "
        f"{place}"
    )


def _way(store: EventStoreDefinition) -> str:
    if store.is_folder:
        return "a folder, in which a file of NDJSON holds the events of an hour"
    return "which receives the events by HTTP"


def observation(
    key: dg.AssetKey,
    deliveries: Mapping[Hour, DeliveryCounts],
    missing: Iterable[Hour],
    backlog: Mapping[Hour, int],
) -> dg.AssetObservation:
    """What a run has learned of an event store.

    Args:
        key: of the event store.
        deliveries: the counts of the hours that it has received.
        missing: hours of the run that it has not received.
        backlog: the hours that runs of their own will send, with the time in nanoseconds since
            which each waits (the mark of `Backlog`).
    """
    total = sum(deliveries.values(), DeliveryCounts())
    waiting = {*missing, *backlog}
    metadata: dict[str, dg.MetadataValue] = {
        "hours received": dg.MetadataValue.int(len(deliveries)),
        "events acknowledged": dg.MetadataValue.int(total.acknowledged),
        "events sent": dg.MetadataValue.int(total.sent),
        "events rejected": dg.MetadataValue.int(total.rejected),
        "backlog (hours)": dg.MetadataValue.int(len(waiting)),
    }
    if deliveries:
        metadata["newest hour received"] = dg.MetadataValue.text(str(max(deliveries)))
    if waiting:
        metadata["oldest hour in the backlog"] = dg.MetadataValue.text(str(min(waiting)))
    if backlog:
        since = datetime.fromtimestamp(min(backlog.values()) / 1e9, UTC)
        metadata["waiting since"] = dg.MetadataValue.timestamp(since)
    return dg.AssetObservation(key, metadata=metadata)
