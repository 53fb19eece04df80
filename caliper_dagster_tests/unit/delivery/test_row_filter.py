"""The filter of rows: each rule on rows made by hand, and the account that closes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from caliper_dagster.config.event_stores import EventFilter, EventStoreDefinition
from caliper_dagster.config.row_filter import RowFilter
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import EXPANDED_LOG, RECORD
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.delivery.row_filter import RowRules, audience_query
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.expander.audience import Audience, Category
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.handmade_site import LOG_ROW, NOW

STUDENT = {"roles": [{"shortname": "student", "archetype": "student"}]}
TEACHER = {"roles": [{"shortname": "editingteacher", "archetype": "editingteacher"}]}
BIOLOGY = {"id": 5, "shortname": "BIO-1", "idnumber": "b1", "category": {"id": 3}}


def expanded(*rows: dict[str, Any]) -> pa.Table:
    """Rows of ``EXPANDED_LOG``: what a row does not say is as in ``LOG_ROW``, or null."""
    columns: dict[str, pa.Array] = {}
    for column in EXPANDED_LOG.columns:
        values = [{"id": 1 + nth, **LOG_ROW, "other": None, **row}.get(column.name)
                  for nth, row in enumerate(rows)]  # fmt: skip
        if column.type == RECORD:
            values = [json.dumps(it) if isinstance(it, dict) else it for it in values]
            columns[column.name] = pa.array(values, pa.string()).dictionary_encode()
        else:
            columns[column.name] = pa.array(values, column.type)
    return EXPANDED_LOG.conform(pa.table(columns))


def reasons(
    rules: Mapping[str, object], *rows: dict[str, Any], audience: Audience | None = None
) -> list[str | None]:
    filter_ = RowFilter.model_validate(rules)
    rule = RowRules(filter_, audience or Audience()).apply(expanded(*rows))
    found: list[str | None] = rule.to_pylist()
    return found


def users(folder: Path, *ids: int) -> dict[str, str]:
    path = folder / "users.txt"
    path.write_text("# consent of 2026\n" + "".join(f"{id_}  # a learner\n" for id_ in ids))
    return {"users_file": str(path)}


@pytest.mark.parametrize(
    "row",
    [
        {"userid": 7},
        {"userid": 2, "relateduserid": 7},
        {"userid": 2, "realuserid": 7},
        {"userid": 2, "realuser": {"id": 7}},
        {"userid": 7, "anonymous": 1},
        {"userid": 2, "objecttable": "user", "objectid": 7},
        {"userid": 2, "contextlevel": 30, "contextinstanceid": 7},
        {"userid": 2, "object": {"id": 1, "userid": 7}},
        {"userid": 2, "object": {"id": 1, "grade": {"grader": 7}}},
        {"userid": 2, "object": {"id": 1, "parentuserid": 7}},
        {"userid": 2, "object": {"id": 1, "raterid": 7}},
        {"userid": 2, "other": {"createdby": "7"}},
        {"userid": 2, "object": {"id": 1, "members": [3, 7, 12]}},
        {"userid": 2, "other": {"submitterid": "7"}},
        {"userid": 2, "other": {"userids": ["3", "7"]}},
        {"userid": 2, "other": {"itemid": 7, "itemtype": "user"}},
    ],
)
def test_a_row_that_names_a_person_who_opted_out_is_filtered(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    item = {"itemtype": "course", "itemid": 7}
    other = {"userid": 2, "object": {"id": 7, "name": '"userid":7'}, "other": item, "courseid": 7}
    rule = {"opt_out": users(tmp_path, 7, 8)}
    assert reasons(rule, row, other, {"userid": 0}) == ["opt_out", None, None]


def test_with_opt_in_all_persons_of_a_row_must_have_opted_in(tmp_path: Path) -> None:
    assert reasons(
        {"opt_in": users(tmp_path, 7)},
        {"userid": 7},
        {"userid": 7, "relateduserid": 8},
        {"userid": 8},
        {"userid": 7, "object": {"userid": 8}},
        {"userid": -1},
        {"userid": 0, "relateduserid": 0},
    ) == [None, "opt_in", "opt_in", "opt_in", None, None]


def test_persons_of_cohorts_and_of_a_file_are_meant_together(tmp_path: Path) -> None:
    audience = Audience(members={"out": pa.array([4, 9]).to_numpy()})
    rule = {"opt_out": {"cohorts": ["out"], **users(tmp_path, 7)}}
    found = reasons(rule, *({"userid": id_} for id_ in (4, 7, 8, 9)), audience=audience)
    assert found == ["opt_out", "opt_out", None, "opt_out"]


def test_an_empty_cohort_is_nobody() -> None:
    audience = Audience(members={5: pa.array([], pa.int64()).to_numpy()})
    rows = ({"userid": 4}, {"userid": 0})
    assert reasons({"opt_in": {"cohorts": [5]}}, *rows, audience=audience) == ["opt_in", None]
    assert reasons({"opt_out": {"cohorts": [5]}}, *rows, audience=audience) == [None, None]


def test_guests_log_in_as_and_service_accounts() -> None:
    rows: tuple[dict[str, Any], ...] = (
        {"userid": 1, "user": {"id": 1, "guest": 1}},
        {"userid": 4, "courseid": 5, "user_membership": {"roles": [], "guest": 1}},
        {"userid": 5, "user": {"id": 5}, "realuserid": 2},
        {"userid": 14},
        {"userid": 6, "realuserid": 15},
        {"userid": 6, "relateduserid": 14},
        {"userid": 6, "realuser": {"id": 2}},
    )
    found = reasons(
        {
            "guests": False,
            "login_as": False,
            "service_accounts": {"exclude": [14, "webservice"]},
        },
        *rows,
        audience=Audience(web_service_accounts=frozenset({15})),
    )
    assert found == [
        "guests",
        "guests",
        "login_as",
        "service_accounts",
        "login_as",
        None,
        "login_as",
    ]
    assert reasons({"service_accounts": {"exclude": [15]}}, *rows)[4] == "service_accounts"


def test_origins() -> None:
    rows = ({"origin": "web"}, {"origin": "ws"}, {"origin": "cli"}, {"origin": None})
    assert reasons({"origins": {"include": ["web", "ws"]}}, *rows) == [
        *(None, None), "origins: include", "origins: include",
    ]  # fmt: skip
    assert reasons({"origins": {"exclude": ["restore"]}}, *rows) == [
        *(None, None, None), "origins: exclude restore",
    ]  # fmt: skip


def test_courses_by_id_idnumber_and_short_name() -> None:
    rows: tuple[dict[str, Any], ...] = (
        {"courseid": 5, "course": BIOLOGY},
        {"courseid": 6, "course": {"id": 6, "shortname": "ART-1", "idnumber": ""}},
        {"courseid": 7},
        {"courseid": 1, "course": {"id": 1, "shortname": "BIO-front"}},
        {"courseid": 0},
    )
    include = ["courses: include"]
    assert reasons({"courses": {"include": ["BIO-*"]}}, *rows) == [None, *include * 4]
    assert reasons({"courses": {"include": [7, "b?"]}}, *rows) == [
        *(None, "courses: include", None), *include * 2,
    ]  # fmt: skip
    # Nobody knows the name of the course that is gone: it might be one that is excluded.
    assert reasons({"courses": {"exclude": ["ART-*"]}}, *rows) == [
        *(None, "courses: exclude ART-*", "courses: not known", None, None),
    ]
    assert reasons({"courses": {"exclude": [5]}}, *rows) == [
        *("courses: exclude 5", None, None, None, None),
    ]


def test_a_category_has_the_courses_of_its_subcategories() -> None:
    audience = Audience(
        categories={
            3: Category(frozenset({1, 3}), frozenset({"science"})),
            4: Category(frozenset({4}), frozenset({"archive-2025"})),
        }
    )
    rows: tuple[dict[str, Any], ...] = (
        {"courseid": 5, "course": BIOLOGY},
        {"courseid": 6, "course": {"id": 6, "category": {"id": 4}}},
        {"courseid": 7, "course": {"id": 7, "category": None}},
        {"courseid": 0},
    )
    for entry in (1, 3, "science"):
        assert reasons({"categories": {"include": [entry]}}, *rows, audience=audience) == [
            *(None, "categories: include", "categories: not known", "categories: include"),
        ]
    assert reasons({"categories": {"exclude": ["archive*"]}}, *rows, audience=audience) == [
        *(None, "categories: exclude archive*", "categories: not known", None),
    ]


def test_roles_are_those_of_the_acting_user_at_the_time() -> None:
    rows: tuple[dict[str, Any], ...] = (
        {"userid": 7, "courseid": 5, "user_membership": STUDENT},
        {"userid": 2, "courseid": 5, "user_membership": TEACHER, "relateduserid": 7},
        {"userid": 8, "courseid": 5, "user_membership": {"user": 8, "course": 5}},
        {"userid": 9, "courseid": 5, "anonymous": 1},
        {"userid": 7, "courseid": 0},
        {"userid": 0, "courseid": 5},
    )
    assert reasons({"roles": {"include": ["student"]}}, *rows) == [None, *["roles: include"] * 5]
    assert reasons({"roles": {"exclude": ["*teacher"]}}, *rows) == [
        *(None, "roles: exclude *teacher", "roles: not known", "roles: not known", None, None),
    ]


def test_courses_with_few_learners() -> None:
    rows = ({"courseid": 5}, {"courseid": 6}, {"courseid": 7}, {"courseid": 1}, {"courseid": 0})
    audience = Audience(learners={5: 10, 6: 4})
    assert reasons({"minimum_learners": 5}, *rows, audience=audience) == [
        *(None, "minimum_learners", "minimum_learners", None, None),
    ]


def test_a_row_counts_under_the_first_rule_that_filters_it(tmp_path: Path) -> None:
    found = reasons(
        {"opt_out": users(tmp_path, 7), "login_as": False, "origins": {"include": ["web"]}},
        {"userid": 7, "realuserid": 2, "origin": "cli"},
        {"userid": 8, "realuserid": 2, "origin": "cli"},
        {"userid": 8, "origin": "cli"},
        {"userid": 8},
    )
    assert found == ["opt_out", "login_as", "origins: include", None]


def test_filtered_rows_are_outcomes_in_their_places_and_the_account_closes(
    tmp_path: Path,
) -> None:
    rows = expanded(*({"userid": id_, "timecreated": NOW + id_} for id_ in (7, 8, 7, 9)))
    rules = RowRules(RowFilter.model_validate({"opt_out": users(tmp_path, 7)}), Audience())
    events = rules.translate(Translator("https://moodle.example.org").translate, rows)
    assert events["log_id"].to_pylist() == [1, 2, 3, 4]
    assert events["outcome"].to_pylist() == ["filtered", "event", "filtered", "event"]
    assert events["reason"].to_pylist() == ["opt_out", None, "opt_out", None]
    assert [event is None for event in events["json"].to_pylist()] == [True, False, True, False]

    account = Account.of(4, rows["id"], events)
    assert (account.rows, account.events, account.filtered) == (4, 2, {"opt_out": 2})
    assert account.unexplained == 0
    assert sum(account.by_resolution.values()) == 2
    assert sum(account.by_name.values()) == 4


def test_all_rows_or_none_may_be_filtered(tmp_path: Path) -> None:
    rules = RowRules(RowFilter.model_validate({"opt_out": users(tmp_path, 7)}), Audience())
    translator = Translator("https://moodle.example.org")
    all_of_them = rules.translate(translator.translate, expanded({"userid": 7}, {"userid": 7}))
    assert all_of_them["outcome"].to_pylist() == ["filtered", "filtered"]
    rows = expanded({"userid": 8})
    assert rules.translate(translator.translate, rows).equals(translator.translate(rows))
    assert not rules.translate(translator.translate, rows.slice(0, 0)).num_rows


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "is empty: write one user id into each line"),
        ("# nobody yet\n\n", "is empty: write one user id into each line"),
        ("7\nmaria@example.org\n", "has no user id in line 2"),
        ("-7\n", "has no user id in line 1"),
    ],
)
@pytest.mark.parametrize("rule", ["opt_in", "opt_out"])
def test_a_file_of_users_that_names_nobody_is_an_error(
    tmp_path: Path, rule: str, text: str | None, problem: str
) -> None:
    path = tmp_path / "users.txt"
    if text is not None:
        path.write_text(text)
    filter_ = RowFilter.model_validate({rule: {"users_file": str(path)}})
    store = EventStoreDefinition(name="research", filter=EventFilter(rows=filter_))

    def open_moodle() -> AbstractContextManager[MoodleDatabase]:
        raise AssertionError("no rule needs Moodle")

    with pytest.raises(ConfigurationError) as error:
        RowRules.read(store, open_moodle)
    place = f"Event store research: filter.rows.{rule}.users_file: the file {path} "
    assert str(error.value).startswith(place + problem)
    assert "maria" not in str(error.value)


def test_without_rules_nothing_is_opened() -> None:
    def open_moodle() -> AbstractContextManager[MoodleDatabase]:
        raise AssertionError("there is no rule")

    assert RowRules.read(EventStoreDefinition(), open_moodle) is None


@pytest.mark.parametrize(
    ("rules", "needs_moodle"),
    [
        ({"guests": False, "login_as": False, "roles": {"include": ["student"]}}, False),
        ({"courses": {"exclude": ["ART-*"]}, "origins": {"exclude": ["cli"]}}, False),
        ({"opt_out": {"users_file": "/users.txt"}, "service_accounts": {"exclude": [4]}}, False),
        ({"opt_out": {"cohorts": [3]}}, True),
        ({"opt_in": {"cohorts": ["consent"]}}, True),
        ({"categories": {"exclude": ["archive*"]}}, True),
        ({"service_accounts": {"exclude": ["webservice"]}}, True),
        ({"minimum_learners": 5}, True),
    ],
)
def test_moodle_is_asked_only_if_a_rule_needs_it(
    rules: dict[str, object], needs_moodle: bool
) -> None:
    filter_ = RowFilter.model_validate(rules)
    assert filter_.reads_moodle is needs_moodle
    assert bool(audience_query(filter_)) is needs_moodle
