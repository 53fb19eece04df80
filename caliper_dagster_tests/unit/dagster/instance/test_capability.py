"""Which versions of Dagster have their events written in bulk: those that bulk storage suits."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from caliper_dagster.dagster.instance import bulk_sqlite
from caliper_dagster.dagster.instance.capability import UnsuitedError, require
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster_tests.harness.environment import environment

EVENTS = sa.Table("event_logs", sa.MetaData(), sa.Column("id"), sa.Column("run_id"))


class Dagsters:
    """In place of a class of Dagster's."""

    def store(self, event: str, event_id: int = 0) -> None: ...


class Ours(Dagsters):
    def store(self, event: str, event_id: int = 0) -> None: ...


class OfAnotherVersion(Dagsters):
    def store(self, event: str, partition: str = "") -> None: ...


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with environment({"DAGSTER_HOME": str(tmp_path)}):
        yield tmp_path


def slow() -> list[str]:
    told: list[str] = []
    with open_instance(told.append):
        pass
    return told


def test_what_is_as_our_classes_need_it_suits() -> None:
    require([Ours], {EVENTS: {"id", "run_id"}}, {Dagsters.store: ("event", "event_id")})
    require([], {}, {Dagsters.store: ("event",)})  # an optional parameter more


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id"}, r"its table event_logs has other columns than expected \(run_id\)"),
        ({"id", "run_id", "event"}, r"its table event_logs has other columns .* \(event\)"),
    ],
)
def test_a_table_with_other_columns_does_not_suit(columns: set[str], words: str) -> None:
    with pytest.raises(UnsuitedError, match=words):
        require([], {EVENTS: columns}, {})


def test_a_method_with_other_parameters_does_not_suit() -> None:
    words = "its method Dagsters.store has other parameters"
    with pytest.raises(UnsuitedError, match=words):
        require([], {}, {Dagsters.store: ("event", "event_id", "partition")})
    with pytest.raises(UnsuitedError, match=words):
        require([], {}, {Dagsters.store: ()})
    with pytest.raises(UnsuitedError, match=words):
        require([OfAnotherVersion], {}, {})


def test_the_installed_dagster_has_its_events_written_in_bulk(home: Path) -> None:
    with open_instance() as instance:
        assert isinstance(instance.event_log_storage, bulk_sqlite.SqliteEvents)
    assert slow() == []


def test_nothing_of_the_comparison_stays_in_the_instance(home: Path) -> None:
    with open_instance() as instance:
        assert list(instance.all_asset_keys()) == []
    runs = home / "history" / "runs"
    assert [file.name for file in runs.glob("*.db")] == ["index.db"]
    with closing(sqlite3.connect(runs / "index.db")) as connection:
        assert connection.execute("SELECT count(*) FROM event_logs").fetchone() == (0,)


def test_rows_that_differ_are_written_by_dagster(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a patch of Dagster writes its events otherwise."""
    prepare = SqlEventLogStorage.prepare_insert_event
    monkeypatch.setattr(
        SqlEventLogStorage,
        "prepare_insert_event",
        lambda self, event: prepare(self, event).values(step_key="another"),
    )
    (told,) = slow()
    assert told.startswith("Dagster 1.13.")
    assert told.endswith("16 times longer, because it writes other rows to event_logs.")
    with open_instance() as instance:
        stock = DagsterSqliteStorage(str(home / "stock")).event_log_storage
        assert type(instance.event_log_storage) is type(stock)
    assert slow() == [told]  # every process says so


def test_a_version_is_compared_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slow() == []
    compared: list[object] = []
    monkeypatch.setattr(SqlEventLogStorage, "prepare_insert_event", compared.append)
    assert slow() == []
    monkeypatch.setattr("dagster.__version__", "1.13.99")
    (told,) = slow()
    assert told.startswith("Dagster 1.13.99 ")


def test_an_interface_that_is_gone_is_no_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("dagster._core.storage.sqlite.SQLITE_BUSY_TIMEOUT_SECONDS")
    monkeypatch.delitem(sys.modules, bulk_sqlite.__name__)
    (told,) = slow()
    assert told.endswith("because bulk storage cannot be opened (ImportError).")
