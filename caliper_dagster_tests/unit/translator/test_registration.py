"""What is registered of entity functions is true of all entities that they make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entities import Entity
from caliper_dagster.caliper.versions import NEWEST
from caliper_dagster.core.privacy import TextClass
from caliper_dagster.translator.derived import DERIVED_EVENTS
from caliper_dagster.translator.entities.classification import INSTITUTIONAL_RECORDS, class_of_name
from caliper_dagster.translator.entities.generic import path_function
from caliper_dagster.translator.entities.registry import (
    ENTITY_FUNCTIONS,
    TRANSLATOR_FUNCTIONS,
    PersonOptions,
    Render,
)
from caliper_dagster.translator.entity_output import to_json
from caliper_dagster.translator.identity import Iris
from caliper_dagster_tests.unit.translator.support import ADA, ALL_TEXTS, W, event, member
from caliper_dagster_tests.unit.translator.test_derived import EVERY
from caliper_dagster_tests.unit.translator.variations import rows

EVERYTHING = Render(
    Iris(W),
    PersonOptions(names=True, identifiers=("SystemId", "EmailAddress")),
    texts=ALL_TEXTS,
    course_categories=True,
)

WORDS = {
    "name", "description", "courseNumber", "academicSession", "category", "keywords", "tags",
    "body", "value", "values", "selections", "searchTerms", "selectionText", "bookmarkNotes",
    "comment", "identifier", "questionPosed", "itemLabels", "externalUrl", "version",
}  # fmt: skip
"""Properties that hold words; what else is text is an id, a term, a time or a duration."""

CLASSES = {"institutional", "shared", "personal", "person", "by_table"}
LEAVING: tuple[frozenset[TextClass], ...] = (
    frozenset(),
    frozenset({"institutional"}),
    frozenset({"shared"}),
    frozenset({"personal"}),
    frozenset({"institutional", "shared"}),
    frozenset({"institutional", "shared", "personal"}),
)
RENDERS = [replace(EVERYTHING, texts=leaving) for leaving in LEAVING]
FUNCTIONS = {**ENTITY_FUNCTIONS, **TRANSLATOR_FUNCTIONS}


def texts(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all properties that hold words."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, f"{path}.{key}".strip("."))
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, path)
    elif isinstance(value, str) and path.rpartition(".")[2] in WORDS:
        yield path


@pytest.fixture(scope="module")
def arguments() -> list[dict[str, Any]]:
    """Rows with the columns that the translator derives."""
    return [
        {
            "session": {"id": 5, "user": row["userid"], "timecreated": 5},
            **row,
            "cmid": (row.get("module") or {}).get("id"),
            "actor": row["userid"],
            "trigger": row["userid"],
            "learner": row.get("relateduserid"),
            "submitter": row["userid"],
            "log": row["id"],
            "log_mark": "log",
            "ended": 9,
            "record": {**member(3), "guest": 0},
            "user": ADA,
        }
        for row in rows(EVERY.values(), few=True)
    ]


def made(
    function: Any,
    columns: tuple[str, ...],
    rows: list[dict[str, Any]],
    render: Render = EVERYTHING,
) -> Iterator[Any]:
    """What a function makes of rows; rows that it is not for are left out."""
    for row in rows:
        try:
            result = function(render, *(row.get(name) for name in columns))
        except Exception:
            continue
        if result is not None:
            yield result


def is_valid(entity: Entity | None) -> bool:
    """Whether an entity can be sent; some rows hold values that no entity may have."""
    try:
        return entity is None or bool(to_json(entity, NEWEST))
    except Exception:
        return False


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_text_of_an_entity_has_a_class(name, arguments):
    registered = FUNCTIONS[name]
    found = {
        path
        for entity in made(registered.function, registered.columns, arguments)
        for path in texts(entity)
    }
    assert found <= registered.texts.keys()
    assert found >= {path for path in registered.texts if not path.endswith("externalUrl")}
    assert set(registered.texts.values()) <= CLASSES


@pytest.mark.parametrize("name", DERIVED_EVENTS)
def test_every_text_of_a_derived_event_has_a_class(name, arguments):
    registered = DERIVED_EVENTS[name]
    found = {
        f"{slot}.{path}"
        for events in made(registered.function, registered.columns, arguments)
        for event in events
        for slot in ("object", "generated", "target", "federated_session")
        for path in texts(getattr(event, slot))
    }
    assert found <= registered.texts.keys()
    assert found >= {path for path in registered.texts if not path.endswith("externalUrl")}
    assert set(registered.texts.values()) <= CLASSES


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_entity_holds_no_text_of_a_class_that_does_not_leave(name, arguments):
    registered = FUNCTIONS[name]
    for row in arguments:
        for full in made(registered.function, registered.columns, [row]):
            for render in RENDERS:
                (entity,) = made(registered.function, registered.columns, [row], render)
                classes = {registered.texts[path] for path in texts(entity)}
                assert classes <= render.texts | {"person", "by_table"}
                assert entity.id == full.id
                assert is_valid(entity) or not is_valid(full)


@pytest.mark.parametrize("name", DERIVED_EVENTS)
def test_a_derived_event_holds_no_text_of_a_class_that_does_not_leave(name, arguments):
    registered = DERIVED_EVENTS[name]
    for row in arguments:
        for full in made(registered.function, registered.columns, [row]):
            for render in RENDERS:
                (events,) = made(registered.function, registered.columns, [row], render)
                for one, whole in zip(events, full, strict=True):
                    for slot in ("object", "generated", "target", "federated_session"):
                        entity = getattr(one, slot)
                        found = {registered.texts[f"{slot}.{path}"] for path in texts(entity)}
                        assert found <= render.texts
                        assert is_valid(entity) or not is_valid(getattr(whole, slot))


@pytest.mark.parametrize(
    ("record", "leaves_with"),
    [
        ({"table": "badge"}, {"institutional"}),
        ({"table": "quiz"}, {"institutional"}),
        ({"table": "groups"}, {"shared"}),
        ({"table": "wiki_pages"}, {"personal"}),
        ({"table": "event", "eventtype": "course"}, {"institutional"}),
        ({"table": "event", "eventtype": "user"}, set()),
        ({"table": "event"}, set()),
        ({"table": "event_subscriptions", "eventtype": "user"}, set()),
    ],
)
def test_a_name_leaves_by_the_table_of_its_record(record, leaves_with):
    path = path_function("WebPage", "x.php?id={objectid}")
    fallback = ENTITY_FUNCTIONS["fallback_object"]
    row = {
        "objectid": 7, "objecttable": "local_x", "contextlevel": 50, "courseid": 2,
        "object": {"id": 7, "name": "a name", **record},
    }  # fmt: skip
    for leaving in (*LEAVING, ALL_TEXTS):
        render = replace(EVERYTHING, texts=leaving)
        for function in (path, fallback):
            (entity,) = made(function.function, function.columns, [row], render)
            assert (entity.name == "a name") is bool(leaves_with & leaving)
            assert entity.name in ("a name", None)


def test_an_activity_of_an_unknown_plugin_keeps_its_name():
    module = {"id": 11, "modname": "zoom", "instance": 4, "activity": {"id": 4, "name": "Room"}}
    row = {
        "eventname": r"\mod_zoom\event\thing_viewed", "component": "mod_zoom",
        "objecttable": "zoom", "objectid": 4, "object": None, "module": module,
        "contextlevel": 70, "contextinstanceid": 11,
    }  # fmt: skip
    assert event(row)["object"]["name"] == "Room"
    assert "name" not in event(row, texts=frozenset())["object"]


def test_names_of_persons_leave_by_the_setting_for_names():
    assert "name" not in event({}, texts=ALL_TEXTS)["actor"]
    named = event({}, texts=frozenset(), person_names=True)["actor"]
    assert named["name"] == "Ada Lovelace"
    assert named["otherIdentifiers"]


def test_an_entry_of_ones_own_calendar_leaves_never():
    row = {
        "eventname": r"\core\event\calendar_event_created", "objecttable": "event",
        "objectid": 7, "contextlevel": 30, "contextinstanceid": 3, "courseid": 0,
        "object": {"id": 7, "table": "event", "name": "Doctor", "eventtype": "user"},
        "other": {"name": "Doctor", "timestart": 5},
    }  # fmt: skip
    deleted = {**row, "eventname": r"\core\event\calendar_event_deleted", "object": None}
    of_course = {**row, "object": {**row["object"], "eventtype": "course"}}
    assert "Doctor" not in str(event(row, texts=ALL_TEXTS))
    assert "Doctor" not in str(event(deleted, texts=ALL_TEXTS))
    assert event(of_course)["object"]["name"] == "Doctor"


def test_all_words_are_properties_of_caliper_or_extensions():
    properties = {key for name in vocabulary.ENTITY_TYPES for key in vocabulary.properties(name)}
    assert properties | {"identifier", "externalUrl"} >= WORDS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_entity_names_the_related_user_when_it_is_registered_to(name, arguments):
    registered = FUNCTIONS[name]
    named = defaultdict(set)
    for row in arguments:
        if row["anonymous"] == 1 or row.get("relateduserid") != 21 or row["userid"] == 21:
            continue
        alone = {**row, "object": {"userid": 21}, "relateduser_membership": None}
        for entity in made(registered.function, registered.columns, [alone]):
            assert isinstance(entity, Entity)
            persons = str(msgspec.to_builtins(entity)).count("profile.php?id=21'")
            named[persons > 0].add(row["eventname"])
    assert not registered.names_related_user or named[True], named


@pytest.mark.parametrize("name", ENTITY_FUNCTIONS)
def test_what_tells_a_grade_makes_scores_or_results(name):
    registered = ENTITY_FUNCTIONS[name]
    if registered.tells_grade:
        assert registered.function.__annotations__["return"] in {"Score", "Result"}
        assert registered.personal_record


@pytest.mark.parametrize("name", FUNCTIONS)
def test_attempts_scores_answers_and_memberships_belong_to_one_person(name):
    registered = FUNCTIONS[name]
    wanted = registered.function.__annotations__["return"].removesuffix(" | None")
    types = {"Attempt", "Score", "Result", "Membership", "Session", "Message", "Person", "Response"}
    if wanted in types and name != "guest_membership":
        assert registered.personal_record


def test_an_entity_at_a_path_goes_by_the_table_of_its_record():
    assert path_function("WebPage", "course/user.php?id={relateduserid}").personal_record
    assert path_function("WebPage", "blog/index.php?userid={other.userid}").personal_record
    assert not path_function("WebPage", "course/info.php?id={courseid}").personal_record
    assert path_function("Entity", "#x-{objectid}").texts["name"] == "by_table"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"table": "badge"}, "institutional"),
        ({"table": "groups"}, "shared"),
        ({"table": "event", "eventtype": "course"}, "institutional"),
        ({"table": "event", "eventtype": "group"}, "shared"),
        ({"table": "event", "eventtype": "open", "groupid": 3}, "shared"),
        ({"table": "event", "eventtype": "user"}, "private"),
        ({"table": "event"}, "private"),
        ({"table": "event_subscriptions", "eventtype": "site"}, "institutional"),
        ({"table": "quiz"}, "institutional"),
        ({"table": "competency_plan"}, "personal"),
        ({"table": "local_unknown"}, "personal"),
        ({}, "personal"),
    ],
)
def test_a_name_that_no_table_is_known_of_is_a_persons_own(record, expected):
    assert class_of_name(record) == expected


def test_records_of_persons_are_known_by_their_table():
    assert INSTITUTIONAL_RECORDS.isdisjoint({"quiz_attempts", "post", "glossary_entries"})
    assert {"course", "groups", "quiz"} <= INSTITUTIONAL_RECORDS
