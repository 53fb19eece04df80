"""An installation on the sample site: its database, an event store and a Dagster home."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.dagster.build import build_definitions, project_definitions
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.dagster.tags import BACKLOG_SENSOR
from caliper_dagster.embedded.arrivals import Arrivals, arrivals
from caliper_dagster.embedded.event_store import running
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter import Ledger
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.resources import named_resources

END = Hour.from_key("2026-03-02-12:00")
HOURS = HourRange(END + -4, END)
KEY = "key-of-the-tests"


@dataclass(frozen=True)
class SampleInstallation:
    """Where it keeps its files, and its settings; they are set in this process, too."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        return Settings.from_environment()

    @property
    def storage(self) -> PartitionStore:
        return PartitionStore(self.settings.storage_url())

    def arrived(self) -> Arrivals:
        return arrivals(self.folder / "event_store.sqlite")

    def run(
        self, job: str, hours: HourRange, run_config: Mapping[str, object] | None = None
    ) -> dg.ExecuteInProcessResult:
        """One run over the hours, as the daemon would start it."""
        with open_instance() as instance:
            return (
                project_definitions()
                .resolve_job_def(job)
                .execute_in_process(
                    instance=instance,
                    raise_on_error=False,
                    run_config=run_config,
                    tags=range_tags(hours),
                )
            )

    def send_backlog(self, event_store: str, hours: HourRange) -> dg.ExecuteInProcessResult:
        """The run that the sensor of a backlog asks for when these hours wait for an event store.

        Args:
            event_store: its name in the ledger.
            hours: the hours, which are stored.
        """
        settings, definitions = self.settings, build_definitions()
        with Ledger(settings.ledger()) as ledger:
            ledger.backlog(settings.identity().site_id).add(event_store, hours)
        (sensor,) = (it for it in definitions.sensors or [] if it.name == BACKLOG_SENSOR)
        with open_instance() as instance:
            with dg.build_sensor_context(
                instance=instance, definitions=definitions, resources=named_resources(settings)
            ) as context:
                (request,) = sensor.evaluate_tick(context).run_requests or []
            return definitions.resolve_job_def(CHAIN_JOB).execute_in_process(
                instance=instance,
                raise_on_error=False,
                tags=request.tags,
                asset_selection=list(request.asset_selection or []),
            )


@contextmanager
def sample_installation(folder: Path, students: int = 30) -> Iterator[SampleInstallation]:
    """The sample site of a few hours, an event store that answers, and the settings for both."""
    sample = folder / "moodle.sqlite"
    summary = write_sample(sample, students=students, hours=len(HOURS), seed=7, end=END)
    with running(folder / "event_store.sqlite", KEY) as url:
        settings = {
            "MOODLE_DB_URL": f"sqlite:///{sample}",
            "MOODLE_WWWROOT": summary.wwwroot,
            "CALIPER_EVENT_STORE_URL": url,
            "CALIPER_API_KEY": KEY,
            "CALIPER_START": "2026-03-01",
            "CALIPER_ATTEMPTS": "2",
            "DAGSTER_HOME": str(folder / "dagster"),
        }
        with environment(settings):
            yield SampleInstallation(folder, settings)


def copy_site(source: str, target: str) -> None:
    """The tables of a sample site, into an empty database on a server."""
    engines = sa.create_engine(source), sa.create_engine(target, poolclass=sa.NullPool)
    found, wanted = sa.MetaData(), sa.MetaData()
    found.reflect(engines[0])
    for table in found.tables.values():
        key = [column.name for column in table.primary_key]
        sa.Table(
            table.name,
            wanted,
            *(
                sa.Column(
                    column.name,
                    sa.BigInteger()
                    if isinstance(column.type, sa.Integer)
                    else sa.Text()
                    if isinstance(column.type, sa.String)
                    else sa.Double(),
                    primary_key=column.name in key,
                )
                for column in table.columns
            ),
        )
    wanted.create_all(engines[1])
    with engines[0].connect() as read, engines[1].begin() as write:
        for name, table in wanted.tables.items():
            rows = [dict(row) for row in read.execute(sa.select(found.tables[name])).mappings()]
            if rows:
                write.execute(sa.insert(table), rows)
    for engine in engines:
        engine.dispose()
