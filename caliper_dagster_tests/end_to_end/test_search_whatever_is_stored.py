"""Hours stored without names and addresses are searched for them all the same: Moodle has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from caliper_dagster.core.errors import CaliperDagsterError, SourceError, StorageError
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hour_verdict import HourVerdict
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.stored_fields import NOTHING, WHOLE, StoredFields
from caliper_dagster.delivery.materialize import write_events, write_expanded, write_log
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.translator import Translator

END = Hour.from_key("2026-03-02-12:00")
HOURS = HourRange(END + -2, END)
CLEAN, BAD = HOURS
WWWROOT = "https://moodle.example.org"
ADDRESS = "2001:db8::17:3"

OpenMoodle = Callable[[], AbstractContextManager[MoodleDatabase]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the last hour somebody creates a group whose name says who, and from where."""
    path = tmp_path_factory.mktemp("site") / "moodle.sqlite"
    write_sample(path, students=20, hours=2, seed=5, end=END)
    with closing(sqlite3.connect(path)) as database:
        row, user = database.execute(
            "SELECT id, userid FROM mdl_logstore_standard_log "
            "WHERE courseid > 1 AND userid > 2 AND timecreated >= ?",
            [BAD.start],
        ).fetchone()
        database.execute(
            "UPDATE mdl_user SET firstname='Ada', lastname='Lovelace', email='al@uni.example' "
            "WHERE id=?",
            [user],
        )
        database.execute(
            f"UPDATE mdl_groups SET name='Ada Lovelace, al@uni.example, {ADDRESS}' WHERE id=1"
        )
        database.execute(
            r"UPDATE mdl_logstore_standard_log SET eventname='\core\event\group_created', "
            "component='core', target='group', action='created', crud='c', objecttable='groups', "
            "objectid=1, ip=? WHERE id=?",
            [ADDRESS, row],
        )
        database.commit()
    return path


def opens(site: Path) -> OpenMoodle:
    return lambda: MoodleDatabase.open(f"sqlite:///{site}")


def stored(site: Path, folder: Path, fields: StoredFields) -> PartitionStore:
    store = PartitionStore(str(folder), fields=fields)
    with opens(site)() as database:
        write_log(database, store, HOURS)
        write_expanded(database, store, HOURS, fresh=False)
    return store


def verdicts(
    store: PartitionStore, open_moodle: OpenMoodle | None, chunk_rows: int = 60_000
) -> dict[Hour, HourVerdict]:
    written, _ = write_events(
        Translator(WWWROOT),
        store,
        CALIPER_EVENTS,
        HOURS,
        chunk_rows=chunk_rows,
        open_moodle=open_moodle,
    )
    return {hour.hour: hour.verdict for hour in written}


FOUND = {"object.name (email)": 1, "object.name (ip)": 1, "object.name (name)": 1}


@pytest.mark.parametrize("chunk_rows", [20, 60_000], ids=["in parts", "whole"])
@pytest.mark.parametrize(
    "fields",
    [NOTHING, StoredFields(names=False), StoredFields("truncated"), WHOLE],
    ids=["nothing", "no names", "truncated addresses", "everything"],
)
def test_the_hour_is_withheld_whatever_is_stored(
    site: Path, tmp_path: Path, fields: StoredFields, chunk_rows: int
) -> None:
    store = stored(site, tmp_path, fields)
    found = verdicts(store, opens(site), chunk_rows)
    assert dict(found[BAD].fields) == FOUND
    assert found[BAD].always == "personal_data"
    assert found[CLEAN].always is None


def test_what_is_read_for_it_is_not_stored(site: Path, tmp_path: Path) -> None:
    store = stored(site, tmp_path, NOTHING)
    verdicts(store, opens(site))
    for frame in (MOODLE_LOG, EXPANDED_LOG):
        table = store.read(frame, list(HOURS))
        assert table["ip"].null_count == table.num_rows
        for name in {"user", "realuser", "relateduser", "other"} & {*table.column_names}:
            texts = " ".join(map(str, table[name].unique().to_pylist()))
            assert "Lovelace" not in texts
            assert "uni.example" not in texts
        assert "Lovelace" not in str(store.footer_stats(frame, BAD))
    assert "Lovelace" not in str(store.footer_stats(CALIPER_EVENTS, BAD))


@contextmanager
def unreachable() -> Iterator[MoodleDatabase]:
    raise SourceError("no answer")
    yield


@pytest.mark.parametrize(
    ("open_moodle", "error"), [(unreachable, SourceError), (None, StorageError)]
)
def test_without_moodle_no_event_is_made(
    site: Path, tmp_path: Path, open_moodle: OpenMoodle | None, error: type[CaliperDagsterError]
) -> None:
    store = stored(site, tmp_path, NOTHING)
    with pytest.raises(error):
        verdicts(store, open_moodle)
    with pytest.raises(StorageError):
        store.read(CALIPER_EVENTS, [BAD])


def test_where_everything_is_stored_moodle_is_not_asked(site: Path, tmp_path: Path) -> None:
    store = stored(site, tmp_path, WHOLE)
    assert dict(verdicts(store, unreachable)[BAD].fields) == FOUND


def test_a_person_whom_moodle_no_longer_has_is_nobody(site: Path, tmp_path: Path) -> None:
    """The account is gone from Moodle's table, as after a restore: nothing is left to look for."""
    store = stored(site, tmp_path / "stored", NOTHING)
    later = tmp_path / "later.sqlite"
    with closing(sqlite3.connect(site)) as now, closing(sqlite3.connect(later)) as then:
        now.backup(then)
        then.execute("DELETE FROM mdl_user WHERE lastname='Lovelace'")
        then.commit()
    assert dict(verdicts(store, opens(later))[BAD].fields) == {"object.name (ip)": 1}
