from pathlib import Path

import pytest

from caliper_dagster.config.settings import environment_names
from caliper_dagster.config.unknown_names import UnknownName, unknown_names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CALIPER_EVENT_STORE_ULR", "CALIPER_EVENT_STORE_URL"),
        ("CALIPER_STRAT", "CALIPER_START"),
        ("CALIPER_APIKEY", "CALIPER_API_KEY"),
        ("MOODLE_URL", "MOODLE_DB_URL"),
        ("MOODLE_START", "CALIPER_START"),
        ("CALIPER_WWWROOT", "MOODLE_WWWROOT"),
        ("caliper_start", "CALIPER_START"),
        ("CALIPER_TEMPERATURE", None),
    ],
)
def test_the_setting_that_is_probably_meant_is_named(name: str, meant: str | None) -> None:
    assert unknown_names({name: "1", "PATH": "/bin"}, "none") == [UnknownName(name, meant)]


def test_settings_and_what_refers_to_others_are_known(tmp_path: Path) -> None:
    sites, env = tmp_path / "sites.yaml", tmp_path / ".env"
    sites.write_text("north:\n  MOODLE_DB_URL: {env: MOODLE_OF_THE_NORTH}\n")
    env.write_text("MOODLE_DB_URL=mysql://caliper:${MOODLE_PASSWORD}@db/moodle\n")
    given = dict.fromkeys(environment_names(), "") | {
        "CALIPER_SITES": str(sites),
        "MOODLE_OF_THE_NORTH": "",
        "MOODLE_PASSWORD": "",
        "CALIPER_TEST_POSTGRES_URL": "",
        # What Kubernetes says of a service with the name moodle.
        "MOODLE_SERVICE_HOST": "10.0.0.1",
        "MOODLE_SERVICE_PORT_HTTP": "80",
        "MOODLE_PORT": "tcp://10.0.0.1:80",
        "MOODLE_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert unknown_names(given, str(env)) == []
