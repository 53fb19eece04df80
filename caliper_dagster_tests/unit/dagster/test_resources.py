import dagster as dg
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError, DeliveryError
from caliper_dagster.dagster.resources import (
    EventStoresResource,
    as_dagster_failure,
    resources,
)
from caliper_dagster_tests.harness.environment import environment

SECRETS = {
    "MOODLE_DB_URL": "mysql+pymysql://moodle:pass-of-moodle@db/moodle",
    "CALIPER_EVENT_STORE_URL": "https://store.example.org/caliper?token=token-of-store",
    "CALIPER_API_KEY": "key-of-store",
    "CALIPER_LEDGER_URL": "postgresql+psycopg2://ledger:pass-of-ledger@db/ledger",
}


def test_secrets_are_held_by_the_name_of_their_variable() -> None:
    with environment(SECRETS):
        held = resources(Settings.from_environment())
    assert held["moodle"].url == dg.EnvVar("MOODLE_DB_URL")
    (store,) = held["event_stores"].stores
    assert store["api_key"] == {"env": "CALIPER_API_KEY"}
    shown = repr([resource.model_dump() for resource in held.values()])
    for secret in SECRETS.values():
        assert secret not in shown


def test_nothing_is_needed_before_it_is_opened() -> None:
    with environment({}):
        held = resources(Settings.from_environment())
        assert held["moodle"].url is None


def test_our_errors_become_failures_with_the_same_sentence_and_no_history() -> None:
    with pytest.raises(dg.Failure) as failure, as_dagster_failure():
        raise DeliveryError("The event store is down.", transient=True)
    assert failure.value.description == "The event store is down."
    assert failure.value.allow_retries is False
    assert failure.value.__suppress_context__
    assert failure.value.__cause__ is None


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), as_dagster_failure():
        raise KeyError("a defect")


def test_a_configuration_of_a_run_is_checked_and_not_repeated() -> None:
    held = EventStoresResource(stores=[{"url": "https://u:pass-of-store@x", "timeout": "soon"}])
    with pytest.raises(ConfigurationError) as error:
        held.definitions()
    assert str(error.value).startswith("The definition of an event store is wrong: url: contains")
    assert "pass-of-store" not in str(error.value)
