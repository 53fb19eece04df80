import json

import dagster as dg
import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.core.hours import HourRange
from caliper_dagster.dagster.assets import _send
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.metadata import _shortened
from caliper_dagster.dagster.tags import SEND_TAG
from caliper_dagster.operations.run_outcome import read_outcome
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
)

FIRST = HourRange(HOURS.start, HOURS.start + 1)
CHECKS = {
    "most_references_found": True,
    "every_row_explained": True,
    "every_event_valid": True,
    "no_personal_data": True,
    "every_event_acknowledged": True,
}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def test_an_hour_is_materialized_and_arrives(site: SampleInstallation) -> None:
    result = site.run(CHAIN_JOB, FIRST)

    assert result.success
    assert checks(result) == CHECKS
    assert all(site.storage.exists(frame, FIRST.start) for frame in FRAMES)
    outcome = read_outcome(site.storage, FIRST)
    assert outcome.account.unexplained == 0
    assert outcome.delivery.acknowledged == outcome.delivery.events == site.arrived().events > 0


def test_numbers_by_name_are_shortened_to_the_largest() -> None:
    counts = {f"reason {'x' * 60} {number}": 100 - number for number in range(30)}
    short = _shortened(counts)
    assert sum(short.values()) == sum(counts.values())
    assert len(json.dumps(short)) < 350
    assert "others" in short
    assert _shortened({"ViewEvent": 2}) == {"ViewEvent": 2}


def test_the_tag_that_says_what_to_send_must_say_something() -> None:
    assert _send(False, {SEND_TAG: "new"}) == "new"
    assert _send(False, {}) == "unacknowledged"
    assert _send(True, {SEND_TAG: "new"}) == "all"
    with pytest.raises(ConfigurationError, match=SEND_TAG):
        _send(False, {SEND_TAG: "some"})
