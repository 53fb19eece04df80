"""Expanded rows in which every id that leads to a person is raised by a number found nowhere else.

Where such a number occurs in an event, an id of a person or of a personal record has left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa

from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG, RECORD
from caliper_dagster.translator.example import example_table

RAISED = 7_700_000_000
TAINTED = re.compile(r"(?<![0-9a-f-])77\d{8}(?![0-9a-f])")
"""A raised id, and no part of a UUID."""

INSTITUTIONAL_TABLES = frozenset(
    """
    assign badge bigbluebuttonbn book book_chapters chat choice cohort competency
    competency_framework competency_template contentbank_content course course_categories
    course_modules course_sections customfield_category customfield_field data data_fields enrol
    feedback folder forum glossary glossary_categories grade_items grade_letters groupings groups
    h5p h5pactivity imscp lesson lesson_pages lti page payment_accounts question question_categories
    quiz quiz_grade_items quiz_sections quiz_slots quizaccess_seb_template reportbuilder_report
    resource role scale scorm scorm_scoes subsection survey tag_coll tool_monitor_rules
    tool_policy_versions tool_recyclebin_category tool_recyclebin_course tool_usertours_steps
    tool_usertours_tours url user_info_category user_info_field wiki workshop adminpresets
    badge_criteria reportbuilder_schedule reportbuilder_audience external_services role_capabilities
    """.split()
)
"""Tables of the real site that hold nothing of one person, written down apart from the product."""

_INSTITUTIONAL_LEVELS = (0, 10, 40, 50, 70, None)
_PERSONAL_KEYS = frozenset(
    """
    id userid relateduserid realuserid authorid overrideby submitterid useridto useridfrom grader
    modifierid markerid contactid blockeduserid parentuserid user members parent firstpost
    discussion discussionid lastgraded submissionid attemptid messageid conversationid entryid
    planid usercompetencyid badgeissuedid associateid blogid tagid versionid subscriptionid
    fileid restoreid tokenid
    """.split()
)
_ITEMS_OF_PERSONS = ("comments", "tag_instance")
_INSTITUTIONAL_ITEMS = ("course", "course_modules", "question", "book_chapters")
_INSTITUTIONAL_PARTS = ("course", "module", "site", "item", "items", "competencies", "roles")


def tainted(table: pa.Table) -> pa.Table:
    """The rows of ``EXPANDED_LOG`` with raised ids."""
    return example_table([*tainted_rows(map(_decoded, table.to_pylist()))])


def tainted_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows as values of columns, with raised ids."""
    for row in rows:
        yield _row(row)


_RECORDS = [
    column.name
    for column in EXPANDED_LOG.columns
    if column.name == "other"
    or (column.type == RECORD and column.name not in MOODLE_LOG.schema.names)
]


def _decoded(row: Mapping[str, Any]) -> dict[str, Any]:
    records = {name: orjson.loads(row[name]) for name in _RECORDS if row[name] is not None}
    return {**row, **records}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    table = row.get("objecttable")
    personal = table not in INSTITUTIONAL_TABLES
    raised = {name: _value(value, name, table) for name, value in row.items()}
    if personal:
        raised["objectid"] = _raised(row.get("objectid"))
    if row.get("contextlevel") not in _INSTITUTIONAL_LEVELS:
        raised["contextid"] = _raised(row.get("contextid"))
        raised["contextinstanceid"] = _raised(row.get("contextinstanceid"))
    other = raised.get("other")
    if isinstance(other, dict):
        raised["other"] = _other(other, row["other"], row)
    return raised


def _other(
    raised: Mapping[str, Any], other: Mapping[str, Any], row: Mapping[str, Any]
) -> dict[str, Any]:
    """Values of ``other`` whose meaning depends on the event."""
    result = dict(raised)
    of_institution = (
        other.get("itemtype") in _INSTITUTIONAL_ITEMS
        or row.get("component") == "qbank_comment"
        or "competency_comment" in row["eventname"]  # on a competency, where no area says more
    )
    if row.get("objecttable") in _ITEMS_OF_PERSONS and not of_institution:
        result["itemid"] = _raised(other.get("itemid"))
    if row.get("component") == "mod_scorm" and "attemptid" in other:
        result["attemptid"] = other["attemptid"]  # the number of the attempt, from 1
    return result


def _value(value: Any, key: str, table: str | None) -> Any:
    if key in _INSTITUTIONAL_PARTS:
        return value
    if isinstance(value, dict):
        if key in ("object", "attempt", "submission"):
            table = value.get("table", table if key == "object" else None)
        of_institution = key == "object" and table in INSTITUTIONAL_TABLES
        return {
            name: part if of_institution and name in ("id", "parent") else _value(part, name, table)
            for name, part in value.items()
        }
    if isinstance(value, list):
        if key == "unresolved":
            return [_unresolved(name) for name in value]
        return [_value(part, key, table) for part in value]
    return _raised(value) if key in _PERSONAL_KEYS else value


def _unresolved(name: str) -> str:
    table, _, number = name.partition(":")
    return name if table in INSTITUTIONAL_TABLES else f"{table}:{_raised(number)}"


def _raised(value: Any) -> Any:
    if isinstance(value, bool) or not str(value).isdecimal() or int(value) <= 0:
        return value
    return str(int(value) + RAISED) if isinstance(value, str) else value + RAISED
