"""``MOODLE_WWWROOT``: everything that is sent is named after it."""

import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("moodle.example.org", "http or https"),
        ("ftp://moodle.example.org", "http or https"),
        ("https://", "http or https"),
        ("https://admin:hunter22@moodle.example.org", "no user, query or fragment"),
        ("https://moodle.example.org/?hunter22", "no user, query or fragment"),
        ("https://moodle.example.org/#hunter22", "no user, query or fragment"),
        ("https://moodle.example.org?", "no user, query or fragment"),
        ("https://moodle.example.org/hunter22 x", "a space or a control character"),
        ("https://moodle.example.org\n", "a space or a control character"),
    ],
)
def test_what_is_no_address_of_a_site_is_refused_and_not_repeated(value: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"MOODLE_WWWROOT is wrong: .*{problem}") as error:
        Settings.from_environment({"MOODLE_WWWROOT": value})
    assert "hunter22" not in str(error.value)


@pytest.mark.parametrize(
    "value", ["https://moodle.example.org", "http://[2001:db8::1]:8080/moodle/", "http://localhost"]
)
def test_an_address_is_accepted(value: str) -> None:
    assert Settings.from_environment({"MOODLE_WWWROOT": value}).moodle_wwwroot == value.rstrip("/")
