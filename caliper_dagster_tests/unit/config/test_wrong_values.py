"""What is said about wrong values: our words, with the setting, without the value."""

import re

import pytest

from caliper_dagster.config.settings import Settings, setting_names, wrong_settings
from caliper_dagster.core.errors import ConfigurationError

VALUES = (
    *("perhaps so", "-1", "0", "1.5", "nan", "inf", "99999999999999999999", "é x", "a,b,,c"),
    *("http://", "http://[::1", "http://host:port", "2026-01-31T25", "\x00"),
)
OURS = re.compile(
    r"[A-Z_]+ is wrong: ("
    r"must be (a whole number|a number|true or false|a name"
    r"|an http or https URL( without user and password)?"
    r"|e-mail addresses (such as moodle@example\.org, without names"
    r"|or team:NAME, separated by commas)"
    r"|assets with a number of days each, such as [a-z_=0-9,]+; the assets are [a-z_, ]+"
    r"|a full hour in UTC such as 2026-01-31T14:00Z|(greater|less) than \d+|at (least|most) \d+"
    r"|v1p2 or v1p1|canonical, objects or openlrw|basic or form"
    r"|full, identified, pseudonymous or anonymous|second, minute, hour or day|600 or 640"
    r"|none, truncated or whole|starttls, tls or none"
    r"|SystemId, AccountUserName, SisSourcedId, LisSourcedId, EmailAddress or LtiUserId)"
    r"|must have no user, query or fragment"
    r"|may have only letters, digits and _"
    r"|contains a (space or a control character|character that is not allowed))\."
)


@pytest.mark.parametrize("name", setting_names())
def test_a_wrong_value_is_described_in_our_words(name: str) -> None:
    for value in VALUES:
        for error in wrong_settings({name: value}):
            assert OURS.fullmatch(str(error)), error
            assert str(error).startswith(name)
            with pytest.raises(ConfigurationError, match=re.escape(str(error))):
                Settings.from_environment({name: value})


def test_all_wrong_settings_are_found_and_each_once() -> None:
    given = {
        "CALIPER_GZIP": "perhaps",
        "MOODLE_DB_WITHOUT": "a-b,c-d",
        "CALIPER_EVENT_STORE_TIMEOUT": "inf",
        "CALIPER_BATCH_SIZE": "500",
    }
    assert sorted(map(str, wrong_settings(given))) == [
        "CALIPER_EVENT_STORE_TIMEOUT is wrong: must be a number.",
        "CALIPER_GZIP is wrong: must be true or false.",
        "MOODLE_DB_WITHOUT is wrong: may have only letters, digits and _.",
    ]
    assert wrong_settings({}) == []
