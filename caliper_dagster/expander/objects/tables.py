"""Objects that are one record of one table, and which columns of it are read.

Texts that people wrote (bodies of messages, posts, notes, comments) and secrets (tokens) are never
read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.objects.loader import (
    LoadById,
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectByIdLoader,
    ObjectLoader,
    id_from_other,
)


class Table(NamedTuple):
    """The columns that are read of a table.

    Attributes:
        name: column that becomes ``name``; None where the record has no name.
        columns: further columns, which keep their names.
    """

    name: str | None = None
    columns: tuple[str, ...] = ()


_NAMED = Table("name")
_ONLY_ID = Table()

TABLES: Mapping[str, Table] = {
    "adminpresets": _NAMED,
    "analytics_predictions": Table(None, ("modelid",)),
    "assign_overrides": Table(None, ("assignid", "groupid", "duedate")),
    "badge": Table("name", ("type", "courseid")),
    "badge_criteria": Table(None, ("badgeid", "criteriatype")),
    "blog_association": Table(None, ("contextid", "blogid")),
    "blog_external": _NAMED,
    "book_chapters": Table("title", ("bookid", "pagenum", "subchapter")),
    "chat_messages": Table(None, ("chatid", "groupid", "timestamp")),
    "cohort": Table("name", ("idnumber", "contextid")),
    "comments": Table(None, ("component", "commentarea", "itemid", "contextid", "timecreated")),
    "competency": Table("shortname", ("idnumber", "competencyframeworkid", "parentid")),
    "competency_evidence": Table(None, ("usercompetencyid", "action", "grade")),
    "competency_framework": Table("shortname", ("idnumber", "contextid")),
    "competency_plan": Table("name", ("userid", "templateid", "status", "duedate")),
    "competency_template": Table("shortname", ("contextid",)),
    "competency_userevidence": Table("name", ("userid",)),
    "config_log": _ONLY_ID,
    "contentbank_content": Table("name", ("contenttype", "contextid")),
    "context": Table(None, ("contextlevel", "instanceid")),
    "course": Table(None, ("fullname", "shortname", "timecreated")),
    "course_categories": Table("name", ("idnumber", "parent", "path")),
    "course_completion_defaults": _ONLY_ID,
    "course_completions": Table(None, ("course", "timecompleted")),
    "course_modules_completion": Table(
        None, ("coursemoduleid", "completionstate", "timemodified", "overrideby")
    ),
    "course_sections": Table("name", ("course", "section")),
    "customfield_category": _NAMED,
    "customfield_field": Table("name", ("shortname", "type")),
    "data_fields": Table("name", ("dataid", "type")),
    "data_records": Table(None, ("dataid", "groupid", "timecreated", "timemodified", "approved")),
    "enrol": Table("name", ("enrol", "courseid", "status", "roleid")),
    "event": Table("name", ("eventtype", "courseid", "groupid", "modulename", "instance")),
    "event_subscriptions": Table("name", ("eventtype", "courseid")),
    "external_services": _NAMED,
    "external_tokens": _ONLY_ID,
    "files": Table(None, ("mimetype",)),
    "forum_posts": Table(None, ("discussion", "parent", "subject")),
    "forum_subscriptions": Table(None, ("forum",)),
    "glossary_categories": Table("name", ("glossaryid",)),
    "glossary_entries": Table("concept", ("glossaryid", "approved", "timecreated")),
    "grade_letters": Table("letter", ("contextid", "lowerboundary")),
    "groupings": Table("name", ("courseid", "idnumber")),
    "groups": Table("name", ("courseid", "idnumber")),
    "h5p": Table(None, ("timecreated",)),
    "lesson_grades": Table(None, ("lessonid", "grade", "completed")),
    "lesson_high_scores": Table(None, ("lessonid",)),
    "lesson_overrides": Table(None, ("lessonid", "groupid", "deadline")),
    "message_contacts": Table(None, ("contactid",)),
    "message_users_blocked": Table(None, ("blockeduserid",)),
    "mnet_sso_access_control": _ONLY_ID,
    "notifications": Table(None, ("component", "eventtype", "timecreated")),
    "payment_accounts": _NAMED,
    "question_categories": Table("name", ("contextid", "parent", "idnumber")),
    "quiz_grade_items": Table("name", ("quizid", "sortorder")),
    "quiz_overrides": Table(None, ("quiz", "groupid", "timeclose")),
    "quiz_sections": Table("heading", ("quizid", "firstslot")),
    "quiz_slots": Table(None, ("quizid", "slot", "page", "maxmark")),
    "quizaccess_seb_template": _NAMED,
    "reportbuilder_audience": Table(None, ("reportid",)),
    "reportbuilder_report": Table("name", ("source",)),
    "reportbuilder_schedule": Table("name", ("reportid",)),
    "role": Table(None, ("shortname", "archetype")),
    "role_allow_assign": _ONLY_ID,
    "role_allow_override": _ONLY_ID,
    "role_allow_switch": _ONLY_ID,
    "role_allow_view": _ONLY_ID,
    "scale": Table("name", ("courseid",)),
    "tag": Table("name", ("rawname", "tagcollid")),
    "tag_coll": _NAMED,
    "tool_monitor_rules": Table("name", ("courseid",)),
    "tool_monitor_subscriptions": Table(None, ("courseid", "ruleid")),
    "tool_recyclebin_category": Table("fullname", ("categoryid", "shortname")),
    "tool_recyclebin_course": Table("name", ("courseid", "section", "module")),
    "tool_usertours_steps": Table("title", ("tourid",)),
    "tool_usertours_tours": _NAMED,
    "user_info_category": _NAMED,
    "user_info_field": Table("name", ("shortname", "datatype")),
    "wiki_pages": Table("title", ("subwikiid", "timecreated", "timemodified")),
    "workshop_aggregations": Table(None, ("workshopid", "userid", "gradinggrade")),
}


def load_table(table: str) -> LoadById:
    """A function that loads the records of a table by their ids."""
    definition = TABLES[table]
    name = definition.name
    columns = ("id", *((name,) if name else ()), *definition.columns)

    def load(lookup: Lookup, ids: Iterable[int]) -> Mapping[int, Record]:
        records = lookup.by_id(table, columns, ids)
        return {id_: _renamed(record, name) for id_, record in records.items()}

    return load


def _table_by_event_data(table: str, key: str) -> ObjectLoader:
    """A loader of the records of a table by an id that the event data holds."""
    id_of, load_by_id = id_from_other(key), load_table(table)

    def load(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
        ids = [id_of(row) for row in rows]
        records = load_by_id(lookup, ids)
        return [records.get(id_) for id_ in ids]

    return ObjectLoader(table, load, id_of)


def _renamed(record: Record, name: str | None) -> Record:
    if not name or name == "name":
        return record
    return {("name" if column == name else column): value for column, value in record.items()}


def forum_posts(lookup: Lookup, ids: Iterable[int]) -> Mapping[int, Record]:
    """Forum posts, a reply with ``parentuserid``: who wrote what it replies to."""
    posts = load_table("forum_posts")(lookup, ids)
    parents = {post["parent"] for post in posts.values() if post["parent"]}
    authors = lookup.by_id("forum_posts", ("id", "userid"), parents)
    return {
        id_: {**post, "parentuserid": authors[post["parent"]]["userid"]}
        if post["parent"] in authors
        else post
        for id_, post in posts.items()
    }


LOADERS: Mapping[str, ObjectByIdLoader] = {
    **{table: ObjectByIdLoader(table, load_table(table)) for table in TABLES},
    "forum_posts": ObjectByIdLoader("forum_posts", forum_posts),
    # The row's objectid is the role, not the record of role_capabilities.
    "role_capabilities": ObjectByIdLoader("role", load_table("role")),
}
"""Loaders by ``objecttable``."""

_EVENT_DATA_KEYS = {
    r"\core\event\badge_viewed": ("badge", "badgeid"),
    r"\core\event\questions_exported": ("question_categories", "categoryid"),
    r"\core\event\questions_imported": ("question_categories", "categoryid"),
    r"\tool_monitor\event\subscription_criteria_met": (
        "tool_monitor_subscriptions", "subscriptionid",
    ),
}  # fmt: skip

EVENT_LOADERS: Mapping[str, ObjectLoader] = {
    event: _table_by_event_data(table, key) for event, (table, key) in _EVENT_DATA_KEYS.items()
}
"""Loaders by event, where only the event data refers to the object."""
