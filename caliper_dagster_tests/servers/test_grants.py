"""A missing grant is not a missing table: accounts that may read some tables of a real site."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError, SourceError
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.expander.required_tables import loaders_of, missing_tables
from caliper_dagster.operations.doctor import Verdict
from caliper_dagster.operations.doctor.moodle import grants
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.accounts import LOG, PartlyReadable, grants_in
from caliper_dagster_tests.harness.moodle_dump import DUMP_HOURS, DUMP_SITE

SERVERS = ("mariadb", "postgres")


@pytest.fixture(params=SERVERS)
def site(request: pytest.FixtureRequest) -> Iterator[PartlyReadable]:
    url = request.getfixturevalue(f"moodle_dump_{request.param}")
    site = PartlyReadable(request.getfixturevalue(f"{request.param}_server"), url)
    yield site
    site.drop_accounts()


def broken(url: str, *without: str) -> dict[str, str]:
    """What doctor finds broken, with the cure, by subject."""
    with MoodleDatabase.open(url, without=without) as database:
        found = list(grants(database))
    return {
        finding.subject: f"{finding.text} {finding.cure}"
        for finding in found
        if finding.verdict is Verdict.BROKEN
    }


def events(url: str, *without: str, hours: HourRange = DUMP_HOURS) -> list[str | None]:
    """The events of the hours, translated."""
    with MoodleDatabase.open(url, without=without) as database:
        log = pa.concat_tables(table for _, table in read_log(database, hours))
        table = Translator(DUMP_SITE).translate(expand(database, log.unify_dictionaries()))
    found: list[str | None] = table["json"].to_pylist()
    return found


ACCOUNTS: list[tuple[str, Callable[[PartlyReadable], list[str]], tuple[str, ...]]] = [
    ("the log only", lambda _: [LOG], ("config", "config_plugins", "course", "role", "user")),
    ("no course", lambda site: [it for it in site.tables if it != "course"], ("course",)),
    (
        "no attempts",
        lambda site: [it for it in site.tables if it != "quiz_attempts"],
        ("quiz_attempts",),
    ),
]


@pytest.mark.parametrize(
    ("readable", "missing"), [case[1:] for case in ACCOUNTS], ids=[case[0] for case in ACCOUNTS]
)
def test_what_cannot_be_read_is_named_with_the_grant_that_cures_it(
    site: PartlyReadable, readable: Callable[[PartlyReadable], list[str]], missing: tuple[str, ...]
) -> None:
    url = site.account(readable(site))

    found = broken(url)["Grants"]
    with pytest.raises(ConfigurationError, match="cannot read mdl_") as refusal:
        events(url)
    for _ in range(2):  # What is installed is known when the first grants are given.
        site.run(*grants_in(broken(url).get("Grants", "")))

    assert {f"mdl_{table}" for table in missing} <= set(re.findall(r"mdl_\w+", found))
    assert "MOODLE_DB_WITHOUT" in str(refusal.value)
    assert not broken(url)
    assert str(sa.make_url(url).password) not in found + str(refusal.value)


def test_the_tables_that_are_asked_for_are_enough(site: PartlyReadable) -> None:
    url = site.account([LOG])
    granted: set[str] = set()
    while True:
        with MoodleDatabase.open(url) as database:
            pairs = sa.text(f"SELECT DISTINCT eventname, objecttable FROM {database.quoted(LOG)}")
            rows = [(event, table or "") for event, table in database.execute(pairs)]
            missing = missing_tables(database, loaders_of(rows))
            # The real site's dump lacks some tables, and MariaDB does not tell that they are gone.
            tables = {*missing.denied, *missing.of_objects} & set(site.tables)
            if not tables:
                break
            granted |= tables
            grants = database.grants(sorted(tables), most=1000)
        site.run(*(it.replace("%", "%%") for it in grants))

    assert not granted & {"sessions", "user_password_history", "user_preferences"}
    assert len(granted) < len(site.tables) / 2
    assert not missing.denied
    assert events(url) == events(site.url.render_as_string(hide_password=False))


def test_tables_that_are_left_out_on_purpose_are_not_asked_for(site: PartlyReadable) -> None:
    url = site.account([it for it in site.tables if it not in ("course", "quiz_attempts")])
    one_hour = HourRange(Hour.from_key("2026-03-26-10:00"), Hour.from_key("2026-03-26-11:00"))

    assert not broken(url, "course", "mdl_quiz_attempts")
    assert "mdl_quiz_attempts" in broken(url, "course")["Grants"]
    assert None not in events(url, "course", "quiz_attempts", hours=one_hour)


@pytest.mark.parametrize("server", SERVERS)
def test_a_table_that_is_not_there_needs_another_cure(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{server}_url")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for table in ("config_plugins", "modules", LOG):
            connection.execute(
                sa.text(
                    f"CREATE TABLE mdl_{table} (id BIGINT, name VARCHAR(90), value VARCHAR(90), "
                    "plugin VARCHAR(90), eventname VARCHAR(90), objecttable VARCHAR(90))"
                )
            )
        connection.execute(sa.text("CREATE TABLE mdl_config (name VARCHAR(90), value VARCHAR(90))"))

    before = broken(url)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO mdl_config VALUES ('version', '2024100706.00')"))
        connection.execute(sa.text("INSERT INTO mdl_modules (id, name) VALUES (1, 'quiz')"))

    # Without a version it is no installed Moodle, and may have any tables.
    assert not before
    tables = broken(url)["Tables"]
    assert "mdl_course, " in tables
    assert "mdl_quiz_attempts" in tables
    assert "mdl_assign" not in tables
    assert "MOODLE_DB_WITHOUT=" in tables
    without = tables.rpartition("=")[2].split(",")
    assert not broken(url, *without)


def test_a_statement_without_the_right_to_it_points_to_doctor(site: PartlyReadable) -> None:
    url = site.account([LOG])
    refused = pytest.raises(SourceError, match=r"MOODLE_DB_URL: .*doctor` names the tables")
    with MoodleDatabase.open(url) as database, refused:
        database.execute(sa.text(f"SELECT id FROM {database.quoted('user')}"))
