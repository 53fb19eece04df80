"""An hour with a person's name in a text: whoever sends, the others leave and it does not.

A group has the name of a person who creates it: its events hold it in ``object.name``, which the
default profile forbids. The paths are those of `test_bad_hour`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster_tests.end_to_end.test_bad_hour import (
    BAD,
    LOG,
    RANGE,
    assert_follow_sends_only_the_others,
    assert_only_the_others_arrived,
    assert_the_sensor_sends_only_the_others,
    counts,
    execute,
    failure,
    second_event_store,
    statuses,
)
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
    sample_installation,
)

TOLD = f"Not sent: 1 withheld hour, {BAD} (values of persons that the privacy profile forbids)"
NOT_SEARCHED = f"Not sent: {len(HOURS)} withheld hours, {HOURS.start} (searched while "
FIELD = "object.name (name)"
GROUP = 1


def plant(site: SampleInstallation) -> str:
    """A person of the hour creates a group of this name; the name."""
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection, connection:
        log, user, first, last = connection.execute(
            f"SELECT log.id, u.id, u.firstname, u.lastname FROM {LOG} AS log "
            "JOIN mdl_user AS u ON u.id = log.userid "
            "WHERE log.timecreated >= ? AND log.timecreated < ? AND log.courseid = "
            "(SELECT courseid FROM mdl_groups WHERE id = ?) ORDER BY log.id LIMIT 1",
            (BAD.start, BAD.end, GROUP),
        ).fetchone()
        name = f"{first} {last}"
        connection.execute("UPDATE mdl_groups SET name = ? WHERE id = ?", (f"of {name}", GROUP))
        connection.execute(
            f"UPDATE {LOG} SET eventname = '\\core\\event\\group_created', component = 'core', "
            "action = 'created', target = 'group', objecttable = 'groups', objectid = ?, "
            "crud = 'c', relateduserid = NULL, other = 'null' WHERE id = ? AND userid = ?",
            (GROUP, log, user),
        )
    return name


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[tuple[SampleInstallation, str]]:
    with sample_installation(tmp_path) as site:
        yield site, plant(site)


def check_of_the_events(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (check,) = (
        it for it in result.get_asset_check_evaluations() if it.check_name == "no_personal_data"
    )
    return check


def test_every_path_and_the_correction_in_moodle(
    planted: tuple[SampleInstallation, str], capsys: pytest.CaptureFixture[str]
) -> None:
    site, name = planted
    result = site.run(CHAIN_JOB, HOURS)
    assert failure(result).startswith(TOLD)
    check = check_of_the_events(result)
    assert not check.passed
    assert f"Fields: {FIELD}: 1" in str(check.description)
    assert name not in repr(check)
    assert {hour for hour, it in statuses(site).items() if it == "FAILED"} == {BAD}
    assert_only_the_others_arrived(site)
    assert failure(site.run(RESEND_JOB, HOURS)).startswith(TOLD)
    assert_only_the_others_arrived(site, 2)
    for times, options in ((2, []), (3, ["--all"])):
        assert main(["resend", *RANGE, *options]) == 2
        assert TOLD in capsys.readouterr().err
        assert_only_the_others_arrived(site, times)

    execute(site, f"UPDATE mdl_groups SET name = 'Group A' WHERE id = {GROUP}")
    assert main(["backfill", *RANGE]) == 0
    assert counts(site, BAD).acknowledged == counts(site, BAD).events > 0
    assert site.arrived().events == sum(counts(site, hour).events for hour in HOURS)


def test_the_sensor_of_a_backlog_and_a_field_that_is_allowed(
    planted: tuple[SampleInstallation, str], capsys: pytest.CaptureFixture[str]
) -> None:
    site, _ = planted
    assert failure(site.run(CHAIN_JOB, HOURS)).startswith(TOLD)
    assert_the_sensor_sends_only_the_others(site, TOLD)
    with environment({**site.environment, "CALIPER_ALLOWED_FIELDS": "object.name"}):
        result = site.run(CHAIN_JOB, HOURS)
        assert result.success
        assert check_of_the_events(result).passed
    assert counts(site, BAD).acknowledged == counts(site, BAD).events > 0
    # The field is allowed no more: the hour is sent to nobody, by whatever path.
    assert_the_sensor_sends_nothing(site)
    arrived = site.arrived()
    assert failure(site.run(RESEND_JOB, HOURS)).startswith(NOT_SEARCHED)
    for options in ([], ["--all"]):
        assert main(["resend", *RANGE, *options]) == 2
        assert NOT_SEARCHED in capsys.readouterr().err
    assert site.arrived().received == arrived.received
    assert main(["backfill", *RANGE]) == 2
    assert TOLD in capsys.readouterr().err


def assert_the_sensor_sends_nothing(site: SampleInstallation) -> None:
    arrived = site.arrived()
    with second_event_store(site):
        assert failure(site.send_backlog("two", HOURS)).startswith(NOT_SEARCHED)
    assert site.arrived().received == arrived.received


def test_follow(planted: tuple[SampleInstallation, str]) -> None:
    site, _ = planted
    assert_follow_sends_only_the_others(site, TOLD)
