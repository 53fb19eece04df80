"""What filters of rows ask Moodle: cohorts, categories, learners and accounts of web services."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from caliper_dagster.config.row_filter import RowFilter
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.delivery.row_filter import audience_query, grants_missing
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.expander.audience import Audience
from caliper_dagster_tests.harness.accounts import LOG, PartlyReadable, grants_in
from caliper_dagster_tests.harness.handmade_site import server_tables, write

SERVERS = ("mariadb", "postgres")
_TEXTS = {"idnumber", "path", "archetype", "auth"}
_TABLES: dict[str, list[dict[str, object]]] = {
    "cohort": [
        {"id": 1, "idnumber": "consent-2026"},
        {"id": 2, "idnumber": ""},
        {"id": 3, "idnumber": "nobody"},
    ],
    "cohort_members": [
        {"id": 1, "cohortid": 1, "userid": 9},
        {"id": 2, "cohortid": 1, "userid": 7},
        {"id": 3, "cohortid": 2, "userid": 8},
    ],
    "course_categories": [
        {"id": 1, "idnumber": "science", "path": "/1"},
        {"id": 3, "idnumber": None, "path": "/1/3"},
        {"id": 4, "idnumber": "art", "path": "/4"},
    ],
    "context": [
        {"id": 50, "contextlevel": 50, "instanceid": 5},
        {"id": 51, "contextlevel": 50, "instanceid": 6},
        {"id": 70, "contextlevel": 70, "instanceid": 5},
    ],
    "role": [{"id": 5, "archetype": "student"}, {"id": 3, "archetype": "editingteacher"}],
    "role_assignments": [
        {"id": 1, "roleid": 5, "contextid": 50, "userid": 7},
        {"id": 2, "roleid": 5, "contextid": 50, "userid": 7},
        {"id": 3, "roleid": 5, "contextid": 50, "userid": 8},
        {"id": 4, "roleid": 5, "contextid": 50, "userid": 9},
        {"id": 5, "roleid": 3, "contextid": 51, "userid": 7},
        {"id": 6, "roleid": 5, "contextid": 70, "userid": 8},
        {"id": 7, "roleid": 5, "contextid": 51, "userid": 8},
    ],
    "user": [
        {"id": 7, "deleted": 0, "auth": "manual"},
        {"id": 8, "deleted": 0, "auth": "ldap"},
        {"id": 9, "deleted": 1, "auth": "manual"},
        {"id": 14, "deleted": 0, "auth": "webservice"},
        {"id": 15, "deleted": 0, "auth": "manual"},
    ],
    "external_services_users": [{"id": 1, "userid": 15}],
}
ALL_RULES = RowFilter.model_validate(
    {
        "opt_in": {"cohorts": ["consent-2026", 2]},
        "opt_out": {"cohorts": ["nobody"]},
        "categories": {"include": ["science", 4], "exclude": ["archive*"]},
        "service_accounts": {"exclude": ["webservice"]},
        "minimum_learners": 2,
    }
)


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest) -> str:
    """A database with the tables that filters read, and a log."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    metadata = server_tables("mdl_")
    metadata.remove(metadata.tables["mdl_user"])
    for table, rows in _TABLES.items():
        sa.Table(
            f"mdl_{table}",
            metadata,
            *(
                sa.Column(name, sa.String(255) if name in _TEXTS else sa.BigInteger)
                for name in rows[0]
            ),
        )
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    metadata.create_all(engine)
    for table, rows in _TABLES.items():
        write(url, metadata, f"mdl_{table}", rows)
    return url


def ask(url: str, rules: RowFilter, *without: str) -> Audience:
    with MoodleDatabase.open(url, without=without) as database:
        return Audience.read(database, audience_query(rules))


def test_all_answers(url: str) -> None:
    with MoodleDatabase.open(url) as database:
        before = database.statements
        found = Audience.read(database, audience_query(ALL_RULES))
        assert database.statements - before <= 8  # whatever the number of users and courses
    assert {name: ids.tolist() for name, ids in found.members.items()} == {
        "consent-2026": [7, 9],
        2: [8],
        "nobody": [],
    }
    assert found.categories[3].ids == {1, 3}
    assert found.categories[3].idnumbers == {"science"}
    assert found.learners == {5: 2, 6: 1}
    assert found.web_service_accounts == {14, 15}


def test_only_what_is_needed_is_asked_for(url: str) -> None:
    found = ask(url, RowFilter.model_validate({"minimum_learners": 2}))
    assert (found.members, found.categories, found.web_service_accounts) == ({}, {}, frozenset())


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"opt_in": {"cohorts": ["consent-2025"]}}, "no cohort with the ID number consent-2025"),
        ({"opt_out": {"cohorts": [44]}}, "no cohort with the id 44"),
        ({"opt_out": {"cohorts": ["2"]}}, "no cohort with the ID number 2"),
        ({"categories": {"exclude": [44]}}, "no course category with the id 44"),
        ({"categories": {"include": ["music"]}}, "no course category with the ID number music"),
    ],
)
def test_what_is_not_there_is_an_error(url: str, rules: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        ask(url, RowFilter.model_validate(rules))


def test_a_table_that_is_left_out_on_purpose_is_an_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read mdl_cohort_members, which a filter"):
        ask(url, ALL_RULES, "cohort_members")


@pytest.fixture(params=SERVERS)
def real_site(request: pytest.FixtureRequest) -> Iterator[PartlyReadable]:
    url = request.getfixturevalue(f"moodle_dump_{request.param}")
    site = PartlyReadable(request.getfixturevalue(f"{request.param}_server"), url)
    yield site
    site.drop_accounts()


def test_a_missing_grant_is_an_error_and_is_named(real_site: PartlyReadable) -> None:
    rules = RowFilter.model_validate(
        {"minimum_learners": 2, "service_accounts": {"exclude": ["webservice"]}}
    )
    needed = set(audience_query(rules).columns)
    url = real_site.account([LOG, *needed - {"role_assignments", "external_services_users"}])

    with pytest.raises(ConfigurationError) as refusal:
        ask(url, rules)
    assert "mdl_external_services_users, mdl_role_assignments" in str(refusal.value)
    with MoodleDatabase.open(url) as database:
        missing = grants_missing(rules, database)
        grants = database.grants(missing)
    assert missing == ("external_services_users", "role_assignments")
    real_site.run(*grants_in(" ".join(grants)))

    found = ask(url, rules)
    assert max(found.learners.values()) > 2
