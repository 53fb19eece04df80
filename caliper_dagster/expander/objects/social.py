"""What people say and are given: discussions, messages, tags, blog entries, badges, consents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander.columns import group_by
from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.lookups.people import users
from caliper_dagster.expander.objects.rows import (
    Found,
    Kind,
    KindById,
    Row,
    Source,
    from_other,
    number,
)

_DISCUSSION = ("id", "forum", "name", "firstpost", "userid")
_ENROLMENT = ("id", "enrolid", "status", "timestart", "timeend")


def discussions(source: Source, rows: Sequence[Row]) -> Found:
    """Discussions: ``id``, ``forum``, ``name``, ``firstpost``, ``userid``."""
    ids = [_discussion(row) for row in rows]
    found = source.by_id("forum_discussions", _DISCUSSION, ids)
    return [found.get(id_) for id_ in ids]


def _discussion(row: Row) -> int:
    if row.table == "forum_discussions":
        return row.id
    return from_other("discussion", "discussionid")(row)


def messages(source: Source, rows: Sequence[Row]) -> Found:
    """Messages: ``id`` and ``conversationid``, never the text.

    Up to 3.4 they are ``message`` until they are read and ``message_read`` after that, under
    another id; their records call themselves ``message``, as their ids are other ones.
    """
    ids = [_message(row) for row in rows]
    found = source.by_id(
        "messages",
        ("id", "conversationid"),
        [id_ for id_, row in zip(ids, rows, strict=True) if not _is_old(row)],
    )
    old = {id_ for id_, row in zip(ids, rows, strict=True) if _is_old(row)}
    unread = source.by_id("message", ("id",), old)
    read = source.by_id(
        "message_read", ("id",), {row.id for row in rows if row.table == "message_read"}
    )
    records: list[Record | None] = []
    for id_, row in zip(ids, rows, strict=True):
        if not _is_old(row):
            records.append(found.get(id_))
        elif id_ in unread or row.id in read:
            records.append({"table": "message", "id": id_})
        else:
            records.append(None)
    return records


def _is_old(row: Row) -> bool:
    return row.table not in ("messages", "message_user_actions")


def _message(row: Row) -> int:
    named = number(row.other.get("messageid"))
    return row.id if row.table == "messages" else named or row.id


def message_actions(source: Source, rows: Sequence[Row]) -> Found:
    """What was done with a message: ``id``, ``action``, ``messageid``, ``conversationid``.

    The message is that of ``other``: the action may be undone since, and its record gone.
    """
    actions = source.by_id("message_user_actions", ("id", "action"), [row.id for row in rows])
    found = messages(source, rows)
    records: list[Record | None] = []
    for row, message in zip(rows, found, strict=True):
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


def taggings(source: Source, ids: Iterable[int]) -> Mapping[int, Record]:
    """Tags on things: ``tag_instance`` with the ``name`` of the tag."""
    found = source.by_id(
        "tag_instance",
        ("id", "tagid", "component", "itemtype", "itemid", "contextid"),
        ids,
    )
    names = source.by_id("tag", ("id", "name"), {row["tagid"] for row in found.values()})
    return {
        id_: {**record, "name": names.get(record["tagid"], {}).get("name")}
        for id_, record in found.items()
    }


def posts(source: Source, ids: Iterable[int]) -> Mapping[int, Record]:
    """Blog entries with ``subject``, and notes about users without: only ``publishstate``."""
    found = source.by_id("post", ("id", "module", "publishstate", "subject"), ids)
    for post in found.values():
        if post["module"] != "blog":
            del post["subject"]
    return found


def wiki_versions(source: Source, ids: Iterable[int]) -> Mapping[int, Record]:
    """Versions of wiki pages: ``id``, ``pageid``, ``version``, ``name`` (title of the page)."""
    found = source.by_id("wiki_versions", ("id", "pageid", "version"), ids)
    pages = source.by_id(
        "wiki_pages", ("id", "title"), {version["pageid"] for version in found.values()}
    )
    for version in found.values():
        version["name"] = pages.get(version["pageid"], {}).get("title")
    return found


def awards(source: Source, rows: Sequence[Row]) -> Found:
    """Badges that are given to somebody: the badge with ``issued``, null where it was withdrawn.

    ``issued`` has ``id``, ``dateissued``, ``dateexpire``; its hash opens the badge to anybody who
    has it and is not read.
    """
    badges = source.by_id("badge", ("id", "name", "type", "courseid"), [row.id for row in rows])
    issued = group_by(
        source.database.records(
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


def _award(issued: Iterable[Record], row: Row) -> Record | None:
    named = number(row.other.get("badgeissuedid"))
    own = sorted(
        (award for award in issued if award["userid"] == row.learner), key=lambda award: award["id"]
    )
    chosen = [award for award in own if award["id"] == named] or own[-1:]
    return (
        {name: chosen[0][name] for name in ("id", "dateissued", "dateexpire")} if chosen else None
    )


def acceptances(source: Source, rows: Sequence[Row]) -> Found:
    """Answers to policies: ``id``, ``status``, and ``policyversionid``, ``name``, ``revision``."""
    found = source.by_id(
        "tool_policy_acceptances", ("id", "policyversionid", "status"), [row.id for row in rows]
    )
    named = from_other("policyversionid")
    versions = source.by_id(
        "tool_policy_versions",
        ("id", "name", "revision"),
        {named(row) for row in rows} | {record["policyversionid"] for record in found.values()},
    )
    records: list[Record | None] = []
    for row in rows:
        record = found.get(row.id) or {"id": row.id, "policyversionid": named(row)}
        version = versions.get(record["policyversionid"], {})
        known = row.id in found or bool(version)
        text: Record = {name: version[name] for name in ("name", "revision") if name in version}
        records.append({**record, **text} if known else None)
    return records


def enrolments(source: Source, rows: Sequence[Row]) -> Found:
    """Enrolments: ``id``, ``enrolid``, ``status``, ``timestart``, ``timeend``.

    Those that are gone are given as their last row holds them (``other.userenrolment``).
    """
    found = source.by_id("user_enrolments", _ENROLMENT, [row.id for row in rows])
    return [found.get(row.id) or _ended_enrolment(row) for row in rows]


def _ended_enrolment(row: Row) -> Record | None:
    ended = row.other.get("userenrolment")
    if not isinstance(ended, dict) or number(ended.get("id")) != row.id:
        return None
    return {name: number(ended.get(name)) for name in _ENROLMENT}


def accounts(source: Source, rows: Sequence[Row]) -> Found:
    """Users, as in the columns of users; nothing in anonymous rows."""
    named = {row.id for row in rows if not row.anonymous}
    found = users(source.database, named, source.site)
    return [None if row.anonymous else found.get(row.id) for row in rows]


def _account(row: Row) -> int:
    return 0 if row.anonymous else row.id


_DISCUSSIONS = Kind("forum_discussions", discussions, _discussion)
_MESSAGE = Kind("messages", messages, _message)

KINDS: Mapping[str, Kind | KindById] = {
    "forum_discussions": _DISCUSSIONS,
    "forum_discussion_subs": _DISCUSSIONS,
    "message": _MESSAGE,
    "message_read": _MESSAGE,
    "messages": _MESSAGE,
    "message_user_actions": Kind("message_user_actions", message_actions, _message, "messages"),
    "post": KindById("post", posts),
    "tag_instance": KindById("tag_instance", taggings),
    "tool_policy_acceptances": Kind("tool_policy_acceptances", acceptances),
    "user": Kind("user", accounts, _account),
    "user_enrolments": Kind("user_enrolments", enrolments),
    "wiki_versions": KindById("wiki_versions", wiki_versions),
}
EVENT_KINDS: Mapping[str, Kind] = {
    r"\core\event\badge_awarded": Kind("badge", awards),
    r"\core\event\message_sent": _MESSAGE,
}
