"""Forums, messages, comments, ratings, tags, searches.

What persons wrote to each other is never sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from caliper_dagster.caliper.entities import (
    AssessmentItem,
    Chapter,
    Comment,
    DigitalResource,
    DigitalResourceCollection,
    Entity,
    LearningObjective,
    Message,
    Person,
    Query,
    Rating,
    Reference,
    SearchResponse,
    TagAnnotation,
    Thread,
    WebPage,
)
from caliper_dagster.translator.entities.activities import (
    ACTIVITY_TEXTS,
    activity,
    activity_iri,
    activity_reference,
    course_page,
)
from caliper_dagster.translator.entities.people import anonymous_or, person_reference
from caliper_dagster.translator.entities.quiz import question_iri
from caliper_dagster.translator.entities.registry import (
    Mark,
    Record,
    Render,
    for_recipes,
    id_or,
    in_iri,
    integer,
    is_course,
    name_of,
    of_other,
    plain,
    user_id,
)

# Forums


def thread(
    render: Render,
    discussion: int | str,
    name: str | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
) -> Thread:
    """A discussion."""
    return Thread(
        id=_thread_iri(render, discussion),
        name=name,
        isPartOf=activity_reference(render, cmid, module, component) if cmid else None,
    )


def _thread_iri(render: Render, discussion: int | str) -> str:
    return f"{render.iris.site}/mod/forum/discuss.php?d={discussion}"


@for_recipes(personal_record=True, texts={"name": "personal", "isPartOf.name": "personal"})
def first_post(
    render: Render,
    objectid: int | None,
    object: Record | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    stand_in: Mark,
) -> Message:
    """The post that opens a discussion; it raises no event of its own."""
    record = object or {}
    post, discussion = record.get("firstpost"), id_or(objectid, stand_in)
    return Message(
        id=f"{_thread_iri(render, discussion)}#{f'p{post}' if post else 'first'}",
        name=name_of(record, "name"),
        isPartOf=thread(render, discussion, name_of(record, "name"), cmid, module, component),
    )


@for_recipes(personal_record=True, texts={"name": "personal"})
def forum_post(
    render: Render,
    objectid: int | None,
    object: Record | None,
    other: object,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    stand_in: Mark,
) -> Message:
    """A post; a reply names the post that it replies to.

    Of a deleted post, only the event data may name the discussion.
    """
    record, number = object or {}, id_or(objectid, stand_in)
    discussion = integer(of_other(other, "discussionid")) or record.get("discussion")
    if not discussion:
        return Message(id=f"{render.iris.site}/mod/forum/discuss.php#p{number}")
    address = _thread_iri(render, discussion)
    return Message(
        id=f"{address}#p{number}",
        name=name_of(record, "subject"),
        replyTo=_parent(render, address, record) if record.get("parent") else None,
        isPartOf=thread(render, discussion, None, cmid, module, component),
    )


def _parent(render: Render, thread_address: str, post: Record) -> Message | Reference:
    """The post that a post replies to, with its author where the author is known."""
    address = f"{thread_address}#p{post['parent']}"
    author = post.get("parentuserid")
    if not author:
        return render.reference(Message, address)
    return Message(id=address, creators=[render.reference(Person, render.iris.user(author))])


# Messages


def _message(render: Render, number: str, record: Record) -> Message:
    conversation = record.get("conversationid")
    return Message(
        id=f"{render.iris.site}/message/index.php#message-{number}",
        isPartOf=Thread(
            id=f"{render.iris.site}/message/index.php#conversation-{conversation}",
        )
        if conversation
        else None,
    )


@for_recipes(personal_record=True)
def message(render: Render, objectid: int | None, object: Record | None, stand_in: Mark) -> Message:
    """A message between users."""
    return _message(render, id_or(objectid, stand_in), object or {})


@for_recipes(personal_record=True)
def message_read(
    render: Render,
    objectid: int | None,
    object: Record | None,
    other: object,
    stand_in: Mark,
) -> Message:
    """The message that was read or deleted, which ``other`` names."""
    number = id_or(integer(of_other(other, "messageid")) or objectid, stand_in)
    return _message(render, number, object or {})


@for_recipes(personal_record=True)
def chat_message(
    render: Render,
    objectid: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    stand_in: Mark,
) -> Message:
    """A message in a chat."""
    chat = activity_iri(render, cmid, module, component)
    return Message(
        id=f"{chat}#message-{id_or(objectid, stand_in)}",
        isPartOf=activity_reference(render, cmid, module, component),
    )


# Comments, notes, ratings


@for_recipes(personal_record=True)
def comment(render: Render, objectid: int | None, actor: int | None, stand_in: Mark) -> Comment:
    """A comment, without its text."""
    return Comment(
        id=f"{render.iris.site}/#comment-{id_or(objectid, stand_in)}",
        commenter=person_reference(render, actor) if actor else None,
    )


@for_recipes(names_related_user=True, personal_record=True)
def note(
    render: Render,
    objectid: int | None,
    actor: int | None,
    relateduserid: int | None,
    anonymous: int,
    stand_in: Mark,
) -> Comment:
    """A teacher's note about a user, without its text."""
    return Comment(
        id=f"{render.iris.site}/notes/index.php#note-{id_or(objectid, stand_in)}",
        commenter=person_reference(render, actor) if actor else None,
        commentedOn=anonymous_or(render, anonymous, relateduserid),
    )


@for_recipes(personal_record=True)
def commented_competency(
    render: Render, other: object, object: Record | None, log_mark: Mark
) -> LearningObjective | DigitalResourceCollection:
    """The object of a comment: a plan, a learner's competency, or a competency."""
    area = (object or {}).get("commentarea")
    item = id_or(integer(of_other(other, "itemid")) or (object or {}).get("itemid"), log_mark)
    pages = f"{render.iris.site}/admin/tool/lp"
    if area == "plan":
        return DigitalResourceCollection(id=f"{pages}/plan.php?id={item}")
    if area == "user_competency":
        return LearningObjective(id=f"{pages}/user_competency.php?id={item}")
    return LearningObjective(id=render.iris.competency(item))


@for_recipes(texts={"name": "institutional", "learningObjectives.name": "institutional"})
def commented_page(render: Render, courseid: int | None, course: Record | None) -> DigitalResource:
    """The page whose comments block was used: a course, or the dashboard."""
    if not is_course(courseid):
        return WebPage(
            id=f"{render.iris.site}/my/",
        )
    return course_page(render, courseid, course)


@for_recipes(texts={"name": "institutional"})
def rated_competency(
    render: Render,
    objectid: int | None,
    object: Record | None,
    other: object,
    stand_in: Mark,
) -> LearningObjective:
    """The competency that a learner was rated in: the same thing for all learners."""
    competency = (object or {}).get("competencyid") or integer(of_other(other, "competencyid"))
    if not competency:  # the learner's record of it is deleted
        return LearningObjective(
            id=f"{render.iris.site}/admin/tool/lp/user_competency.php"
            f"?id={id_or(objectid, stand_in)}"
        )
    return LearningObjective(id=render.iris.competency(competency), name=name_of(object, "name"))


@for_recipes(personal_record=True, texts={"selections": "institutional"})
def competency_rating(
    render: Render,
    objectid: int | None,
    object: Record | None,
    other: object,
    actor: int | None,
    log: int | None,
    stand_in: Mark,
) -> Rating:
    """A rating of a learner's competency on its scale."""
    selection = plain((object or {}).get("scale_item"))
    return Rating(
        id=render.iris.uuid(f"rating:{log}"),
        rated=render.reference(
            LearningObjective, rated_competency(render, objectid, object, other, stand_in).id
        ),
        rater=person_reference(render, actor) if actor else None,
        selections=[selection] if selection else None,
    )


# Tags

_TAGGED: Mapping[str, tuple[str, type[DigitalResource]]] = {
    "course": ("course/view.php?id={}#page", DigitalResourceCollection),
    "post": ("blog/index.php?entryid={}", WebPage),
    "blog_external": ("blog/external_blogs.php?id={}", WebPage),
    "wiki_pages": ("mod/wiki/view.php?pageid={}", WebPage),
    "glossary_entries": ("mod/glossary/showentry.php?eid={}", DigitalResource),
    "forum_posts": ("mod/forum/discuss.php#p{}", Message),
    "book_chapters": ("mod/book/view.php#chapter-{}", Chapter),
    "data_records": ("mod/data/view.php?rid={}", DigitalResource),
    "contentbank_content": ("contentbank/view.php?id={}", DigitalResource),
}


@for_recipes(personal_record=True, texts=ACTIVITY_TEXTS)
def tagged_item(
    render: Render,
    other: object,
    module: Record | None,
    component: str | None,
    cmid: int | None,
    courseid: int | None,
    log_mark: Mark,
) -> Entity:
    """The tagged object, by ``other.itemtype`` and ``other.itemid``."""
    kind, number = of_other(other, "itemtype"), integer(of_other(other, "itemid"))
    item = id_or(number, log_mark)
    if kind == "user":
        return Person(id=render.iris.user(user_id(of_other(other, "itemid")) or 0))
    if kind == "question":
        return AssessmentItem(
            id=question_iri(render, item),
        )
    if kind == "course_modules" and module:
        return activity(render, number or cmid, module, component, courseid)
    if kind == "book_chapters" and cmid:
        return Chapter(
            id=f"{render.iris.activity('book', cmid)}&chapterid={item}",
        )
    path, cls = _TAGGED.get(str(kind), (f"#{in_iri(kind) or 'item'}-{{}}", DigitalResource))
    return cls(id=f"{render.iris.site}/{path.format(item)}")


@for_recipes(personal_record=True, texts={"tags": "personal"})
def tag_annotation(
    render: Render,
    objectid: int | None,
    other: object,
    actor: int | None,
    log_mark: Mark,
) -> TagAnnotation:
    """The tag that was added."""
    name = plain(str(of_other(other, "tagrawname") or of_other(other, "tagname") or ""))
    tag = id_or(integer(of_other(other, "tagid")), log_mark)
    return TagAnnotation(
        id=f"{render.iris.site}/tag/index.php?id={tag}#item-{id_or(objectid, log_mark)}",
        annotator=person_reference(render, actor) if actor else None,
        tags=[name] if name else None,
    )


# Searches

_TERMS = ("query", "q", "searchterm")


@for_recipes(personal_record=True, texts={"query.searchTerms": "personal"})
def search_response(
    render: Render, other: object, actor: int | None, log: int | None, timecreated: int
) -> SearchResponse:
    """A search, with its terms."""
    terms = next((of_other(other, key) for key in _TERMS if of_other(other, key)), None)
    name = f"search:{log or timecreated}"
    return SearchResponse(
        id=render.iris.uuid(name),
        searchProvider=render.site_reference(),
        query=Query(
            id=render.iris.uuid(f"{name}:query"),
            creator=person_reference(render, actor) if actor else None,
            searchTerms=str(terms) if terms else None,
        ),
    )
