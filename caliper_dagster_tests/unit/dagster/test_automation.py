from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)

from caliper_dagster.config.settings import Settings
from caliper_dagster.dagster.automation import automation_of, describe

SCHEDULE = "the schedule caliper_events_of_the_hour_schedule"
SENSOR = "the sensor late_rows"
IN_THE_WEB_UI = "on in the web UI"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found


def described(instance: dg.DagsterInstance, **given: str) -> str:
    settings = Settings.from_environment(given)
    return describe(automation_of(instance, settings), settings)


def switch(instance: dg.DagsterInstance, name: str, status: InstigatorStatus) -> None:
    """What the web UI keeps when somebody moves the switch of a sensor."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__")
    origin = RemoteInstigatorOrigin(repository, name)
    data = SensorInstigatorData()
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, status, data))


def test_without_a_setting_nothing_is_on(instance: dg.DagsterInstance) -> None:
    assert described(instance) == (
        f"{SCHEDULE} and {SENSOR} are off, so that no hour is sent by itself: "
        f"set CALIPER_AUTOMATION=true, or switch them {IN_THE_WEB_UI}"
    )


def test_the_setting_switches_all_on(instance: dg.DagsterInstance) -> None:
    assert described(instance, CALIPER_AUTOMATION="true") == f"{SCHEDULE} and {SENSOR} are on"


def test_a_switch_in_the_web_ui_wins_over_the_setting(instance: dg.DagsterInstance) -> None:
    switch(instance, "late_rows", InstigatorStatus.STOPPED)
    assert described(instance, CALIPER_AUTOMATION="true") == (
        f"{SCHEDULE} is on, but {SENSOR} is off: switch it {IN_THE_WEB_UI}"
    )


def test_what_was_on_by_the_setting_is_off_without_it(instance: dg.DagsterInstance) -> None:
    switch(instance, "late_rows", InstigatorStatus.DECLARED_IN_CODE)
    assert f"{SENSOR} are off" in described(instance)


def test_what_was_switched_on_in_the_web_ui_is_on(instance: dg.DagsterInstance) -> None:
    switch(instance, "late_rows", InstigatorStatus.RUNNING)
    assert described(instance).startswith(f"{SENSOR} is on, but {SCHEDULE} is off: ")
