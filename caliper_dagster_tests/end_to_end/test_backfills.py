"""Backfills and resends: the runs of Dagster that they make, and what interrupts them."""

import os
import subprocess
import sys
from signal import Signals

import dagster as dg
import pytest

from caliper_dagster.core.errors import RunError
from caliper_dagster.core.frames import EMISSION_RESULTS, FRAMES, Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.dagster.build import project_definitions
from caliper_dagster.dagster.instance.open import (
    open_instance,
)
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.tags import BACKFILL_TAG, COMMAND_TAG, HOURS_TAG
from caliper_dagster.operations import backfill
from caliper_dagster.operations.backfill_plan import plan_backfill
from caliper_dagster.operations.resend import resend
from caliper_dagster.operations.runner import RunContext
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
)


def test_a_backfill_is_runs_of_the_job_that_the_web_ui_shows(site: SampleInstallation) -> None:
    written = []
    given = dict(site.environment) | {"CALIPER_HOURS_PER_RUN": "3"}
    with environment(given), open_instance() as instance:
        context = RunContext(
            instance, site.settings, lambda frame, hour: written.append((frame.name, hour))
        )
        done = list(backfill.backfill(context, HOURS))
        recorded = instance.get_runs()
        hours = instance.get_materialized_partitions(dg.AssetKey("emission_results"))
    assert [len(run.hours) for run in done] == [3, 1]
    made = sum(run.account.events + run.account.derived for run in done)
    assert made == site.arrived().events > 0
    assert hours == {hour.key for hour in HOURS}
    assert sorted(written) == sorted((frame.name, hour) for frame in FRAMES for hour in HOURS)
    for run in recorded:
        assert run.job_name == "caliper_events_of_the_hour"
        assert run.remote_job_origin is not None
        label = run.remote_job_origin.repository_origin.get_label()
        assert label == "__repository__@caliper_dagster.definitions"
        assert run.tags[COMMAND_TAG] == "backfill"
    loaded = project_definitions(site.settings).resolve_job_def(CHAIN_JOB)
    assert {run.job_snapshot_id for run in recorded} == {loaded.get_job_snapshot_id()}
    assert {run.tags[HOURS_TAG] for run in recorded} == {str(run.hours) for run in done}


def test_a_run_tells_what_it_has_sent_itself_also_when_another_takes_the_hours_at_once(
    site: SampleInstallation,
) -> None:
    nothing = DeliveryCounts().as_footer_stats()

    def taken_again(frame: Frame, hour: Hour) -> None:
        if frame == EMISSION_RESULTS:
            site.storage.write(frame, hour, site.storage.read(frame, [hour]), nothing)

    with open_instance() as instance:
        done = list(backfill.backfill(RunContext(instance, site.settings, taken_again), HOURS))

    assert sum(run.delivery.sent for run in done) == site.arrived().events > 0


def test_resending_sends_what_is_asked_for(site: SampleInstallation) -> None:
    with open_instance() as instance:
        settings = site.settings
        list(backfill.backfill(RunContext(instance, settings), HOURS))
        before = site.arrived()
        for everything, sent in ((False, 0), (True, before.events)):
            (done,) = resend(RunContext(instance, settings), HOURS, everything=everything)
            assert done.delivery.sent == sent
            assert done.delivery.acknowledged == before.events
    assert site.arrived().events == before.events


def test_a_failed_run_says_the_sentence_of_its_step(site: SampleInstallation) -> None:
    given = dict(site.environment) | {"MOODLE_DB_PREFIX": "other_"}
    with environment(given), open_instance() as instance:
        done = backfill.backfill(RunContext(instance, site.settings), HOURS)
        with pytest.raises(RunError) as error:
            list(done)
    assert "other_logstore_standard_log" in str(error.value)


def test_a_defect_says_where_to_look_and_not_its_words(site: SampleInstallation) -> None:
    def broken(_frame: Frame, _hour: Hour) -> None:
        raise RuntimeError("the password is secret")

    with open_instance() as instance:
        done = backfill.backfill(RunContext(instance, site.settings, broken), HOURS)
        with pytest.raises(RunError) as error:
            list(done)
    assert "The step moodle_log failed (" in str(error.value)
    assert "in the web UI" in str(error.value)
    assert "secret" not in str(error.value)


STOPS_ITSELF = """
import os, sys
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.operations import backfill
from caliper_dagster.operations.runner import RunContext
from caliper_dagster.config.settings import Settings
from caliper_dagster_tests.harness.sample_installation import HOURS

asset, number, signal = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
seen = []

def written(frame, hour):
    seen.append(frame.name)
    if seen.count(asset) == number:
        os.kill(os.getpid(), signal)

with open_instance() as instance:
    context = RunContext(instance, Settings.from_environment(), written)
    list(backfill.backfill(context, HOURS))
"""


def stopped(asset: str, number: int, signal: Signals) -> int:
    """A backfill in a process of its own that stops when an asset's so many hours are written."""
    arguments = [sys.executable, "-c", STOPS_ITSELF, asset, str(number), str(signal.value)]
    return subprocess.run(arguments, cwd=ROOT, env=os.environ, capture_output=True).returncode


def test_what_a_killed_process_left_is_taken_up_by_the_next(site: SampleInstallation) -> None:
    """`kill -9` in the middle: its run is ended, its pool freed, each event arrives in the end."""
    assert stopped("moodle_log", 3, Signals.SIGKILL) == -Signals.SIGKILL
    with open_instance() as instance:
        (dead,) = instance.get_runs()
        assert dead.status == dg.DagsterRunStatus.STARTED
        assert instance.event_log_storage.get_concurrency_run_ids() == {dead.run_id}

        list(backfill.backfill(RunContext(instance, site.settings), HOURS))

        statuses = [run.status for run in instance.get_runs()]
        assert instance.event_log_storage.get_concurrency_run_ids() == set()
    assert statuses == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    assert site.arrived().events == site.arrived().received > 0


def test_what_a_killed_sender_has_sent_is_not_sent_again(site: SampleInstallation) -> None:
    assert stopped("emission_results", 2, Signals.SIGKILL) == -Signals.SIGKILL
    sent = site.arrived().events
    assert sent > 0
    with open_instance() as instance:
        (done,) = backfill.backfill(RunContext(instance, site.settings), HOURS)
    # The hours of the site have an envelope each.
    in_flight = site.settings.event_store.envelopes_in_flight
    assert site.arrived().envelopes <= len(HOURS) + in_flight
    assert done.delivery.already_acknowledged > 0
    assert site.arrived().events >= sent
    assert done.delivery.acknowledged == site.arrived().events


def test_an_interrupted_backfill_ends_its_run_and_frees_its_pool(site: SampleInstallation) -> None:
    assert stopped("moodle_log", 3, Signals.SIGINT) != 0
    with open_instance() as instance:
        (run,) = instance.get_runs()
        assert run.is_finished
        assert instance.event_log_storage.get_concurrency_run_ids() == set()
    assert site.arrived().events == 0


def test_an_interrupted_backfill_goes_on_where_it_was(site: SampleInstallation) -> None:
    """The same command takes what is left; numbers are those of the whole, none is sent twice."""
    given = dict(site.environment) | {"CALIPER_HOURS_PER_RUN": "1"}
    with environment(given), open_instance() as instance:
        work = plan_backfill(instance, site.settings, HOURS, newest_first=True)
        assert [part.start for part in work.remaining] == sorted(HOURS, reverse=True)
        begun = backfill.backfill(RunContext(instance, site.settings), HOURS, plan=work)
        for _ in range(2):
            next(begun)
        begun.close()

        rest = plan_backfill(instance, site.settings, HOURS)
        assert [hour for part in rest.remaining for hour in part] == list(HOURS)[:2]
        assert [hour for part in rest.completed for hour in part] == list(HOURS)[2:]
        done = list(backfill.backfill(RunContext(instance, site.settings), HOURS, plan=rest))
        assert sum(run.delivery.sent for run in done) == site.arrived().events
        assert site.arrived().received == site.arrived().events
        assert len(instance.get_runs()) == len(HOURS)

        finished = plan_backfill(instance, site.settings, HOURS)
        assert [len(finished.remaining), finished.completed] == [len(HOURS), ()]


def test_other_settings_or_the_wish_begin_a_backfill_anew(site: SampleInstallation) -> None:
    given = dict(site.environment) | {"CALIPER_HOURS_PER_RUN": "1"}
    with environment(given), open_instance() as instance:
        work = plan_backfill(instance, site.settings, HOURS)
        begun = backfill.backfill(RunContext(instance, site.settings), HOURS, plan=work)
        next(begun)
        begun.close()
        assert len(plan_backfill(instance, site.settings, HOURS).remaining) == len(HOURS) - 1
        assert len(plan_backfill(instance, site.settings, HOURS, again=True).remaining) == len(
            HOURS
        )
        assert len(plan_backfill(instance, site.settings, HOURS, fresh=True).remaining) == len(
            HOURS
        )
        store = site.settings.event_store.model_copy(update={"caliper_version": "v1p1"})
        other = site.settings.model_copy(update={"event_store": store})
        assert len(plan_backfill(instance, other, HOURS).remaining) == len(HOURS)
        (tag,) = {run.tags[BACKFILL_TAG] for run in instance.get_runs()}
        assert len(tag) == 16
