"""The definitions that Dagster loads.

``build_definitions`` is the only place that combines assets, jobs, schedule, sensors and resources;
tests, the command line and other projects call it with resources of their own. It opens nothing and
needs no setting. What it returns can be merged with the definitions of any project: it has no
executor, and its resources have names of their own. ``project_definitions`` adds what a project of
nothing else has. https://docs.dagster.io/guides/build/projects
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import all_sites
from caliper_dagster.dagster.assets import build_assets, build_external_assets
from caliper_dagster.dagster.jobs import chain_job, hourly_schedule, resend_job
from caliper_dagster.dagster.persons import persons_definitions
from caliper_dagster.dagster.resources import IO_MANAGER, closed, resource_key, warn_if_slow
from caliper_dagster.dagster.resources import resources as default_resources
from caliper_dagster.dagster.retention import RETENTION_JOB, retention_job, retention_schedules
from caliper_dagster.dagster.sensors.alerts import alerts_sensor
from caliper_dagster.dagster.sensors.backlog import backlog_sensor
from caliper_dagster.dagster.sensors.late_rows import late_rows_sensor
from caliper_dagster.dagster.standing_checks import (
    standing_checks,
    standing_job,
    standing_schedule,
    standing_sensor,
)

_AT_START = {"storage": warn_if_slow}
"""What is done when a run starts, by the name of a resource; every run uses the storage."""


def build_definitions(
    settings: Settings | None = None, *, resources: Mapping[str, object] | None = None
) -> dg.Definitions:
    """The definitions of a Moodle site and its event stores, or of all sites.

    Args:
        settings: of one site; all sites that the environment describes if omitted. Secrets are
            read from the environment when a step runs, whatever the settings contain. The job
            ``retention`` of one site does not delete records of Dagster, which may be those of
            other assets.
        resources: replace the resources of these names (see ``resources.resources``); with several
            sites, such a name begins with that of its site.

    Raises:
        ConfigurationError: a setting in the environment, or in a file of sites or event stores, is
            malformed.
    """
    sites = (settings,) if settings else all_sites()
    of_sites = [_site_definitions(site, resources or {}) for site in sites]
    of_sites += map(persons_definitions, sites)
    return dg.Definitions.merge(*of_sites, _retention(settings, sites))


def project_definitions(
    settings: Settings | None = None, *, resources: Mapping[str, object] | None = None
) -> dg.Definitions:
    """The definitions of a project in which there is nothing else.

    The steps of a run follow each other, so a process for each step would only add start-up time:
    the executor of all jobs is ``in_process``. Dagster's own I/O manager is replaced, whose folder
    a run config could set.

    Args:
        settings: see `build_definitions`.
        resources: see `build_definitions`.

    Raises:
        ConfigurationError: see `build_definitions`.
    """
    defaults = dg.Definitions(resources={"io_manager": IO_MANAGER}, executor=dg.in_process_executor)
    return dg.Definitions.merge(build_definitions(settings, resources=resources), defaults)


def _retention(only: Settings | None, sites: Sequence[Settings]) -> dg.Definitions:
    """The job for all sites; the one of a single site leaves the records of Dagster alone."""
    name = only.site_name(RETENTION_JOB) if only else RETENTION_JOB
    job = retention_job(sites, name, runs=only is None)
    return dg.Definitions(jobs=[job], schedules=retention_schedules(job, sites))


def _site_definitions(settings: Settings, replaced: Mapping[str, object]) -> dg.Definitions:
    assets = build_assets(settings)
    standing = standing_checks(settings)
    chain, checking = chain_job(assets, standing, settings), standing_job(standing, settings)
    sensors = [late_rows_sensor(chain, assets, settings), standing_sensor(checking, settings)]
    if len(event_stores(settings)) > 1:
        sensors.append(backlog_sensor(chain, assets, settings))
    telling = alerts_sensor(assets, standing, settings)
    if telling is not None:
        sensors.append(telling)
    bound: dict[str, object] = {}
    for name, default in default_resources(settings).items():
        bound[resource_key(settings, name)] = closed(
            replaced.get(settings.site_name(name), default), type(default), _AT_START.get(name)
        )
    return dg.Definitions(
        assets=[*assets, *build_external_assets(settings)],
        asset_checks=[standing],
        jobs=[chain, resend_job(assets, standing, settings), checking],
        schedules=[hourly_schedule(chain, settings), standing_schedule(checking, settings)],
        sensors=sensors,
        resources=bound,
    )
