"""Definitions: what Dagster loads.

Here the parts are put together, and nothing else happens: nothing is opened, no setting is needed.
``build_definitions`` is the single point of assembly; tests, the command line and other projects
call it with resources of their own. https://docs.dagster.io/guides/build/projects
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from caliper_dagster.assets import build_assets
from caliper_dagster.automation import chain_job, hourly_schedule, resend_job
from caliper_dagster.catch_up import catch_up_sensor
from caliper_dagster.event_stores import event_stores
from caliper_dagster.resources import resources as default_resources
from caliper_dagster.sensors import late_rows_sensor
from caliper_dagster.settings import Settings


def build_definitions(
    settings: Settings | None = None,
    *,
    prefix: Sequence[str] = (),
    resources: Mapping[str, object] | None = None,
) -> dg.Definitions:
    """The definitions of one Moodle site and its event stores.

    Args:
        settings: what they are built for; the environment's when not given. Secrets are taken from
            the environment when a step runs, whatever is given here.
        prefix: what comes before the names of assets and jobs, for projects with several sites.
        resources: replace the resources of these names (see ``resources.resources``).

    Raises:
        ConfigurationError: a setting in the environment, or the file of event stores, is of the
            wrong form.
    """
    settings = settings or Settings.from_environment()
    assets = build_assets(settings, prefix)
    chain = chain_job(assets, prefix)
    sensors = [late_rows_sensor(chain, assets, settings, prefix)]
    if len(event_stores(settings)) > 1:
        sensors.append(catch_up_sensor(chain, assets, settings, prefix))
    return dg.Definitions(
        assets=assets,
        jobs=[chain, resend_job(assets, prefix)],
        schedules=[hourly_schedule(chain, settings)],
        sensors=sensors,
        resources={**default_resources(settings), **(resources or {})},
        # Steps of one run pass files to each other; a process for each would only start slowly.
        executor=dg.in_process_executor,
    )


defs = build_definitions()
