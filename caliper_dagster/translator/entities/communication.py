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
    Record,
    Render,
    for_recipes,
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
    discussion: int | None,
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


def _thread_iri(render: Render, discussion: int | None) -> str:
    return f"{render.iris.site}/mod/forum/discuss.php?d={discussion}"


@for_recipes(personal_record=True, texts={"name": "personal", "isPartOf.name": "personal"})
def first_post(
    render: Render,
    objectid: int | None,
    object: Record | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
) -> Message:
    """The post that opens a discussion; it raises no event of its own."""
    record = object or {}
    post = record.get("firstpost")
    return Message(
        id=f"{_thread_iri(render, objectid)}#{f'p{post}' if post else 'first'}",
        name=name_of(record, "name"),
        isPartOf=thread(render, objectid, name_of(record, "name"), cmid, module, component),
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
) -> Message:
    """A post; a reply names the post that it replies to.

    Of a deleted post, only the event data may name the discussion.
    """
    record = object or {}
    discussion = integer(of_other(other, "discussionid")) or record.get("discussion")
    if not discussion:
        return Message(id=f"{render.iris.site}/mod/forum/discuss.php#p{objectid}")
    address = _thread_iri(render, discussion)
    return Message(
        id=f"{address}#p{objectid}",
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


def _message_iri(render: Render, message: int | None) -> str:
    return f"{render.iris.site}/message/index.php#message-{message}"


def _message(render: Render, number: int | None, record: Record) -> Message:
    conversation = record.get("conversationid")
    return Message(
        id=_message_iri(render, number),
        isPartOf=Thread(
            id=f"{render.iris.site}/message/index.php#conversation-{conversation}",
        )
        if conversation
        else None,
    )


@for_recipes(personal_record=True)
def message(render: Render, objectid: int | None, object: Record | None) -> Message:
    """A message between users."""
    return _message(render, objectid, object or {})


@for_recipes(personal_record=True)
def message_read(
    render: Render, objectid: int | None, object: Record | None, other: object
) -> Message:
    """The message that was read or deleted, which ``other`` names."""
    return _message(render, integer(of_other(other, "messageid")) or objectid, object or {})


@for_recipes(personal_record=True)
def chat_message(
    render: Render,
    objectid: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
) -> Message:
    """A message in a chat."""
    chat = activity_iri(render, cmid, module, component)
    return Message(
        id=f"{chat}#message-{objectid}",
        isPartOf=activity_reference(render, cmid, module, component),
    )


# Comments, notes, ratings


@for_recipes(personal_record=True)
def comment(render: Render, objectid: int | None, actor: int | None) -> Comment:
    """A comment, without its text."""
    return Comment(
        id=f"{render.iris.site}/#comment-{objectid}",
        commenter=person_reference(render, actor) if actor else None,
    )


@for_recipes(names_related_user=True, personal_record=True)
def note(
    render: Render,
    objectid: int | None,
    actor: int | None,
    relateduserid: int | None,
    anonymous: int,
) -> Comment:
    """A teacher's note about a user, without its text."""
    return Comment(
        id=f"{render.iris.site}/notes/index.php#note-{objectid}",
        commenter=person_reference(render, actor) if actor else None,
        commentedOn=anonymous_or(render, anonymous, relateduserid),
    )


@for_recipes(personal_record=True)
def commented_competency(
    render: Render, other: object, object: Record | None
) -> LearningObjective | DigitalResourceCollection:
    """The object of a comment: a plan, a learner's competency, or a competency."""
    area = (object or {}).get("commentarea")
    item = integer(of_other(other, "itemid")) or (object or {}).get("itemid")
    pages = f"{render.iris.site}/admin/tool/lp"
    if area == "plan":
        return DigitalResourceCollection(id=f"{pages}/plan.php?id={item}")
    if area == "user_competency":
        return LearningObjective(id=f"{pages}/user_competency.php?id={item}")
    return LearningObjective(id=render.iris.competency(item or 0))


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
    render: Render, objectid: int | None, object: Record | None, other: object
) -> LearningObjective:
    """The competency that a learner was rated in: the same thing for all learners."""
    competency = (object or {}).get("competencyid") or integer(of_other(other, "competencyid"))
    if not competency:  # the learner's record of it is deleted
        return LearningObjective(
            id=f"{render.iris.site}/admin/tool/lp/user_competency.php?id={objectid}"
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
) -> Rating:
    """A rating of a learner's competency on its scale."""
    selection = plain((object or {}).get("scale_item"))
    return Rating(
        id=render.iris.uuid(f"rating:{log}"),
        rated=render.reference(
            LearningObjective, rated_competency(render, objectid, object, other).id
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
) -> Entity:
    """The tagged object, by ``other.itemtype`` and ``other.itemid``."""
    kind, item = of_other(other, "itemtype"), integer(of_other(other, "itemid"))
    if kind == "user":
        return Person(id=render.iris.user(user_id(of_other(other, "itemid")) or 0))
    if kind == "question":
        return AssessmentItem(
            id=question_iri(render, item),
        )
    if kind == "course_modules" and module:
        return activity(render, item or cmid, module, component, courseid)
    if kind == "book_chapters" and cmid:
        return Chapter(
            id=f"{render.iris.activity('book', cmid)}&chapterid={item}",
        )
    path, cls = _TAGGED.get(str(kind), (f"#{in_iri(kind) or 'item'}-{{}}", DigitalResource))
    return cls(id=f"{render.iris.site}/{path.format(item)}")


@for_recipes(personal_record=True, texts={"tags": "personal"})
def tag_annotation(
    render: Render, objectid: int | None, other: object, actor: int | None
) -> TagAnnotation:
    """The tag that was added."""
    name = plain(str(of_other(other, "tagrawname") or of_other(other, "tagname") or ""))
    return TagAnnotation(
        id=f"{render.iris.site}/tag/index.php?id={integer(of_other(other, 'tagid'))}"
        f"#item-{objectid}",
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
