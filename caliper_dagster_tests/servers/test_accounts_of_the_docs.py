"""The accounts that the docs make: Moodle's may only read, that of the services has databases."""

from __future__ import annotations

import re
import secrets

import pytest
import sqlalchemy as sa

from caliper_dagster.core.site_identity import SiteIdentity
from caliper_dagster.dagster.instance.bulk_postgres import PostgresStorage
from caliper_dagster.emitter import Ledger
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.operations.doctor import Verdict
from caliper_dagster.operations.doctor.moodle import grants
from caliper_dagster_tests.harness.accounts import PartlyReadable
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.servers import Server

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


def test_the_databases_of_dagster_and_of_the_ledger(
    postgres_server: Server, postgres_url: str
) -> None:
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r" *```sql\n(.*?)```", page, re.S)
    role, password, mark = (
        f"owner_{secrets.token_hex(4)}",
        secrets.token_hex(8),
        secrets.token_hex(3),
    )
    for word, value in {
        "ROLE caliper": f"ROLE {role}",
        "OWNER caliper": f"OWNER {role}",
        "'…'": f"'{password}'",
        "DATABASE dagster": f"DATABASE dagster_{mark}",
        "DATABASE ledger": f"DATABASE ledger_{mark}",
    }.items():
        assert word in shown
        shown = shown.replace(word, value)
    postgres_server.execute(*filter(str.strip, shown.split(";")))
    url = sa.make_url(postgres_url).set(username=role, password=password)
    try:
        with Ledger(url.set(database=f"ledger_{mark}").render_as_string(False)) as ledger:
            ledger.claim(SiteIdentity("moodle", "https://moodle.example.org"))
        storage = PostgresStorage(url.set(database=f"dagster_{mark}").render_as_string(False))
        assert storage.run_storage.get_runs_count() == 0
        storage.event_log_storage.dispose()
        storage.run_storage.dispose()
        storage.schedule_storage.dispose()
    finally:
        postgres_server.execute(
            f"DROP DATABASE dagster_{mark}", f"DROP DATABASE ledger_{mark}", f"DROP ROLE {role}"
        )
