"""Stored in bulk is stored the same: every table, row for row, beside Dagster's own storage."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pytest
import sqlalchemy as sa
from dagster import EventLogEntry
from dagster._core.storage.event_log.base import EventLogStorage
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage

from caliper_dagster.dagster.instance.bulk_postgres import PostgresEvents, PostgresStorage
from caliper_dagster.dagster.instance.bulk_sqlite import SqliteStorage
from caliper_dagster.dagster.instance.open import (
    DEFAULT_DAGSTER_YAML,
    dagster_home,
    open_instance,
)
from caliper_dagster.dagster.instance.storage import BulkPostgresEventLog
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import HOURS, sample_installation
from caliper_dagster_tests.harness.servers import Server

IN_BATCHES = {
    "ASSET_MATERIALIZATION",
    "ASSET_MATERIALIZATION_PLANNED",
    "ASSET_CHECK_EVALUATION_PLANNED",
}
Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture(scope="module", params=["success", "failure"])
def events(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Sequence[EventLogEntry]:
    """All events of a run of the chain over some hours, one that failed at its end too."""
    folder = tmp_path_factory.mktemp("site")
    with sample_installation(folder) as site:
        down = {} if request.param == "success" else {"CALIPER_EVENT_STORE_URL": "http://[::1]:9"}
        with environment(dict(site.environment) | down):
            result = site.run(CHAIN_JOB, HOURS)
            assert result.success == (request.param == "success")
            with open_instance() as instance:
                return instance.all_logs(result.run_id)


def kind_of(event: EventLogEntry) -> str:
    return event.get_dagster_event().event_type_value if event.is_dagster_event else ""


def batches(events: Sequence[EventLogEntry]) -> Iterator[list[EventLogEntry]]:
    """As Dagster hands them over: all that is planned together, what is done by step."""

    def batch(event: EventLogEntry) -> object:
        kind = kind_of(event)
        if kind not in IN_BATCHES:
            return id(event)
        return ("planned",) if kind.endswith("_PLANNED") else (kind, event.step_key)

    return (list(together) for _, together in groupby(events, batch))


def store(storage: EventLogStorage, events: Sequence[EventLogEntry]) -> None:
    for together in batches(events):
        if len(together) == 1:
            storage.store_event(together[0])
        else:
            storage.store_event_batch(together)


def rows(url: str) -> Rows:
    """What is in a database, except when a row was made by the database's own clock, and numbers
    that PostgreSQL gives to the assets: it uses up one with every event."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    found: Rows = {}
    metadata = sa.MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            left_out = {"create_timestamp", "id" if table.name == "asset_keys" else ""}
            columns = [column for column in table.columns if column.name not in left_out]
            rows = connection.execute(sa.select(*columns)).tuples().all()
            found[table.name] = sorted(map(tuple, rows), key=repr)
    return found


def of_events(found: Rows) -> Rows:
    wanted = ("event_logs", "asset_keys", "asset_event_tags", "asset_check_executions")
    return {name: found[name] for name in wanted}


def test_postgresql_holds_the_same_rows(
    postgres_server: Server, events: Sequence[EventLogEntry]
) -> None:
    stock, ours = postgres_server.create_database(), postgres_server.create_database()
    store(DagsterPostgresStorage(stock).event_log_storage, events)
    kept = PostgresStorage(ours)
    store(kept.event_log_storage, events)
    kept.event_log_storage.dispose()
    found = of_events(rows(ours))
    assert found == of_events(rows(stock))
    assert len(found["event_logs"]) == len(events)
    assert len(found["asset_keys"]) == 5
    assert len(found["asset_check_executions"]) >= 3 * len(HOURS)
    for url in (stock, ours):
        postgres_server.drop_database(url)


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_events_of_other_kinds_are_stored_one_by_one(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, events: Sequence[EventLogEntry]
) -> None:
    if kind == "sqlite":
        storage = SqliteStorage(str(tmp_path)).event_log_storage
    else:
        storage = PostgresStorage(request.getfixturevalue("postgres_url")).event_log_storage
    mixed = [event for event in events if kind_of(event) != "ASSET_CHECK_EVALUATION"]
    stored = [event for event in mixed if kind_of(event).startswith("ASSET_MATERIALIZATION")]
    storage.store_event_batch(stored)
    for event in [event for event in mixed if event not in stored]:
        storage.store_event(event)
    assert len(storage.get_logs_for_run(events[0].run_id)) == len(mixed)
    storage.dispose()


def test_a_database_that_was_away_for_a_moment_is_reached_again(
    postgres_server: Server, postgres_url: str
) -> None:
    storage = PostgresStorage(postgres_url)
    assert storage.run_storage.get_runs_count() == 0
    name = sa.make_url(postgres_url).database
    postgres_server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    assert storage.run_storage.get_runs_count() == 0
    storage.event_log_storage.dispose()


def test_what_differs_in_postgresql_is_written_by_dagster(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a patch of Dagster writes its events otherwise."""
    given = {"DAGSTER_HOME": str(tmp_path), "DAGSTER_POSTGRES_URL": postgres_url}
    prepare, told = PostgresEventLogStorage.prepare_insert_event, list[str]()
    monkeypatch.setattr(
        PostgresEventLogStorage,
        "prepare_insert_event",
        lambda self, event: prepare(self, event).values(step_key="another"),
    )
    with environment(given), open_instance(told.append) as instance:
        assert type(instance.event_log_storage) is PostgresEventLogStorage
    configured = {"postgres_url": postgres_url, "should_autocreate_tables": True}
    events = BulkPostgresEventLog.from_config_value(None, configured)
    assert type(events) is PostgresEventLogStorage
    assert [sentence.partition(" because ")[2] for sentence in told] == [
        "it writes other rows to event_logs."
    ]
    found = of_events(rows(postgres_url))
    assert not any(found.values())
    monkeypatch.undo()
    with environment(given), open_instance(told.append) as instance:
        assert isinstance(instance.event_log_storage, PostgresEvents)
    assert not any(of_events(rows(postgres_url)).values())
    assert len(told) == 1


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_the_places_of_a_pool_follow_the_configuration(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Several runs may be the first to need a pool, and the limit may change later."""
    given = {"DAGSTER_HOME": str(tmp_path)}
    if kind == "postgresql":
        given["DAGSTER_POSTGRES_URL"] = request.getfixturevalue("postgres_url")
    with environment(given):
        file = dagster_home() / "dagster.yaml"
        for limit in (4, 2, 3):
            text = DEFAULT_DAGSTER_YAML.read_text()
            file.write_text(text.replace("default_limit: 4", f"default_limit: {limit}"))
            with open_instance() as instance:
                storage = instance.event_log_storage
                for _ in range(2):
                    assert storage.initialize_concurrency_limit_to_default("moodle_db")
                assert [pool.limit for pool in storage.get_pool_limits()] == [limit]
                assert storage.get_concurrency_info("moodle_db").slot_count == limit
