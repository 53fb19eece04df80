import traceback

import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.emitter import Ledger
from caliper_dagster.expander import MoodleDatabase


@pytest.mark.parametrize(
    "password", ["hunter@22", "@hunter22", "h@unter/22", "hunter22@", "h?u@nter22"]
)
def test_a_password_with_a_bare_at_sign_is_explained_and_not_shown(password: str) -> None:
    for setting, open_it, scheme in (
        ("MOODLE_DB_URL", MoodleDatabase.open, "mysql+pymysql"),
        ("MOODLE_DB_URL", MoodleDatabase.open, "postgresql"),
        ("CALIPER_LEDGER_URL", Ledger, "postgresql+psycopg2"),
    ):
        with pytest.raises(ConfigurationError) as error:
            open_it(f"{scheme}://caliper:{password}@127.0.0.1:1/moodle")
        told = "".join(traceback.format_exception_only(error.value))
        assert f"{setting} holds more than one @: write" in told
        assert "%40" in told
        assert not any(part in told for part in ("unter", "22"))


@pytest.mark.parametrize("password", ["hunter%4022", "h/unter22", "h:unter22", "h#unter22"])
def test_another_password_is_never_shown(password: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        MoodleDatabase.open(f"postgresql://caliper:{password}@127.0.0.1:1/moodle")
    assert "no database answers at 127.0.0.1:1" in str(error.value)
    assert "unter" not in str(error.value)
