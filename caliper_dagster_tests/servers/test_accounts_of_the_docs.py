"""The accounts of ``docs/connect-moodle.md`` may read all that is needed, and write nothing."""

from __future__ import annotations

import re
import secrets

import pytest
import sqlalchemy as sa

from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.operations.doctor import Verdict
from caliper_dagster.operations.doctor.moodle import grants
from caliper_dagster_tests.harness.accounts import PartlyReadable
from caliper_dagster_tests.harness.paths import ROOT

_PAGE = (ROOT / "docs" / "connect-moodle.md").read_text(encoding="utf-8")
MARIADB, POSTGRESQL = re.findall(r"```sql\n(.*?)```", _PAGE, re.S)


@pytest.mark.parametrize(
    ("kind", "shown"), [("mariadb", MARIADB), ("postgres", POSTGRESQL)], ids=["mariadb", "postgres"]
)
def test_the_account_of_the_page(kind: str, shown: str, request: pytest.FixtureRequest) -> None:
    site = PartlyReadable(
        request.getfixturevalue(f"{kind}_server"), request.getfixturevalue(f"moodle_dump_{kind}")
    )
    name, password = f"shown_{secrets.token_hex(4)}", secrets.token_hex(12)
    with site.server._administrator(site.url.database) as connection:
        owner = connection.exec_driver_sql("SELECT CURRENT_USER").scalar_one()
    values = {
        "'…'": f"'{password}'",
        "'caliper'": f"'{name}'",
        "caliper": name,
        "moodle.*": f"{site.url.database}.*",
        "ROLE moodle": f'ROLE "{owner}"',
        "%": "%%",
    }
    for word, value in values.items():
        shown = shown.replace(word, value)
    site.run(*(statement for statement in shown.split(";") if statement.strip()))
    site._accounts.append(name)
    url = site.url.set(username=name, password=password).render_as_string(hide_password=False)
    try:
        with MoodleDatabase.open(url) as database:
            assert {found.verdict for found in grants(database)} == {Verdict.FINE}
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError):
            connection.exec_driver_sql("DELETE FROM mdl_logstore_standard_log")
        engine.dispose()
    finally:
        site.drop_accounts()
