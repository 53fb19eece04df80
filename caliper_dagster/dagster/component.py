"""The component ``caliper_dagster.MoodleSite``: a site in the project of a host.

``config.component`` has the attributes and what becomes of them; here they meet Dagster.
https://docs.dagster.io/guides/build/components
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel

from caliper_dagster.config.component import attributes_model, settings_from
from caliper_dagster.config.settings import Settings
from caliper_dagster.dagster.build import build_definitions

_DEFS_YAML = """\
type: {type_name}

attributes:
  # The keys of the site's assets begin with this, and so do the names of its jobs and sensors.
  asset_key_prefix: {name}

  # SQLAlchemy URL of Moodle's database; an account that may only SELECT is enough.
  moodle_db_url: "{{{{ env.{variable}_MOODLE_DB_URL }}}}"
  moodle_wwwroot: https://moodle.example.org

  event_store:
    url: https://events.example.org/caliper
    api_key: "{{{{ env.{variable}_EVENT_STORE_KEY }}}}"

  # The first hour, UTC.
  start: {start:%Y-%m-%d}T00:00Z

  # Switch the schedule and the sensors on; otherwise they are switched on in the web UI.
  automation: false

requirements:
  env:
    - {variable}_MOODLE_DB_URL
    - {variable}_EVENT_STORE_KEY
"""


class MoodleSiteScaffolder(dg.Scaffolder[Any]):
    """Writes a ``defs.yaml`` with what every site needs."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the file, or a further document into it.

        Args:
            request: of ``dg scaffold defs``; the site gets the name of the folder.

        Raises:
            DagsterInvariantViolationError: Python is asked for.
        """
        if request.scaffold_format != "yaml":
            raise dg.DagsterInvariantViolationError(
                "caliper_dagster.MoodleSite is scaffolded as YAML: leave --format out."
            )
        target = request.target_path
        folder = target.parent if request.append else target
        name = re.sub(r"[^A-Za-z0-9]+", "_", folder.name)
        text = _DEFS_YAML.format(
            type_name=request.type_name,
            name=name,
            variable=name.upper(),
            start=datetime.now(UTC),
        )
        if request.append:
            with target.open("a", encoding="utf-8") as file:
                file.write(f"---\n{text}")
        else:
            (target / "defs.yaml").write_text(text, encoding="utf-8")


@dg.scaffold_with(MoodleSiteScaffolder)
class MoodleSite(dg.Component, dg.Resolvable):
    """Moodle's log as 1EdTech Caliper events, hour by hour, sent to event stores.

    One component is one Moodle site: four hourly assets (`moodle_log`, `expanded_log`,
    `caliper_events`, `emission_results`) with their checks, the tables of Moodle and the event
    store as external assets, jobs, a schedule, and sensors for rows that come late.

    Attributes are the settings of `caliper-dagster` by their keys: what the environment names
    `CALIPER_SCHEDULE_LAG` is `schedule_lag` here. Nothing is inherited from the environment. A
    secret is `"{{ env.NAME }}"`, or its attribute with `_file` at its end names a file. Paths are
    absolute, or URLs.

    Args:
        settings: of the site.
        file: the `defs.yaml` that describes it; None for a component that Python makes.
    """

    def __init__(self, settings: Settings, file: Path | None = None) -> None:
        self.settings, self.file = settings, file

    @classmethod
    def model(cls) -> type[BaseModel]:
        """The schema of the attributes."""
        return attributes_model()

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> MoodleSite:
        """The component of a ``defs.yaml``.

        Args:
            context: replaces templates.
            model: the attributes.

        Raises:
            ConfigurationError: an attribute is missing or wrong; the sentence repeats no value.
        """
        attributes = model.model_dump(exclude_unset=True)
        positions = context.source_position_tree
        file = Path(positions.position.filename) if positions else None
        source = str(file) if file else "The component caliper_dagster.MoodleSite"
        return cls(settings_from(attributes, context.resolve_value, source), file)

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What lists of components say."""
        return dg.ComponentTypeSpec(
            tags=["moodle", "caliper", "1edtech"],
            produces=["asset", "asset_check", "job", "schedule", "sensor", "resource"],
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of the site.

        Args:
            context: of Dagster; not used.
        """
        return build_definitions(self.settings)
