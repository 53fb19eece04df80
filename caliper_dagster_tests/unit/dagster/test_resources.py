import dagster as dg
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError, DeliveryError
from caliper_dagster.dagster.build import project_definitions
from caliper_dagster.dagster.resources import as_dagster_failure, resources
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
    for secret in SECRETS.values():
        assert secret not in repr(held)


def test_nothing_is_needed_before_it_is_opened() -> None:
    with environment({}):
        held = resources(Settings.from_environment())
        with pytest.raises(ConfigurationError, match="MOODLE_DB_URL is not set"):
            held["moodle"].open()


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


JOBS = ("caliper_events_of_the_hour", "resend_caliper_events")


@pytest.fixture
def job() -> dg.JobDefinition:
    return project_definitions(Settings()).resolve_job_def(JOBS[0])


@pytest.mark.parametrize(
    "resource",
    [
        "caliper_moodle",
        "caliper_event_stores",
        "caliper_storage",
        "caliper_ledger",
        "io_manager",
        "another",
    ],
)
@pytest.mark.parametrize(
    "config",
    [
        {"url": "https://elsewhere.example.org"},
        {"url": {"env": "CALIPER_API_KEY"}},
        {"env": "CALIPER_API_KEY"},
        {"settings": {}},
        {"base_dir": {"env": "CALIPER_API_KEY"}},
        "https://elsewhere.example.org",
    ],
)
def test_a_launch_with_a_config_for_a_resource_is_refused(
    job: dg.JobDefinition, resource: str, config: object
) -> None:
    with environment(SECRETS), pytest.raises(dg.DagsterInvalidConfigError) as refused:
        dg.validate_run_config(job, {"resources": {resource: {"config": config}}})
    for secret in SECRETS.values():
        assert secret not in str(refused.value)


@pytest.mark.parametrize(
    "config",
    [
        {"ops": {"expanded_log": {"config": {"fresh": {"env": "CALIPER_API_KEY"}}}}},
        {"ops": {"emission_results": {"config": {"resend_all": {"env": "CALIPER_API_KEY"}}}}},
        {"ops": {"moodle_log": {"config": {"url": "https://elsewhere.example.org"}}}},
        {"ops": {"emission_results": {"config": {"url": "https://elsewhere.example.org"}}}},
        {"loggers": {"console": {"config": {"name": {"env": "CALIPER_API_KEY"}}}}},
        {"execution": {"config": {"marker_to_close": {"env": "CALIPER_API_KEY"}}}},
    ],
)
def test_no_part_of_a_launch_reads_a_variable_or_an_unknown_field(
    job: dg.JobDefinition, config: dict[str, object]
) -> None:
    with environment(SECRETS), pytest.raises(dg.DagsterInvalidConfigError) as refused:
        dg.validate_run_config(job, config)
    for secret in SECRETS.values():
        assert secret not in str(refused.value)


def test_the_two_choices_of_a_launch_are_accepted(job: dg.JobDefinition) -> None:
    chosen = {
        "ops": {
            "expanded_log": {"config": {"fresh": True}},
            "emission_results": {"config": {"resend_all": True}},
        }
    }
    assert dg.validate_run_config(job, chosen)


@pytest.mark.parametrize("name", JOBS)
def test_no_job_takes_a_config_that_may_refer_to_a_variable(name: str) -> None:
    """The whole schema of a launch, also of what Dagster adds by itself."""
    job = project_definitions(Settings()).resolve_job_def(name)
    kinds = {kind.key for kind in job.run_config_schema.config_type_dict_by_key.values()}
    assert not {key for key in kinds if "Source" in key}
