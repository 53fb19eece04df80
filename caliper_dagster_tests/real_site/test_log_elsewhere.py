"""The real site's log in a second database: the same bytes as in the first one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal, NamedTuple

import pyarrow as pa
import pytest
import sqlalchemy as sa

from caliper_dagster.expander import LogPlace, MoodleDatabase
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.accounts import LOG, PartlyReadable
from caliper_dagster_tests.harness.moodle_dump import (
    LOG_TABLE,
    copy_log_to_mariadb,
    copy_to_postgres,
    expand_dump,
)
from caliper_dagster_tests.harness.servers import Server
from caliper_dagster_tests.real_site.site import WWWROOT, Translation
from caliper_dagster_tests.real_site.test_databases import assert_equal

Kind = Literal["mariadb", "postgres"]


class Moodle(NamedTuple):
    """A Moodle whose database does not show its log, and the database of the log."""

    url: str
    log: LogPlace


@pytest.fixture(
    params=[
        ("mariadb", "mariadb", LOG_TABLE),
        ("mariadb", "postgres", "external_log"),
        ("postgres", "mariadb", "mdl_external"),
        ("postgres", "postgres", LOG),
    ],
    ids=lambda case: " beside ".join(case[:2]),
)
def moodle(request: pytest.FixtureRequest) -> Iterator[Moodle]:
    names, log, table = request.param
    with ExitStack() as opened:
        server: Server = request.getfixturevalue(f"{names}_server")
        site = PartlyReadable(server, request.getfixturevalue(f"moodle_dump_{names}"))
        opened.callback(site.drop_accounts)
        url = site.account(name for name in site.tables if name != LOG)
        logs: Server = request.getfixturevalue(f"{log}_server")
        log_url = logs.create_database()
        opened.callback(logs.drop_database, log_url)
        dump: str = request.getfixturevalue("moodle_dump_mariadb")
        if log == "mariadb":
            copy_log_to_mariadb(logs, dump, log_url, table)
        else:
            copy_to_postgres(dump, log_url, {LOG_TABLE: table})
        given = None if table == LOG_TABLE else table.removeprefix("mdl_")
        yield Moodle(url, LogPlace(log_url, given, wait=24))


def test_a_log_in_a_second_database_gives_the_same_bytes(
    moodle: Moodle, expanded: pa.Table, translations: dict[str, Translation]
) -> None:
    with MoodleDatabase.open(moodle.url, log=moodle.log) as database:
        assert not database.has_table(LOG), "the log can be read in one place only"
        assert database.log.has_table(LOG)
    other = expand_dump(moodle.url, moodle.log)

    assert_equal(other, expanded)
    for version, translation in translations.items():
        assert_equal(Translator(WWWROOT, version=version).translate(other), translation.table)


def test_a_log_under_another_name_gives_the_same_bytes(
    moodle_dump_mariadb: str, mariadb_server: Server, expanded: pa.Table
) -> None:
    name = sa.make_url(moodle_dump_mariadb).database
    mariadb_server.execute(f"CREATE VIEW {name}.log_of_us AS SELECT * FROM {name}.{LOG_TABLE}")
    try:
        assert_equal(expand_dump(moodle_dump_mariadb, LogPlace(table="log_of_us")), expanded)
    finally:
        mariadb_server.execute(f"DROP VIEW {name}.log_of_us")
