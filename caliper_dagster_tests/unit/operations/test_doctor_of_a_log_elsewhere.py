"""What doctor finds about a log in another database: same site, same rows, how new the replica."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.expander import read_log
from caliper_dagster.operations.doctor import Finding, Verdict
from caliper_dagster.operations.doctor.moodle import database
from caliper_dagster.operations.doctor.moodle_log import elsewhere
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.handmade_site import Site

NOW = int(time.time())
HOUR = Hour.of(NOW - 7200)


class Places:
    """A Moodle's database, its log in another one, and the storage."""

    def __init__(self, folder: Path) -> None:
        self.names, self.log = Site(folder / "names.sqlite"), Site(folder / "log.sqlite")
        self.storage = PartitionStore(str(folder / "data"))
        self.environment = {
            "MOODLE_DB_URL": self.names.url,
            "MOODLE_LOG_DB_URL": self.log.url,
            "MOODLE_WWWROOT": "https://moodle.example.org",
            "CALIPER_STORAGE": str(folder / "data"),
        }
        self.names.add("user", {"id": 2, "username": "u", "lastaccess": NOW - 30})
        self.names.add("context", {"id": 8, "contextlevel": 50, "instanceid": 3})
        self.log.log(*(self.row(id_) for id_ in range(1, 4)))

    def row(self, id_: int, **columns: object) -> dict[str, object]:
        context = {"contextid": 8, "contextlevel": 50, "contextinstanceid": 3}
        return {"id": id_, "timecreated": HOUR.start + id_, **context, **columns}

    def findings(self, **settings: str) -> dict[str, Finding]:
        with environment(self.environment | settings):
            of_site = Settings.from_environment()
            return {it.subject: it for it in (*database(of_site), *elsewhere(of_site))}

    def store(self, site: Site) -> None:
        with site.open() as opened:
            for hour, rows in read_log(opened, HourRange(HOUR, HOUR + 1)):
                self.storage.write(MOODLE_LOG, hour, rows)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_all_is_well(places: Places) -> None:
    places.names.log(*(places.row(id_) for id_ in range(1, 4)))
    places.store(places.log)
    found = places.findings()
    subjects = [
        "Log database",
        "Log columns",
        "Replica",
        "Log of the site",
        "Log ids",
        "Stored log",
    ]
    assert [found[subject].verdict for subject in subjects] == [Verdict.FINE] * 6
    assert found["Log ids"].text == "rows have the same ids as in Moodle's standard log"
    assert found["Stored log"].text == "the stored hours were read from this log"


def test_nothing_of_it_is_said_where_the_log_is_moodles_own(places: Places) -> None:
    places.names.log(places.row(1))
    assert not {"Replica", "Log ids"} & places.findings(MOODLE_LOG_DB_URL="").keys()


def test_a_replica_that_lags_is_named_if_rows_wait(places: Places) -> None:
    places.names.execute(f"UPDATE mdl_user SET lastaccess = {HOUR.start - 86_400}")
    found = places.findings()["Replica"]
    assert found.verdict is Verdict.WARNING
    assert "they wait for it, at most MOODLE_REPLICA_WAIT=24 hours" in found.text
    assert places.findings(MOODLE_REPLICA_WAIT="0")["Replica"].verdict is Verdict.FINE


def test_an_old_replica_is_well_if_no_row_is_newer(places: Places) -> None:
    places.names.execute(f"UPDATE mdl_user SET lastaccess = {HOUR.end}")
    assert places.findings()["Replica"].verdict is Verdict.FINE


def test_it_is_told_if_nothing_says_how_new_the_replica_is(places: Places) -> None:
    found = places.findings(MOODLE_DB_WITHOUT="user")["Replica"]
    assert found.verdict is Verdict.WARNING
    assert found.text.startswith("it is not known how new the database of MOODLE_DB_URL is")


def test_a_replica_without_any_time_is_empty_or_being_restored(places: Places) -> None:
    places.names.execute("UPDATE mdl_user SET lastaccess = 0")
    found = places.findings()["Replica"]
    assert found.verdict is Verdict.WARNING
    assert "it is empty, or is being restored. Log rows wait for it" in found.text


def test_the_log_of_another_site_is_broken(places: Places) -> None:
    places.names.execute("UPDATE mdl_context SET instanceid = 4")
    found = places.findings()["Log of the site"]
    assert found.verdict is Verdict.BROKEN
    assert "1 of 1 contexts of its newest rows are others there" in found.text


def test_a_column_that_the_table_lacks_is_named(places: Places) -> None:
    places.log.execute("ALTER TABLE mdl_logstore_standard_log DROP COLUMN realuserid")
    found = places.findings()["Log columns"]
    assert found.verdict is Verdict.BROKEN
    assert "cannot read realuserid of the table mdl_logstore_standard_log" in found.text


def test_other_ids_than_those_of_the_standard_log_are_a_warning(places: Places) -> None:
    places.names.log(*(places.row(id_ + 1, timecreated=HOUR.start + id_) for id_ in range(1, 4)))
    found = places.findings()["Log ids"]
    assert found.verdict is Verdict.WARNING


def test_a_site_that_has_changed_over_to_another_log_is_broken(places: Places) -> None:
    places.names.log(*(places.row(id_ + 1, timecreated=HOUR.start + id_) for id_ in range(1, 4)))
    places.store(places.names)
    found = places.findings()["Stored log"]
    assert found.verdict is Verdict.BROKEN
    assert str(HOUR) in found.text


def test_rows_that_are_deleted_since_do_not_make_it_another_log(places: Places) -> None:
    places.store(places.log)
    places.log.execute("DELETE FROM mdl_logstore_standard_log")
    assert "Stored log" not in places.findings()
