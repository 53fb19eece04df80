"""Definitions: what Dagster loads.

Here the parts are put together, and nothing else happens: nothing is opened, no setting is needed.
``build_definitions`` is the single point of assembly; tests, the command line and other projects
call it with resources of their own. https://docs.dagster.io/guides/build/projects
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import all_sites
from caliper_dagster.dagster.assets import build_assets
from caliper_dagster.dagster.jobs import chain_job, hourly_schedule, resend_job
from caliper_dagster.dagster.resources import resources as default_resources
from caliper_dagster.dagster.sensors.backlog import backlog_sensor
from caliper_dagster.dagster.sensors.late_rows import late_rows_sensor


def build_definitions(
    settings: Settings | None = None, *, resources: Mapping[str, object] | None = None
) -> dg.Definitions:
    """The definitions of a Moodle site and its event stores, or of all sites.

    Args:
        settings: of the site that they are built for; all that the environment tells of when not
            given. Secrets are taken from the environment when a step runs, whatever is given here.
        resources: replace the resources of these names (see ``resources.resources``), of each site.

    Raises:
        ConfigurationError: a setting in the environment, or a file of sites or event stores, is of
            the wrong form.
    """
    sites = (settings,) if settings else all_sites()
    return dg.Definitions.merge(*(_of_one(site, resources or {}) for site in sites))


def _of_one(settings: Settings, replaced: Mapping[str, object]) -> dg.Definitions:
    assets = build_assets(settings)
    chain = chain_job(assets, settings)
    sensors = [late_rows_sensor(chain, assets, settings)]
    if len(event_stores(settings)) > 1:
        sensors.append(backlog_sensor(chain, assets, settings))
    given = {**default_resources(settings), **replaced}
    return dg.Definitions(
        assets=assets,
        jobs=[chain, resend_job(assets, settings)],
        schedules=[hourly_schedule(chain, settings)],
        sensors=sensors,
        resources={settings.site_name(name): resource for name, resource in given.items()},
        # Steps of one run pass files to each other; a process for each would only start slowly.
        executor=dg.in_process_executor,
    )
