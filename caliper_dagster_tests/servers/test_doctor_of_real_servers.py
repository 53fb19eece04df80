"""What doctor says of accounts, prefixes and sites in MariaDB and PostgreSQL, by the command."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from caliper_dagster.cli.main import main
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.expander.site_facts import MoodleVersion, read_site_facts
from caliper_dagster.expander.write_rights import WriteRights, write_rights
from caliper_dagster_tests.harness.accounts import PartlyReadable
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.moodle_dump import DUMP_SITE
from caliper_dagster_tests.harness.servers import Server

SERVERS = ("mariadb", "postgres")

Says = Callable[..., dict[str, str]]


@pytest.fixture(params=SERVERS)
def site(request: pytest.FixtureRequest) -> Iterator[PartlyReadable]:
    url = request.getfixturevalue(f"moodle_dump_{request.param}")
    site = PartlyReadable(request.getfixturevalue(f"{request.param}_server"), url)
    yield site
    site.drop_accounts()


@pytest.fixture
def says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Says:
    """What doctor says of Moodle's database and site that is not "ok", by subject."""

    def of(url: str, **settings: str) -> dict[str, str]:
        given = {
            "MOODLE_DB_URL": url,
            "MOODLE_WWWROOT": DUMP_SITE,
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            **settings,
        }
        with environment(given):
            main(["doctor"])
        findings = re.split(r"\n(?=\S)", capsys.readouterr().out.strip())
        return {finding[8:24].strip(): finding for finding in findings if finding[:2] != "ok"}

    return of


def test_an_account_that_may_write_is_named_with_the_tables(
    site: PartlyReadable, says: Says
) -> None:
    reading = site.account(site.tables)
    writing = site.account(site.tables)
    name = sa.make_url(writing).username
    of_database = f"{site.url.database}." if site.server.kind == "mariadb" else ""
    to = f"'{name}'@'%%'" if site.server.kind == "mariadb" else name
    site.run(
        f"GRANT UPDATE ON {of_database}mdl_user TO {to}",
        f"GRANT INSERT (shortname) ON {of_database}mdl_course TO {to}"
        if site.server.kind == "mariadb"
        else f"GRANT INSERT (shortname) ON mdl_course TO {to}",
    )

    assert "Account" not in says(reading)
    account = says(writing)["Account"]
    assert account.startswith("WARN")
    assert "may write to mdl_course, mdl_user." in account
    assert "→ Use an account that may only SELECT" in account


@pytest.mark.parametrize("server", SERVERS)
def test_the_owner_of_the_database_may_write_everywhere(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{server}_url")
    create(url, "CREATE TABLE mdl_logstore_standard_log (id BIGINT, timecreated BIGINT)")
    with MoodleDatabase.open(url) as database:
        rights = write_rights(database)
    assert rights == (
        WriteRights(everywhere=True)
        if server == "mariadb"
        else WriteRights(tables=("mdl_logstore_standard_log",))
    )


def test_rights_in_another_database_of_mariadb_do_not_matter(
    moodle_dump_mariadb: str, mariadb_server: Server, mariadb_url: str
) -> None:
    site = PartlyReadable(mariadb_server, moodle_dump_mariadb)
    url = site.account(site.tables)
    name = sa.make_url(url).username
    try:
        other = sa.make_url(mariadb_url).database
        site.run(f"GRANT ALL PRIVILEGES ON {other}.* TO '{name}'@'%%'")
        site.run(f"GRANT CREATE TEMPORARY TABLES ON {site.url.database}.* TO '{name}'@'%%'")
        with MoodleDatabase.open(url) as database:
            assert not write_rights(database)
    finally:
        site.drop_accounts()


def test_the_prefix_that_exists_is_named(site: PartlyReadable, says: Says) -> None:
    url = site.url.render_as_string(hide_password=False)
    found = says(url, MOODLE_DB_PREFIX="m_")
    assert (
        "has no table m_logstore_standard_log, but mdl_logstore_standard_log: set "
        "MOODLE_DB_PREFIX to mdl_." in found["Moodle database"]
    )
    assert not {"Grants", "Account", "Same site", "Log lifetime"} & found.keys()


def test_a_wrong_password_is_one_finding(site: PartlyReadable, says: Says) -> None:
    wrong = secrets.token_hex(8)
    found = says(site.url.set(password=wrong).render_as_string(hide_password=False))
    assert "refuses this user and password: correct them." in found["Moodle database"]
    assert wrong not in "".join(found.values())
    assert not {"Grants", "Account", "Same site", "Log lifetime"} & found.keys()


def test_the_real_site_is_known_by_its_version(site: PartlyReadable) -> None:
    with MoodleDatabase.open(site.url.render_as_string(hide_password=False)) as database:
        facts = read_site_facts(database)
    assert facts.version == MoodleVersion(2024100706, "4.5.6")
    assert facts.version.branch == "4.5"
    assert facts.log_days == 0
    assert facts.has_address(DUMP_SITE)


@pytest.mark.parametrize("server", SERVERS)
def test_the_address_of_another_site_and_a_short_log_are_found(
    server: str, request: pytest.FixtureRequest, says: Says
) -> None:
    url = request.getfixturevalue(f"{server}_url")
    create(
        url,
        "CREATE TABLE mdl_logstore_standard_log (id BIGINT, timecreated BIGINT, other TEXT)",
        "CREATE TABLE mdl_config (id BIGINT, name VARCHAR(90), value VARCHAR(90))",
        "CREATE TABLE mdl_config_plugins "
        "(id BIGINT, plugin VARCHAR(90), name VARCHAR(90), value VARCHAR(90))",
        "CREATE TABLE mdl_mnet_host (id BIGINT, wwwroot VARCHAR(90))",
        "INSERT INTO mdl_config VALUES (1, 'mnet_localhost_id', '7')",
        f"INSERT INTO mdl_config VALUES (2, 'siteidentifier', '{'x' * 32}first.example.org')",
        "INSERT INTO mdl_mnet_host VALUES (7, 'https://Moodle.example.org/moodle')",
        "INSERT INTO mdl_config_plugins VALUES (1, 'logstore_standard', 'loglifetime', '365')",
        "INSERT INTO mdl_logstore_standard_log VALUES (1, 1700000000, NULL)",
    )

    found = says(url, MOODLE_WWWROOT="https://other.example.org", CALIPER_START="2023-01-01")

    assert "is that of https://Moodle.example.org/moodle" in found["Same site"]
    assert found["Log lifetime"].startswith("BROKEN")
    assert (
        "deletes log rows after 365 days (loglifetime), and hours from 2023-11-14T22:00Z on are "
        "not taken: their rows are lost from now on." in found["Log lifetime"]
    )
    assert "backfill --from 2023-11-14T22:00Z" in found["Log lifetime"]
    for address in ("http://moodle.example.org/moodle/", "https://first.example.org"):
        assert "Same site" not in says(url, MOODLE_WWWROOT=address)


def create(url: str, *statements: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()
