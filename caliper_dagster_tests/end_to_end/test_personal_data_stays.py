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
import yaml

from caliper_dagster.cli.main import main
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster.dagster.tags import BACKLOG_SENSOR
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.emitter import Ledger
from caliper_dagster.operations.follow import Follower
from caliper_dagster.operations.runner import RunContext
from caliper_dagster_tests.end_to_end.test_bad_hour import (
    BAD,
    LOG,
    RANGE,
    assert_only_the_others_arrived,
    counts,
    execute,
    failure,
    statuses,
)
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.resources import named_resources
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
    sample_installation,
)

TOLD = f"Not sent: 1 withheld hour, {BAD} (values of persons that the privacy profile forbids)"
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
    planted: tuple[SampleInstallation, str],
) -> None:
    site, _ = planted
    assert failure(site.run(CHAIN_JOB, HOURS)).startswith(TOLD)
    url = site.environment["CALIPER_EVENT_STORE_URL"]
    store = {"url": {"env": "URL"}, "api_key": {"env": "CALIPER_API_KEY"}}
    file = site.folder / "stores.yaml"
    file.write_text(yaml.safe_dump({"one": store, "two": store}))
    given = {**site.environment, "CALIPER_EVENT_STORES": str(file), "URL": url}
    del given["CALIPER_EVENT_STORE_URL"]
    with environment(given), open_instance() as instance:
        settings = site.settings
        with Ledger(settings.ledger()) as ledger:
            ledger.backlog(settings.identity().site_id).add("two", HOURS)
        definitions = build_definitions()
        (sensor,) = (it for it in definitions.sensors or [] if it.name == BACKLOG_SENSOR)
        with dg.build_sensor_context(
            instance=instance, definitions=definitions, resources=named_resources(settings)
        ) as context:
            (request,) = sensor.evaluate_tick(context).run_requests or []
        result = definitions.resolve_job_def(CHAIN_JOB).execute_in_process(
            instance=instance,
            raise_on_error=False,
            tags=request.tags,
            asset_selection=list(request.asset_selection or []),
        )
        assert failure(result).startswith(TOLD)
        assert deferred_hours(settings) == {}
        stored = event_stores(settings)[1].results
        for hour in HOURS:
            of_hour = DeliveryCounts.from_footer_stats(site.storage.footer_stats(stored, hour))
            assert of_hour.is_withheld == (hour == BAD)
            assert of_hour.acknowledged == (0 if hour == BAD else of_hour.events)

    with environment({**site.environment, "CALIPER_ALLOWED_FIELDS": "object.name"}):
        result = site.run(CHAIN_JOB, HOURS)
        assert result.success
        assert check_of_the_events(result).passed
    assert counts(site, BAD).acknowledged == counts(site, BAD).events > 0


def test_follow(planted: tuple[SampleInstallation, str]) -> None:
    site, _ = planted
    with (
        environment({**site.environment, "CALIPER_SEND_IMMEDIATELY": "true"}),
        pytest.MonkeyPatch.context() as patch,
        open_instance() as instance,
    ):
        patch.setattr("caliper_dagster.operations.follow.time.time", lambda: float(BAD.end - 1))
        follower = Follower(RunContext(instance, site.settings))
        (run,) = follower.look()
        assert str(run.failure).startswith(TOLD)
        assert site.arrived().events == 0
        patch.setattr("caliper_dagster.operations.follow.time.time", lambda: float(BAD.end + 3599))
        assert sum(run.delivery.sent for run in follower.look()) == site.arrived().events > 0
