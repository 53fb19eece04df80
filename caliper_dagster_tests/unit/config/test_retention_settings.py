"""The settings that say how long something is kept."""

import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError


def test_days_are_given_by_asset() -> None:
    text = " moodle_log=30, caliper_events=365 "
    settings = Settings.from_environment({"CALIPER_KEEP_PARTITIONS": text})
    assert settings.keep_partitions == (("moodle_log", 30), ("caliper_events", 365))
    assert Settings.from_environment({}).keep_partitions is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("moodle_log", "must be assets with a number of days each"),
        ("moodle_log=0", "must be assets with a number of days each"),
        ("moodle_log=3,moodle_log=4", "must be assets with a number of days each"),
        ("log=3", "the assets are moodle_log, expanded_log, caliper_events, emission_results"),
        ("expanded_log=40,caliper_events=30", "must not keep moodle_log or expanded_log longer"),
    ],
)
def test_a_mistake_is_said_with_the_form(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({"CALIPER_KEEP_PARTITIONS": text})
    assert str(caught.value).startswith("CALIPER_KEEP_PARTITIONS is wrong: ")
    assert reason in str(caught.value)


def test_events_may_go_before_rows_that_are_kept_for_ever() -> None:
    settings = Settings.from_environment({"CALIPER_KEEP_PARTITIONS": "caliper_events=30"})
    assert settings.keep_partitions == (("caliper_events", 30),)


@pytest.mark.parametrize(
    ("name", "value"), [("CALIPER_KEEP_RUNS", "0"), ("CALIPER_PRUNE_HOUR", "24")]
)
def test_numbers_have_bounds(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.from_environment({name: value})
