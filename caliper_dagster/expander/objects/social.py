"""Objects about people and what they share: messages, discussions, tags, badges, enrolments.

Also here: blog entries and notes, wiki versions, policy acceptances and users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.event_data import as_id
from caliper_dagster.expander.lookups.people import users
from caliper_dagster.expander.objects.loader import (
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectByIdLoader,
    ObjectLoader,
    id_from_other,
)
from caliper_dagster.expander.record_columns import group_by

_DISCUSSION = ("id", "forum", "name", "firstpost", "userid")
_ENROLMENT = ("id", "enrolid", "status", "timestart", "timeend", "timecreated", "timemodified")


def discussions(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Discussions: ``id``, ``forum``, ``name``, ``firstpost``, ``userid``."""
    ids = [_discussion_id(row) for row in rows]
    records = lookup.by_id("forum_discussions", _DISCUSSION, ids)
    return [records.get(id_) for id_ in ids]


def _discussion_id(row: LogReference) -> int:
    if row.table == "forum_discussions":
        return row.id
    return id_from_other("discussion", "discussionid")(row)


def messages(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Messages: ``id`` and ``conversationid``, never the text.

    Up to Moodle 3.4 a message is in ``message`` until it is read and in ``message_read`` after
    that, under another id. The ``table`` of such a record is ``message``, because its id does not
    belong to ``messages``.
    """
    ids = [_message_id(row) for row in rows]
    by_id = lookup.by_id(
        "messages",
        ("id", "conversationid"),
        [id_ for id_, row in zip(ids, rows, strict=True) if not _is_old(row)],
    )
    old = {id_ for id_, row in zip(ids, rows, strict=True) if _is_old(row)}
    unread = lookup.by_id("message", ("id",), old)
    read = lookup.by_id(
        "message_read", ("id",), {row.id for row in rows if row.table == "message_read"}
    )
    records: list[Record | None] = []
    for id_, row in zip(ids, rows, strict=True):
        if not _is_old(row):
            records.append(by_id.get(id_))
        elif id_ in unread or row.id in read:
            records.append({"table": "message", "id": id_})
        else:
            records.append(None)
    return records


def _is_old(row: LogReference) -> bool:
    return row.table not in ("messages", "message_user_actions")


def _message_id(row: LogReference) -> int:
    if row.table == "messages":
        return row.id
    return as_id(row.other.get("messageid")) or row.id


def message_actions(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Actions on messages: ``id``, ``action``, ``messageid``, ``conversationid``.

    The message is that of ``other``: the action may be undone since, and its record deleted.
    """
    actions = lookup.by_id("message_user_actions", ("id", "action"), [row.id for row in rows])
    records: list[Record | None] = []
    for row, message in zip(rows, messages(lookup, rows), strict=True):
        record = {"id": row.id, "action": actions.get(row.id, {}).get("action")}
        records.append(
            message
            and {
                **record,
                "messageid": message["id"],
                "conversationid": message.get("conversationid"),
            }
        )
    return records


def taggings(lookup: Lookup, ids: Iterable[int]) -> Mapping[int, Record]:
    """Tags on objects: ``tag_instance`` with the ``name`` of the tag."""
    instances = lookup.by_id(
        "tag_instance",
        ("id", "tagid", "component", "itemtype", "itemid", "contextid"),
        ids,
    )
    names = lookup.by_id("tag", ("id", "name"), {row["tagid"] for row in instances.values()})
    return {
        id_: {**record, "name": names.get(record["tagid"], {}).get("name")}
        for id_, record in instances.items()
    }


def posts(lookup: Lookup, ids: Iterable[int]) -> Mapping[int, Record]:
    """Blog entries with ``subject``; notes about users without it, because it is personal text."""
    records = lookup.by_id("post", ("id", "module", "publishstate", "subject"), ids)
    for post in records.values():
        if post["module"] != "blog":
            del post["subject"]
    return records


def wiki_versions(lookup: Lookup, ids: Iterable[int]) -> Mapping[int, Record]:
    """Versions of wiki pages: ``id``, ``pageid``, ``version``, ``name`` (title of the page)."""
    versions = lookup.by_id("wiki_versions", ("id", "pageid", "version"), ids)
    pages = lookup.by_id(
        "wiki_pages", ("id", "title"), {version["pageid"] for version in versions.values()}
    )
    for version in versions.values():
        version["name"] = pages.get(version["pageid"], {}).get("title")
    return versions


def awards(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Badges awarded to users: the badge with ``issued``, None where it was withdrawn.

    ``issued`` has ``id``, ``dateissued``, ``dateexpire``. Its hash is not read: it gives access to
    the badge.
    """
    badges = lookup.by_id("badge", ("id", "name", "type", "courseid"), [row.id for row in rows])
    issued = group_by(
        lookup.database.records(
            "badge_issued",
            ("id", "badgeid", "userid", "dateissued", "dateexpire"),
            {"userid": {row.learner for row in rows if row.learner}, "badgeid": badges},
        ),
        "badgeid",
    )
    return [
        badges.get(row.id) and {**badges[row.id], "issued": _award(issued.get(row.id, []), row)}
        for row in rows
    ]


def _award(issued: Iterable[Record], row: LogReference) -> Record | None:
    issued_id = as_id(row.other.get("badgeissuedid"))
    own = sorted(
        (award for award in issued if award["userid"] == row.learner), key=lambda award: award["id"]
    )
    candidates = [award for award in own if award["id"] == issued_id] or own[-1:]
    if not candidates:
        return None
    return {name: candidates[0][name] for name in ("id", "dateissued", "dateexpire")}


def acceptances(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Policy acceptances: ``id``, ``status``, ``policyversionid``, ``name``, ``revision``."""
    by_id = lookup.by_id(
        "tool_policy_acceptances", ("id", "policyversionid", "status"), [row.id for row in rows]
    )
    version_id = id_from_other("policyversionid")
    versions = lookup.by_id(
        "tool_policy_versions",
        ("id", "name", "revision"),
        {version_id(row) for row in rows}
        | {record["policyversionid"] for record in by_id.values()},
    )
    records: list[Record | None] = []
    for row in rows:
        record = by_id.get(row.id) or {"id": row.id, "policyversionid": version_id(row)}
        version = versions.get(record["policyversionid"], {})
        exists = row.id in by_id or bool(version)
        text: Record = {name: version[name] for name in ("name", "revision") if name in version}
        records.append({**record, **text} if exists else None)
    return records


def enrolments(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Enrolments: the columns of ``user_enrolments`` without its users, and the method ``enrol``.

    A deleted enrolment is taken from the event data of the row (``other.userenrolment``).
    """
    records = lookup.by_id("user_enrolments", _ENROLMENT, [row.id for row in rows])
    found = [records.get(row.id) or _deleted_enrolment(row) for row in rows]
    methods = lookup.by_id(
        "enrol", ("id", "enrol"), {record["enrolid"] for record in found if record}
    )
    with_method: dict[int, Record] = {}
    for record in found:
        if record and id(record) not in with_method:
            method = methods.get(record["enrolid"], {}).get("enrol")
            with_method[id(record)] = {**record, "enrol": method}
    return [record and with_method[id(record)] for record in found]


def _deleted_enrolment(row: LogReference) -> Record | None:
    enrolment = row.other.get("userenrolment")
    if not isinstance(enrolment, dict) or as_id(enrolment.get("id")) != row.id:
        return None
    return {name: as_id(enrolment.get(name)) for name in _ENROLMENT}


def accounts(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Users, with the records of the user columns; None in anonymous rows."""
    ids = {row.id for row in rows if not row.anonymous}
    records = users(lookup.database, ids, lookup.site)
    return [None if row.anonymous else records.get(row.id) for row in rows]


def _account_id(row: LogReference) -> int:
    return 0 if row.anonymous else row.id


_DISCUSSIONS = ObjectLoader("forum_discussions", discussions, _discussion_id)
_MESSAGE_TABLES = ("messages", "message", "message_read")
_MESSAGE = ObjectLoader("messages", messages, _message_id, reads=_MESSAGE_TABLES)

LOADERS: Mapping[str, ObjectLoader | ObjectByIdLoader] = {
    "forum_discussions": _DISCUSSIONS,
    "forum_discussion_subs": _DISCUSSIONS,
    "message": _MESSAGE,
    "message_read": _MESSAGE,
    "messages": _MESSAGE,
    "message_user_actions": ObjectLoader(
        "message_user_actions", message_actions, _message_id, "messages", _MESSAGE_TABLES
    ),
    "post": ObjectByIdLoader("post", posts),
    "tag_instance": ObjectByIdLoader("tag_instance", taggings, ("tag",)),
    "tool_policy_acceptances": ObjectLoader(
        "tool_policy_acceptances", acceptances, reads=("tool_policy_versions",)
    ),
    "user": ObjectLoader("user", accounts, _account_id),
    "user_enrolments": ObjectLoader("user_enrolments", enrolments, reads=("enrol",)),
    "wiki_versions": ObjectByIdLoader("wiki_versions", wiki_versions, ("wiki_pages",)),
}
EVENT_LOADERS: Mapping[str, ObjectLoader] = {
    r"\core\event\badge_awarded": ObjectLoader("badge", awards, reads=("badge_issued",)),
    r"\core\event\message_sent": _MESSAGE,
}
