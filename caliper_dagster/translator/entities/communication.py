"""Forums, messages, comments, ratings, tags, searches.

What persons wrote to each other is never sent; of search terms see :attr:`Render.free_text`.
"""

from __future__ import annotations

from caliper_dagster.translator.entities.activities import (
    activity,
    activity_iri,
    course_page,
)
from caliper_dagster.translator.entities.people import anonymous_or, person_reference
from caliper_dagster.translator.entities.quiz import question_iri
from caliper_dagster.translator.entities.registry import (
    Entity,
    Record,
    Render,
    for_recipes,
    integer,
    is_course,
    of_other,
)

# Forums


def thread(
    render: Render,
    discussion: int | None,
    name: str | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
) -> Entity:
    """A discussion."""
    return {
        "id": _thread_iri(render, discussion),
        "type": "Thread",
        "name": name,
        "isPartOf": activity_iri(render, cmid, module, component) if cmid else None,
    }


def _thread_iri(render: Render, discussion: int | None) -> str:
    return f"{render.iris.site}/mod/forum/discuss.php?d={discussion}"


@for_recipes
def first_post(
    render: Render,
    objectid: int | None,
    object: Record | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
) -> Entity:
    """The post that opens a discussion; it raises no event of its own."""
    record = object or {}
    post = record.get("firstpost")
    return {
        "id": f"{_thread_iri(render, objectid)}#{f'p{post}' if post else 'first'}",
        "type": "Message",
        "name": record.get("name"),
        "isPartOf": thread(render, objectid, record.get("name"), cmid, module, component),
    }


@for_recipes
def forum_post(
    render: Render,
    objectid: int | None,
    object: Record | None,
    other: object,
    cmid: int | None,
    module: Record | None,
    component: str | None,
) -> Entity:
    """A post; a reply names what it replies to."""
    record = object or {}
    discussion = integer(of_other(other, "discussionid")) or record.get("discussion")
    address = _thread_iri(render, discussion)
    return {
        "id": f"{address}#p{objectid}",
        "type": "Message",
        "name": record.get("subject"),
        "replyTo": f"{address}#p{record['parent']}" if record.get("parent") else None,
        "isPartOf": thread(render, discussion, None, cmid, module, component),
    }


# Messages


def _message_iri(render: Render, message: int | None) -> str:
    return f"{render.iris.site}/message/index.php#message-{message}"


def _message(render: Render, number: int | None, record: Record) -> Entity:
    conversation = record.get("conversationid")
    return {
        "id": _message_iri(render, number),
        "type": "Message",
        "isPartOf": {
            "id": f"{render.iris.site}/message/index.php#conversation-{conversation}",
            "type": "Thread",
        }
        if conversation
        else None,
    }


@for_recipes
def message(render: Render, objectid: int | None, object: Record | None) -> Entity:
    """A message between users."""
    return _message(render, objectid, object or {})


@for_recipes
def message_read(
    render: Render, objectid: int | None, object: Record | None, other: object
) -> Entity:
    """The message that was read or deleted, which ``other`` names."""
    return _message(render, integer(of_other(other, "messageid")) or objectid, object or {})


@for_recipes
def chat_message(
    render: Render,
    objectid: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
) -> Entity:
    """A message in a chat."""
    chat = activity_iri(render, cmid, module, component)
    return {"id": f"{chat}#message-{objectid}", "type": "Message", "isPartOf": chat}


# Comments, notes, ratings


@for_recipes
def comment(render: Render, objectid: int | None, actor: int | None) -> Entity:
    """A comment, without its text."""
    return {
        "id": f"{render.iris.site}/#comment-{objectid}",
        "type": "Comment",
        "commenter": person_reference(render, actor) if actor else None,
    }


@for_recipes
def note(
    render: Render,
    objectid: int | None,
    actor: int | None,
    relateduserid: int | None,
    anonymous: int,
) -> Entity:
    """A teacher's note about a user, without its text."""
    return {
        "id": f"{render.iris.site}/notes/index.php#note-{objectid}",
        "type": "Comment",
        "commenter": person_reference(render, actor) if actor else None,
        "commentedOn": anonymous_or(render, anonymous, relateduserid),
    }


@for_recipes
def commented_competency(render: Render, other: object, object: Record | None) -> Entity:
    """What was commented on: a plan, a learner's competency, or a competency."""
    area = (object or {}).get("commentarea")
    item = integer(of_other(other, "itemid")) or (object or {}).get("itemid")
    page, name = {
        "plan": ("plan.php", "DigitalResourceCollection"),
        "user_competency": ("user_competency.php", "LearningObjective"),
    }.get(area or "", ("editcompetency.php", "LearningObjective"))
    return {"id": f"{render.iris.site}/admin/tool/lp/{page}?id={item}", "type": name}


@for_recipes
def commented_page(render: Render, courseid: int | None, course: Record | None) -> Entity:
    """The page whose comments block was used: a course, or the dashboard."""
    if not is_course(courseid):
        return {"id": f"{render.iris.site}/my/", "type": "WebPage"}
    return course_page(render, courseid, course)


@for_recipes
def competency_rating(
    render: Render, object: Record | None, actor: int | None, log: int | None
) -> Entity:
    """A rating of a learner's competency on its scale."""
    chosen = (object or {}).get("scale_item")
    return {
        "id": render.iris.uuid(f"rating:{log}"),
        "type": "Rating",
        "rater": person_reference(render, actor) if actor else None,
        "selections": [chosen] if chosen else None,
    }


# Tags

_TAGGED = {
    "course": ("course/view.php?id={}#page", "DigitalResourceCollection"),
    "post": ("blog/index.php?entryid={}", "WebPage"),
    "blog_external": ("blog/external_blogs.php?id={}", "WebPage"),
    "wiki_pages": ("mod/wiki/view.php?pageid={}", "WebPage"),
    "glossary_entries": ("mod/glossary/showentry.php?eid={}", "DigitalResource"),
    "forum_posts": ("mod/forum/discuss.php#p{}", "Message"),
    "book_chapters": ("mod/book/view.php#chapter-{}", "Chapter"),
    "data_records": ("mod/data/view.php?rid={}", "DigitalResource"),
    "contentbank_content": ("contentbank/view.php?id={}", "DigitalResource"),
}


@for_recipes
def tagged_item(
    render: Render,
    other: object,
    module: Record | None,
    component: str | None,
    cmid: int | None,
    courseid: int | None,
) -> Entity:
    """What was tagged, by ``other.itemtype`` and ``other.itemid``."""
    kind, item = of_other(other, "itemtype"), integer(of_other(other, "itemid"))
    if kind == "user":
        return {"id": render.iris.user(item or 0), "type": "Person"}
    if kind == "question":
        return {"id": question_iri(render, item), "type": "AssessmentItem"}
    if kind == "course_modules" and module:
        return activity(render, item or cmid, module, component, courseid)
    if kind == "book_chapters" and cmid:
        return {"id": f"{render.iris.activity('book', cmid)}&chapterid={item}", "type": "Chapter"}
    path, name = _TAGGED.get(str(kind), (f"#{kind}-{{}}", "DigitalResource"))
    return {"id": f"{render.iris.site}/{path.format(item)}", "type": name}


@for_recipes
def tag_annotation(
    render: Render, objectid: int | None, other: object, actor: int | None
) -> Entity:
    """The tag that was put on it."""
    name = of_other(other, "tagrawname") or of_other(other, "tagname")
    return {
        "id": f"{render.iris.site}/tag/index.php?id={integer(of_other(other, 'tagid'))}"
        f"#item-{objectid}",
        "type": "TagAnnotation",
        "annotator": person_reference(render, actor) if actor else None,
        "tags": [str(name)] if name else None,
    }


# Searches

_TERMS = ("query", "q", "searchterm")


@for_recipes
def search_response(
    render: Render, other: object, actor: int | None, log: int | None, timecreated: int
) -> Entity:
    """A search; its terms only where free text may be sent."""
    terms = next((of_other(other, key) for key in _TERMS if of_other(other, key)), None)
    name = f"search:{log or timecreated}"
    return {
        "id": render.iris.uuid(name),
        "type": "SearchResponse",
        "searchProvider": render.iris.site,
        "query": {
            "id": render.iris.uuid(f"{name}:query"),
            "type": "Query",
            "creator": person_reference(render, actor) if actor else None,
            "searchTerms": str(terms) if terms and render.free_text else None,
        },
    }
