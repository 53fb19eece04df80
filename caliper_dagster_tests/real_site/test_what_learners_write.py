"""No text that a learner wrote leaves: each is replaced by a mark, and no event holds a mark.

The marks stand in every table of the site that learners write to, and in the event data of the log.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import cast

import pyarrow as pa
import pytest
import sqlalchemy as sa

from caliper_dagster.caliper.versions import VersionName
from caliper_dagster.core.privacy import PROFILES, ProfileName
from caliper_dagster.expander.event_data import decode
from caliper_dagster.translator import Translator
from caliper_dagster.translator.event_data_filter import VOCABULARIES
from caliper_dagster_tests.harness.moodle_dump import expand_dump
from caliper_dagster_tests.real_site import moodle_copy
from caliper_dagster_tests.real_site.site import VERSIONS, WWWROOT

MARK = "Plantedmark"
PRIVATE = "Privatemark"
PHONE = 4_915_112_345_678

WRITTEN = {
    "assignfeedback_comments": "commenttext",
    "assignfeedback_editpdf_quick": "rawtext",
    "assignsubmission_onlinetext": "onlinetext",
    "bigbluebuttonbn_logs": "meetingid log meta",
    "block_rss_client": "title preferredtitle description url",
    "blog_external": "name description url filtertags",
    "chat_messages": "message",
    "chat_messages_current": "message",
    "comments": "content",
    "competency_evidence": "desca url note",
    "competency_plan": "name description",
    "competency_userevidence": "name description url",
    "data_content": "content content1 content2 content3 content4",
    "feedback_completedtmp": "guestid",
    "feedback_value": "value",
    "feedback_valuetmp": "value",
    "files": "filepath filename source author",
    "forum_discussions": "name",
    "forum_posts": "subject message attachment",
    "glossary_alias": "alias",
    "glossary_entries": "definition attachment",
    "grade_grades": "feedback information",
    "grade_grades_history": "feedback information",
    "grade_import_values": "feedback",
    "h5pactivity_attempts_results": "subcontent response additionals",
    "lesson_attempts": "useranswer",
    "message": "subject fullmessage fullmessagehtml smallmessage contexturlname",
    "message_conversations": "name",
    "message_read": "subject fullmessage fullmessagehtml smallmessage contexturlname",
    "messages": "subject fullmessage fullmessagehtml smallmessage customdata",
    "notifications": "subject fullmessage fullmessagehtml smallmessage contexturlname customdata",
    "post": "subject summary content attachment",
    "question_attempts": "responsesummary",
    "question_attempt_step_data": "value",
    "survey_analysis": "notes",
    "survey_answers": "answer1 answer2",
    "tag": "name rawname description",
    "tool_policy_acceptances": "note",
    "user": "username idnumber firstname lastname email phone1 phone2 institution department "
    "address city description middlename alternatename moodlenetprofile lastip secret",
    "user_info_data": "data",
    "user_private_key": "value",
    "wiki_locks": "sectionname",
    "wiki_pages": "title cachedcontent",
    "wiki_versions": "content",
    "workshop_assessments": "feedbackauthor feedbackreviewer",
    "workshop_submissions": "title content feedbackauthor",
}
"""By table: the columns that learners, or others about them, write to."""

NOT_WRITTEN = {
    "assign_submission", "assign_user_flags", "badge", "badge_backpack", "badge_backpack_oauth2",
    "badge_issued", "block_recent_activity", "chat_users", "contentbank_content", "enrol_flatfile",
    "event", "external_services_users", "favourite", "grading_definitions", "groups_members",
    "lesson_overrides", "logstore_caliper_log", "logstore_standard_log",
    "moodlenet_share_progress", "my_pages", "payments", "question_attempt_steps", "quiz_attempts",
    "quiz_overrides", "rating", "reportbuilder_audience", "reportbuilder_column",
    "reportbuilder_filter", "reportbuilder_report", "reportbuilder_schedule", "role_assignments",
    "scale", "scale_history", "scorm_aicc_session", "tool_monitor_rules",
}  # fmt: skip
"""Tables with owners whose texts are the institution's or words of Moodle's. ``event`` is divided:
a person's own entries get a mark."""

OWNERS = {"userid", "authorid", "useridfrom", "usercreated", "user"}

KEPT = {
    *VOCABULARIES, "concept", "coursefullname", "courseshortname", "fieldname", "fullname",
    "itemname", "itemtype", "name", "newtitle", "sectionname", "shortname", "title",
}  # fmt: skip
"""Keys of ``other`` whose text is the institution's or a group's, or a word."""

OF_PERSONS = re.compile(r"tag_|calendar_event|wiki")
"""Events in whose data ``name`` and ``title`` are a person's."""


@pytest.fixture(scope="module")
def marked(moodle_dump_mariadb: str, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The site's log, expanded, with marks in place of what learners wrote."""
    path = tmp_path_factory.mktemp("marked") / "moodle.sqlite"
    moodle_copy.copy_to_sqlite(moodle_dump_mariadb, path)
    with closing(sqlite3.connect(path)) as site, site:
        tables = {name for (name,) in site.execute("SELECT name FROM sqlite_master")}
        for table, columns in WRITTEN.items():
            if f"mdl_{table}" in tables:
                _plant(site, table, columns.split())
        site.execute(f"UPDATE mdl_event SET name = '{PRIVATE} entry' WHERE eventtype = 'user'")
        site.execute(
            "UPDATE mdl_scorm_scoes_value SET value = ? WHERE value GLOB '*[a-z]*'", (f"{MARK} x",)
        )
        _plant_in_log(site)
    return expand_dump(f"sqlite:///{path}")


def _plant(site: sqlite3.Connection, table: str, columns: list[str]) -> None:
    texts = ", ".join(f"\"{column}\" = '{MARK} {table}.{column}'" for column in columns)
    site.execute(f"UPDATE mdl_{table} SET {texts}")


def _plant_in_log(site: sqlite3.Connection) -> None:
    rows = site.execute(
        "SELECT l.id, l.eventname, l.other, e.eventtype FROM mdl_logstore_standard_log l "
        "LEFT JOIN mdl_event e ON l.objecttable = 'event' AND e.id = l.objectid"
    ).fetchall()
    changed = []
    for id_, event, stored, entry in rows:
        other = decode(stored or "")
        if not isinstance(other, dict):
            continue
        for key, value in other.items():
            of_person = (
                key in ("name", "title", "rawname")
                and OF_PERSONS.search(event)
                and entry in (None, "user")
            )
            if isinstance(value, str) and not value.isdigit() and (key not in KEPT or of_person):
                mark = PRIVATE if "calendar" in event else MARK
                other[key] = f"{mark} other.{key}"
        other |= {"plantedmark": PHONE, f"{MARK} key": True, "nested": {"note": f"{MARK} nested"}}
        changed.append((json.dumps(other), id_))
    site.executemany("UPDATE mdl_logstore_standard_log SET other = ? WHERE id = ?", changed)


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> VersionName:
    return cast("VersionName", request.param)


def _events(marked: pa.Table, version: VersionName, profile: ProfileName) -> Iterator[str]:
    key = b"key of the event store" if PROFILES[profile].keyed else None
    table = Translator(WWWROOT, version=version, profile=profile, key=key).translate(marked)
    assert "failed" not in table["outcome"].unique().to_pylist()
    return (text for text in table["json"].to_pylist() if text)


def _marks(events: Iterator[str], mark: str) -> set[str]:
    """The marks in some events, in any encoding."""
    found = re.compile(rf"{mark}(?:\s|%20|\+|\\u0020)?[\w.]*", re.IGNORECASE)
    return {hit for text in events for hit in found.findall(text)}


@pytest.mark.parametrize("name", ["identified", "pseudonymous", "anonymous"])
def test_no_text_that_a_learner_wrote_leaves(
    marked: pa.Table, version: VersionName, name: ProfileName
) -> None:
    events = list(_events(marked, version, name))
    assert len(events) > 32_000
    assert _marks(iter(events), MARK) == set()
    assert _marks(iter(events), PRIVATE) == set()
    assert not [text for text in events if str(PHONE) in text]


def test_personal_texts_leave_where_they_may_but_no_private_entry(
    marked: pa.Table, version: VersionName
) -> None:
    events = list(_events(marked, version, "full"))
    assert _marks(iter(events), PRIVATE) == set()
    assert not [text for text in events if str(PHONE) in text]
    assert _marks(iter(events), MARK) >= {
        f"{MARK} {place}"
        for place in (
            "competency_plan.name", "competency_userevidence.name", "feedback_value.value",
            "forum_discussions.name", "forum_posts.subject",
            "other.q", "other.query", "other.searchterm", "other.tagrawname",
            "question_attempts.responsesummary", "survey_answers.answer1", "wiki_pages.title",
        )
    }  # fmt: skip


def test_every_table_whose_records_have_an_owner_is_marked_or_known(
    moodle_dump_mariadb: str,
) -> None:
    engine = sa.create_engine(moodle_dump_mariadb)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT table_name, GROUP_CONCAT(column_name SEPARATOR ' '), "
                "MAX(data_type IN ('varchar', 'longtext')) FROM information_schema.columns "
                "WHERE table_schema = DATABASE() GROUP BY table_name"
            )
        ).fetchall()
    engine.dispose()
    owned = {
        name.removeprefix("mdl_")
        for name, columns, has_text in rows
        if has_text and OWNERS & set(columns.split())
    }
    assert len(owned) > 50
    assert owned - NOT_WRITTEN <= WRITTEN.keys()


def test_the_marked_columns_are_those_of_the_site(moodle_dump_mariadb: str) -> None:
    engine = sa.create_engine(moodle_dump_mariadb)
    there = sa.inspect(engine)
    tables = set(there.get_table_names())
    for table, columns in WRITTEN.items():
        if f"mdl_{table}" in tables:
            known = {column["name"] for column in there.get_columns(f"mdl_{table}")}
            assert set(columns.split()) <= known, table
    engine.dispose()
    assert len({f"mdl_{table}" for table in WRITTEN} & tables) > 40
