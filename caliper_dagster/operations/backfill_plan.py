"""Plans of backfills: which hours remain after an interruption, and in which order they run.

A backfill is identified by a hash of its command and settings, which its runs carry as a tag, so
Dagster's run records are the only state. ``operations.backfill`` executes the plan.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from urllib.parse import urlsplit

import dagster as dg

from caliper_dagster.config.declaration import Reference
from caliper_dagster.config.event_store_settings import (
    CREDENTIALS,
    FORMERLY_OF_SITE,
    EventStoreSettings,
)
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings, declared
from caliper_dagster.config.value_checks import listed
from caliper_dagster.config.yaml_file import read_file
from caliper_dagster.core.hours import HourRange, groups
from caliper_dagster.dagster.partitions import range_of_tags
from caliper_dagster.dagster.tags import BACKFILL_TAG, BEGUN_TAG, read_tag, shown_name

_MIN_RUNS_PER_PROCESS = 4
_MIN_HOURS_PER_RUN = 24

_IRRELEVANT = {
    *("hours_per_run", "start", "automation", "send_immediately", "attempts"),
    *("code_location", "owners", "checks", "alerts"),
    *("keep_partitions", "keep_superseded_batches", "keep_runs", "keep_compute_logs", "prune_hour"),
    "erase_deleted_users",
}
"""Settings that change neither events nor their destinations."""

_DIGEST_NAMES = {"url": "event_store_url", "timeout": "event_store_timeout"}
"""Names of settings in the digest, where they differ: unfinished backfills are found by it."""

_CREDENTIALS = {declared()[name].key for name in CREDENTIALS} - {"api_key"} | {"oauth_client_auth"}
"""Settings of how an event store is authorized to; another credential makes no other backfill."""

_ADDED: Mapping[str, object] = {
    "allowed_fields": (),
    "event_filter": None,
    "host": None,
    "moodle_log_db_url": None,
    "moodle_log_table": None,
    "moodle_replica_wait": 24,
    "privacy": "identified",
    "pseudonym_base": None,
    "pseudonym_key": None,
    "resend_changed": False,
    "shape": "canonical",
    "site_id": None,
    "storage_key": None,
    "stored_addresses": "whole",
    "stored_names": True,
    "stored_texts": True,
    "time_precision": "second",
    "withhold_invalid": True,
}
"""Settings of later releases with their defaults, which are not part of the digest: a backfill that
the release before has begun goes on."""


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """The runs of a backfill.

    Attributes:
        remaining: the hours of each run to make, in this order.
        completed: the hours that were completed before the backfill was interrupted.
        tags: identify the backfill on its runs.
    """

    remaining: tuple[HourRange, ...]
    completed: tuple[HourRange, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def plan_backfill(
    instance: dg.DagsterInstance,
    settings: Settings,
    hours: HourRange,
    *,
    fresh: bool = False,
    again: bool = False,
    newest_first: bool = False,
    processes: int = 1,
) -> BackfillPlan:
    """Plan the backfill of a range of hours.

    An interrupted backfill continues. A completed one, or one whose settings produce other events,
    starts again.

    Args:
        instance: records the runs.
        settings: of the site.
        hours: all hours of the backfill.
        fresh: whether every row is expanded again.
        again: start again in any case.
        newest_first: run the newest hours first.
        processes: the number of runs at the same time.
    """
    name = _name(settings, hours, fresh)
    runs = [
        run
        for tag in (BACKFILL_TAG, shown_name(BACKFILL_TAG))
        for run in instance.get_runs(dg.RunsFilter(tags={tag: name}))
    ]
    begun = max((read_tag(run.tags, BEGUN_TAG) for run in runs), default="")
    succeeded = [
        range_of_tags(run.tags)
        for run in runs
        if read_tag(run.tags, BEGUN_TAG) == begun and run.status == dg.DagsterRunStatus.SUCCESS
    ]
    completed = {hour for run_hours in succeeded for hour in run_hours}
    if again or len(completed) == len(hours) or not begun:
        completed, begun = set(), f"{time.time():.3f}"
    missing = [hour for hour in hours if hour not in completed]
    remaining = groups(missing, _hours_per_run(len(missing), settings.hours_per_run, processes))
    return BackfillPlan(
        remaining=tuple(remaining[::-1] if newest_first else remaining),
        completed=tuple(groups(completed, settings.hours_per_run)),
        tags={BACKFILL_TAG: name, BEGUN_TAG: begun},
    )


def _hours_per_run(hours: int, maximum: int, processes: int) -> int:
    """With several processes, small enough that each gets several runs and all end together."""
    if processes == 1:
        return maximum
    return min(maximum, max(_MIN_HOURS_PER_RUN, ceil(hours / (processes * _MIN_RUNS_PER_PROCESS))))


def _name(settings: Settings, hours: HourRange, fresh: bool) -> str:
    """A digest of hours, settings and recipe files, without secrets."""
    relevant = {
        name: repr(value) for name, value in _without_secrets(settings) if name not in _IRRELEVANT
    }
    address = urlsplit(settings.event_store.address() or "")
    files_named = (settings.recipes, settings.event_stores, settings.event_store.event_filter)
    names = listed(",".join(name for name in files_named if name))
    keys = (store.pseudonym_keys() for store in event_stores(settings))
    schedules = [repr(one.schedule()) for one in keys if one is not None]
    files = [*map(read_file, names), *schedules]
    parts = [str(hours), str(fresh), str(address.hostname), address.path, *files]
    text = "\n".join([*parts, *(f"{name}={value}" for name, value in sorted(relevant.items()))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_secrets(settings: Settings) -> Iterator[tuple[str, object]]:
    """Name and value of all settings, except secrets that are set."""
    secrets = {setting.key: setting for setting in declared().values() if setting.secret}
    for key, value in [*settings, *settings.event_store]:
        if key in _CREDENTIALS or isinstance(value, EventStoreSettings):
            continue
        known = FORMERLY_OF_SITE.get(key) if value is None else value
        if key in secrets and isinstance(value, Reference):
            known = value.value(secrets[key].variable)
        is_hidden = key in secrets and known is not None
        if not is_hidden and not _is_added_default(key, known):
            yield _DIGEST_NAMES.get(key, key), known


def _is_added_default(key: str, value: object) -> bool:
    return key in _ADDED and value == _ADDED[key]
