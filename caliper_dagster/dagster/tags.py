"""Tags on runs and names that Dagster stores: their strings never change."""

from __future__ import annotations

from collections.abc import Mapping

from caliper_dagster.config.settings import Settings

LATE_ROWS_SENSOR = "late_rows"
"""The name of the sensor that watches the log; Dagster keeps its switch and its cursor by it."""

BACKLOG_SENSOR = "event_stores_catch_up"
"""The name of the sensor that sends the backlogs of event stores; Dagster keeps its switch and its
cursor by this name."""

SITE_TAG = "caliper_dagster/site"
"""On every run of one of several sites, with the name of the site."""

REASON_TAG = "caliper_dagster/reason"
"""On a run that a sensor requested: ``late rows``, ``new rows``, ``unfinished``, ``left over``."""

LATE_ROWS_TAG = "caliper_dagster/late_rows"
"""On a run for late rows, with the name of its site (``true`` for a single site). The concurrency
limit in ``dagster.yaml`` allows one such run per site."""

RESEND_ALL_TAG = "caliper_dagster/resend_all"
"""On a run, with the value ``true``: the same as ``resend_all`` in the run config."""

SEND_TAG = "caliper_dagster/send"
"""On a run, with a value of ``emitter.Send``: which events of its hours are sent."""

BACKLOG_TAG = "caliper_dagster/event_store"
"""On a run that sends the backlog of one event store, with the name of that event store."""

FRESH_TAG = "caliper_dagster/fresh"
"""On a run, with the value ``true``: the same as ``fresh`` in the run config."""

COMMAND_TAG = "caliper_dagster/command"
"""On a run of the command line: the command, such as ``backfill`` or ``resend --rejected``."""

HOURS_TAG = "caliper_dagster/hours"
"""On a run of the command line: its hours, for a person. The web UI shows this tag in its lists; it
does not show Dagster's own tags of the range."""

PII_TAGS = {"pii": ""}
"""On an asset with personal data; Dagster shows a tag with an empty value as its key."""


def asset_tags(settings: Settings, *, personal: bool) -> dict[str, str]:
    """The tags of an asset of a site.

    Args:
        settings: of the site; the project of a host may add tags.
        personal: whether the asset has personal data.
    """
    of_host = dict(settings.host.tags) if settings.host else {}
    return {**of_host, **(PII_TAGS if personal else {})}


_HIDDEN = ".dagster/"
"""The web UI does not show tags whose names begin like this."""

PROCESS_TAG = f"{_HIDDEN}caliper_dagster/process"
"""On a run of the command line: the process that executes it (``core.process_identity``)."""

BACKFILL_TAG = f"{_HIDDEN}caliper_dagster/backfill"
"""On a run of the command line: its backfill, the same for the same command and settings."""

BEGUN_TAG = f"{_HIDDEN}caliper_dagster/begun"
"""On a run of the command line: Unix time at which its backfill began."""


def read_tag(tags: Mapping[str, str], name: str) -> str:
    """The value of a hidden tag of a run; empty if the run has none.

    Earlier releases wrote these tags without the prefix that hides them.
    """
    return tags.get(name) or tags.get(shown_name(name), "")


def shown_name(name: str) -> str:
    """The name that earlier releases gave to a hidden tag."""
    return name.removeprefix(_HIDDEN)
