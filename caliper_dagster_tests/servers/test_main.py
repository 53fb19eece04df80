"""What commands say of a database server."""

import pytest
from sqlalchemy.engine import make_url

from caliper_dagster.cli.main import main
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import SampleInstallation
from caliper_dagster_tests.unit.cli.test_main import RANGE


@pytest.mark.parametrize("server", ["mariadb_url", "postgres_url"])
def test_a_refused_password_is_one_sentence_without_it(
    server: str,
    site: SampleInstallation,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = make_url(request.getfixturevalue(server)).set(password="secret-password")
    given = {"MOODLE_DB_URL": url.render_as_string(hide_password=False)}
    with environment(dict(site.environment) | given):
        assert main(["backfill", *RANGE]) == 2
    told = capsys.readouterr().err
    assert told.startswith("MOODLE_DB_URL: the database at")
    assert told.count("\n") == 1
    assert "secret" not in told
