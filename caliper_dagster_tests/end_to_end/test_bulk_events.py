"""A run's events, written in bulk to SQLite; `.ci/newest-dagster` runs this with another Dagster.

Nothing here needs dagster-postgres, whose versions belong to one patch of Dagster.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from caliper_dagster.cli.main import main
from caliper_dagster.dagster.instance.bulk_sqlite import SqliteEvents, SqliteStorage
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
    sample_installation,
)

PLANNED = {"ASSET_MATERIALIZATION_PLANNED", "ASSET_CHECK_EVALUATION_PLANNED"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SampleInstallation]:
    with sample_installation(tmp_path) as site, environment(dict(site.environment)):
        yield site


def batches(events: list[dg.EventLogEntry]) -> Iterator[list[dg.EventLogEntry]]:
    """As Dagster hands them over: all that is planned together, what is done by step."""

    def batch(event: dg.EventLogEntry) -> object:
        kind = event.get_dagster_event().event_type_value if event.is_dagster_event else ""
        if kind in PLANNED:
            return "planned"
        return event.step_key if kind == "ASSET_MATERIALIZATION" else id(event)

    return (list(together) for _, together in groupby(events, batch))


def store(storage: EventLogStorage, events: list[dg.EventLogEntry]) -> None:
    for together in batches(events):
        if len(together) == 1:
            storage.store_event(together[0])
        else:
            storage.store_event_batch(together)


def rows(file: Path) -> dict[str, list[tuple[object, ...]]]:
    metadata, engine = sa.MetaData(), sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
    metadata.reflect(engine)
    with engine.connect() as connection:
        return {
            table.name: sorted(
                connection.execute(
                    sa.select(*(c for c in table.columns if c.name != "create_timestamp"))
                ).tuples(),
                key=repr,
            )
            for table in metadata.sorted_tables
            if table.name.startswith(("event_logs", "asset_"))
        }


def test_sqlite_holds_the_same_rows(site: SampleInstallation, tmp_path: Path) -> None:
    run_id = site.run(CHAIN_JOB, HOURS).run_id
    with open_instance() as instance:
        assert isinstance(instance.event_log_storage, SqliteEvents)
        events = list(instance.all_logs(run_id))
    store(DagsterSqliteStorage(str(tmp_path / "stock")).event_log_storage, events)
    kept = SqliteStorage(str(tmp_path / "ours"))
    store(kept.event_log_storage, events)
    kept.dispose()
    for shard in ("index", run_id):
        stock, ours = (
            rows(tmp_path / name / "history" / "runs" / f"{shard}.db") for name in ("stock", "ours")
        )
        assert ours == stock
    assert len(ours["event_logs"]) == len(events)


def test_a_slow_run_says_why(
    site: SampleInstallation,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare = SqlEventLogStorage.prepare_insert_event
    monkeypatch.setattr(
        SqlEventLogStorage,
        "prepare_insert_event",
        lambda self, event: prepare(self, event).values(step_key="another"),
    )
    run_id = site.run(CHAIN_JOB, HOURS).run_id
    with open_instance() as instance:
        log = [entry.user_message for entry in instance.all_logs(run_id)]
    told = [message for message in log if "one by one" in message]
    assert len(told) == 1
    assert told[0].startswith(f"Dagster {dg.__version__} stores the events of each hour one by one")
    capsys.readouterr()
    assert main(["resend", "--from", str(HOURS.start), "--to", str(HOURS.end)]) == 0
    assert capsys.readouterr().err.splitlines()[0] == told[0]
    main(["doctor"])
    assert f"WARN    Dagster           {told[0]}" in capsys.readouterr().out.splitlines()
