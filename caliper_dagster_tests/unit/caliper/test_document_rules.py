import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caliper_dagster.caliper import jsonld, versions, vocabulary
from caliper_dagster.caliper.document_rules import parse, validate
from caliper_dagster.caliper.problems import RULES
from caliper_dagster.caliper.ruleset import ruleset
from caliper_dagster.caliper.versions import VERSIONS, Version
from caliper_dagster_tests.harness.examples import examples
from caliper_dagster_tests.unit.caliper.documents import (
    ANONYMOUS,
    ASSIGNMENT,
    DESCRIBE,
    ENVELOPE,
    EVENT,
    EXTENSION_CONTEXTS,
    LAUNCH,
    V1P1,
    V1P2,
    VIEW,
    changed,
    in_1_1,
)


def seen(document: object, *, strict: bool = False) -> list[tuple[str, str]]:
    return [(problem.path, problem.rule) for problem in validate(document, strict=strict)]


# The tables against the contexts


def _names(version: Version) -> set[str]:
    return {
        *(name for name in vocabulary.ENTITY_TYPES if vocabulary.exists(name, version)),
        *(name for name, event in vocabulary.EVENT_TYPES.items() if version.has(event.since)),
        *(action for action in vocabulary.ACTIONS if vocabulary.has_action(action, version)),
        *(
            key
            for name in vocabulary.ENTITY_TYPES
            if vocabulary.exists(name, version)
            for key in vocabulary.properties(name)
            if vocabulary.has_property(key, version)
        ),
        *(
            key
            for key in vocabulary.EVENT_PROPERTIES
            if vocabulary.has_event_property(key, version)
        ),
    }


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_the_contexts_define_every_name_of_the_tables(version):
    undefined = _names(version) - jsonld.terms(version.context)
    assert undefined == {"storageName", "EnabledClosedCaptioning", "DisabledClosedCaptioning"}


def test_the_context_of_1_2_defines_every_term_of_a_list():
    listed = set().union(*vocabulary.TERMS.values())
    assert listed - jsonld.terms(V1P2) == {"SurveyProfile", "Manager#Manager"}


@pytest.mark.parametrize("name", EXTENSION_CONTEXTS)
def test_extensions_define_what_1_1_has_and_more(name):
    extended = jsonld.terms(EXTENSION_CONTEXTS[name])
    assert extended > jsonld.terms(V1P1)


def test_slots_and_required_properties_name_what_exists():
    for key, slots in vocabulary._SLOTS.items():
        event_type, _, action = key.partition("/")
        event_type = event_type.removesuffix(" 1.1")
        assert event_type in vocabulary.EVENT_TYPES
        assert not action or action in vocabulary.event_actions(
            event_type, versions.V1P2, strict=True
        )
        for types in slots.values():
            assert set(types.split("|")) <= vocabulary.ENTITY_TYPES.keys()


# Single rules


_VALID = {
    "grade": EVENT,
    "view": VIEW,
    "launch": LAUNCH,
    "describe": DESCRIBE,
    "envelope": ENVELOPE,
    "1.1": in_1_1(EVENT),
    "1.1 launch": in_1_1(LAUNCH, EXTENSION_CONTEXTS["ToolLaunch"]),
    "1.1 envelope": ENVELOPE | {"dataVersion": V1P1, "data": [in_1_1(EVENT), in_1_1(VIEW)]},
}


@pytest.mark.parametrize("document", _VALID.values(), ids=_VALID)
def test_these_are_strictly_valid_as_objects_and_as_text(document):
    for form in (document, json.dumps(document), json.dumps(document).encode()):
        assert not validate(form, strict=True)


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("@context", None, "required"),
        ("@context", "http://purl.imsglobal.org/ctx/caliper/v1p2/", "context"),
        ("@context", "https://purl.imsglobal.org/ctx/caliper/v1p2", "context"),
        ("@context", [V1P2, "https://schema.org"], "context"),
        ("@context", [], "context"),
        ("@context", [7, V1P2], "context"),
        ("@context", {}, "context"),
        ("id", "0a1b2c3d-4e5f-5a6b-8c7d-9e0f1a2b3c4d", "id"),
        ("id", "urn:uuid:0a1b2c3d-4e5f-0a6b-8c7d-9e0f1a2b3c4d", "id"),
        ("type", "Viewed", "type"),
        ("type", ["ViewEvent"], "type"),
        ("type", {}, "type"),
        ("type", None, "required"),
        ("actor", None, "required"),
        ("actor/id", None, "required"),
        ("actor/id", "/user/profile.php?id=3", "id"),
        ("actor/id", "https:///user", "id"),
        ("actor/id", f"{ANONYMOUS[:-6]}Group", "anonymous"),
        ("actor/type", None, "required"),
        ("actor/type", "Membership", "slot"),
        ("actor/type", "Human", "type"),
        ("actor/name", 3, "value"),
        ("actor/otherIdentifiers/0/identifierType", "Passport", "value"),
        ("actor/otherIdentifiers/0/identifier", None, "required"),
        ("actor/otherIdentifiers/0/id", "https://moodle.example/1", "property"),
        ("actor/otherIdentifiers/0", "https://moodle.example/1", "value"),
        ("action", None, "required"),
        ("action", "Viewed", "action"),
        ("action", "graded", "action"),
        ("object", "submission 12", "slot"),
        ("object/type", "Assessment", "slot"),
        ("object/count", 1.0, "value"),
        ("object/count", True, "value"),
        ("object/duration", "30 minutes", "value"),
        ("object/duration", "PT", "value"),
        ("object/duration", "P", "value"),
        ("object/assignee", "http://purl.imsglobal.org/caliper/Group", "value"),
        ("object/assignable/maxScore", 100, "value"),
        ("object/assignable/maxAttempts", -1, "value"),
        ("object/assignable/dateToSubmit", "2026-02-01T22:00:00Z", "value"),
        ("object/assignable/dateToSubmit", "2026-02-01T22:00:00.000+01:00", "value"),
        ("object/assignable/dateToSubmit", "2026-02-30T22:00:00.000Z", "value"),
        ("eventTime", "2026-01-31 14:05:00.000Z", "value"),
        ("eventTime", 1769868300, "value"),
        ("generated/type", "Result", "slot"),
        ("group/type", "Person", "value"),
        ("membership/roles", "Instructor", "value"),
        ("membership/roles/1", "Instructor#Boss", "value"),
        ("membership/status", "active", "value"),
        ("membership/organization", 2, "value"),
        ("extensions", [], "value"),
        ("profile", "ReadingProfile", "profile"),
        ("profile", "NoProfile", "value"),
        ("object/title", "Essay", "term"),
        ("object/courseNumber", "C1", "property"),
        ("foo", "bar", "term"),
    ],
)
def test_a_wrong_event_has_one_problem_at_its_place(path, value, rule):
    document = changed(EVENT, path, value)
    # Problems of a type lie at the entity that has it, others at the value.
    places = {f"/{path}", f"/{path.rpartition('/')[0]}"}
    problems = validate(document)
    assert rule in {problem.rule for problem in problems}
    assert any(problem.path in places for problem in problems), problems
    for problem in problems:
        assert problem.section == RULES[problem.rule]


@pytest.mark.parametrize(
    ("document", "path", "value", "rule"),
    [
        (LAUNCH, "federatedSession", None, "required"),
        (VIEW, "profile", "GeneralProfile", "profile"),
        (VIEW, "profile", "GradingProfile", "profile"),
        (VIEW, "object/type", "Result", "profile"),
        (VIEW, "object/type", "CourseSection", "slot"),
        (VIEW, "target", {"id": "urn:x:1", "type": "Chapter"}, "slot"),
        (in_1_1(EVENT), "profile", "GradingProfile", "term"),
        (in_1_1(EVENT), "actor/otherIdentifiers", [], "term"),
        (in_1_1(EVENT), "object/assignable/type", "Questionnaire", "type"),
        (in_1_1(LAUNCH, EXTENSION_CONTEXTS["ToolLaunch"]), "@context", V1P1, "type"),
        (in_1_1(VIEW), "action", "Downloaded", "action"),
        (in_1_1(VIEW), "target", {"id": "urn:x:1", "type": "MediaLocation"}, "slot"),
        (ENVELOPE, "sensor", None, "required"),
        (ENVELOPE, "sensor", "", "envelope"),
        (ENVELOPE, "sendTime", "2026-01-31T14:06:00Z", "envelope"),
        (ENVELOPE, "dataVersion", V1P1, "envelope"),
        (ENVELOPE, "dataVersion", "v1p2", "envelope"),
        (ENVELOPE, "data", [], "envelope"),
        (ENVELOPE, "data", EVENT, "envelope"),
        (ENVELOPE, "data/0", "https://moodle.example", "envelope"),
        (ENVELOPE, "data/0", ENVELOPE, "envelope"),
        (ENVELOPE, "data/0/@context", None, "context"),
        (ENVELOPE, "batch", 1, "envelope"),
        (ENVELOPE, "data/0/object/assignable/maxScore", 1, "value"),
        (DESCRIBE, "type", "Human", "type"),
        (DESCRIBE, "type", None, "required"),
    ],
)
def test_other_wrong_documents(document, path, value, rule):
    assert rule in {problem.rule for problem in validate(changed(document, path, value))}


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("profile", None, "profile"),
        ("actor/name", "", "empty"),
        ("actor/otherIdentifiers", [], "empty"),
        ("actor/extensions", {}, "empty"),
        ("extensions/moodle", {}, "empty"),
        ("extensions/moodle/origin", "", "empty"),
        ("extensions/moodle/other", [{"a": ""}], "empty"),
        ("actor/id", "_:b0", "id"),
        ("object/assignee", "_:b0", "value"),
        ("object/assignable/storageName", "essay.pdf", "term"),
        ("object/@context", V1P2, "context"),
        ("@context", ["https://schema.org", V1P2], "context"),
        ("actor/id", ANONYMOUS, "anonymous"),
    ],
)
def test_what_only_should_not_be_is_a_problem_when_strict(path, value, rule):
    document = changed(EVENT, path, value)
    assert not validate(document)
    assert rule in {problem.rule for problem in validate(document, strict=True)}


def test_strictly_a_null_is_found_at_any_depth():
    document = copy.deepcopy(EVENT)
    document["extensions"]["moodle"]["list"] = [{"x": None}]
    assert seen(document) == []
    assert seen(document, strict=True) == [("/extensions/moodle/list/0/x", "empty")]


def test_who_is_named_beside_an_anonymous_actor_is_a_problem_when_strict():
    anonymous = EVENT | {"actor": {"id": ANONYMOUS, "type": "Person"}}
    assert seen(anonymous) == []
    assert seen(anonymous, strict=True) == [("/membership/member", "anonymous")]
    together = changed(anonymous, "membership/member", ANONYMOUS)
    assert seen(together, strict=True) == []


def test_the_most_fitting_profile_is_asked_for_when_strict():
    quiz = changed(VIEW, "object/type", "Assessment")
    assert seen(quiz) == []
    assert seen(quiz, strict=True) == [("/profile", "profile")]
    assert seen(quiz | {"profile": "AssessmentProfile"}, strict=True) == []


def test_other_contexts_may_define_other_types_and_properties():
    document = changed(EVENT, "object/assignable", {"id": "urn:x:1", "type": "Thesis", "by": 1})
    document = changed(document, "actor/nickname", "Jay") | {"@context": ["https://s.org", V1P2]}
    assert seen(document) == []


def test_deprecated_actions_of_1_1_are_a_problem_when_strict():
    event = in_1_1(VIEW) | {"type": "AssignableEvent", "action": "Hid", "object": ASSIGNMENT}
    assert seen(event) == []
    assert seen(event, strict=True) == [("/action", "action")]
    assert seen(event | {"@context": V1P2}) == [("/action", "action")]


def test_an_extension_of_1_1_adds_its_actions_to_the_generic_event():
    event = in_1_1(VIEW) | {"type": "Event", "action": "Launched"}
    assert seen(event) == [("/action", "action")]
    assert seen(event | {"@context": EXTENSION_CONTEXTS["ToolLaunch"]}, strict=True) == []
    both = [EXTENSION_CONTEXTS["ToolLaunch"], V1P1]
    assert seen(event | {"@context": both}) == []


def test_a_time_out_is_the_applications_and_about_a_session():
    event = EVENT | {
        "type": "SessionEvent",
        "profile": "SessionProfile",
        "action": "TimedOut",
        "actor": {"id": "https://moodle.example", "type": "SoftwareApplication"},
        "object": {"id": "urn:x:1", "type": "Session"},
        "generated": "urn:x:2",
    }
    assert seen(event) == []
    assert seen(event | {"actor": EVENT["actor"]}) == [("/actor", "slot")]
    wrong = [("/actor", "slot"), ("/object", "slot"), ("/membership/member", "reference")]
    assert seen(event | {"action": "LoggedOut"}) == wrong


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"nonsense",
        b'{"a": NaN}',
        b"9" * 5000,
        b'{"a":1,"a":2}',
        b"[" * 5000,
        b'{"a":' * 5000,
    ],
    ids=lambda text: str(text[:12]),
)
def test_what_is_no_json_is_a_problem(text):
    assert "json" in {problem.rule for problem in validate(text)}


def test_what_is_nested_without_end_is_a_problem():
    part: dict[str, Any] = {"id": "urn:x:1", "type": "WebPage"}
    for _ in range(3000):
        part = {"id": "urn:x:1", "type": "WebPage", "isPartOf": part}
    assert seen(part | {"@context": V1P2}) == [("", "json")]


def test_numbers_keep_whether_they_have_a_fraction():
    assert parse('{"a": 10.0, "b": 10, "c": 123456789012345678901234567890}')[0] == {
        "a": 10.0,
        "b": 10,
        "c": 123456789012345678901234567890,
    }
    text = json.dumps(EVENT)
    assert not validate(text)
    assert validate(text.replace("87.5", "87"))
    assert validate(text.replace("87.5", "123456789012345678901234567890"))


# Properties


def _paths(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The place of every property and list item."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [place for key, item in items for place in [(*path, key), *_paths(item, (*path, key))]]


_PLACES = ["/".join(map(str, path)) for path in _paths(EVENT) if path[0] != "extensions"]
_REQUIRED = [
    place
    for place in _PLACES
    if place.rpartition("/")[2] in {"id", "type", "identifier", "identifierType"}
] + ["actor", "action", "object", "eventTime", "@context"]
_PROPERTIES = [place for place in _PLACES if not place.rpartition("/")[2].isdigit()]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("place", _REQUIRED)
def test_without_a_required_property_an_event_is_not_valid(place):
    assert validate(changed(EVENT, place))


_KNOWN = jsonld.terms(V1P2) | {"@context", "storageName"}


@given(st.sampled_from(_PROPERTIES), st.text().filter(lambda name: name not in _KNOWN))
def test_under_another_name_a_property_is_a_problem(place, name):
    document = copy.deepcopy(EVENT)
    holder: Any = document
    *parents, key = place.split("/")
    for part in parents:
        holder = holder[int(part) if isinstance(holder, list) else part]
    holder[name] = holder.pop(key)
    assert validate(document)


@given(st.sampled_from(_PLACES), st.sampled_from([3, 2.5, True, [[]], {"a": 1}, " no such thing "]))
def test_a_value_of_another_kind_is_a_problem(place, value):
    texts = {"actor/name", "actor/otherIdentifiers/0/identifier", "edApp/version"}
    current: Any = EVENT
    for part in place.split("/"):
        current = current[int(part) if isinstance(current, list) else part]
    if type(value) is type(current) and (place in texts or not isinstance(value, str)):
        return
    assert validate(changed(EVENT, place, value)), place


@given(json_values)
def test_no_json_value_raises(value):
    assert validate(value)


@given(st.sampled_from([EVENT, DESCRIBE, ENVELOPE, in_1_1(VIEW)]), st.data())
@settings(max_examples=examples(300))
def test_nothing_anywhere_raises_or_shows_its_value(document, data):
    places = ["/".join(map(str, path)) for path in _paths(document)]
    place = data.draw(st.sampled_from(places))
    secret = "Jane Q. Doe <jane@example.edu>"
    value = data.draw(json_values | st.just(secret) | st.just({secret: secret}))
    for strict in (False, True):
        problems = validate(changed(document, place, value), strict=strict)
        text = "".join(problem.path + problem.sentence for problem in problems)
        assert "Jane" not in text


@given(st.binary() | st.text())
def test_no_text_raises(text):
    assert validate(text)


def test_tables_are_made_ready_once():
    rules = ruleset(versions.V1P2, strict=True)
    assert not validate(EVENT, strict=True)
    before = rules.event("GradeEvent", "Graded"), rules.entity("Attempt")
    assert not validate(copy.deepcopy(EVENT), strict=True)
    assert ruleset(versions.V1P2, strict=True) is rules
    after = rules.event("GradeEvent", "Graded"), rules.entity("Attempt")
    assert all(one is other for one, other in zip(before, after, strict=True))


@given(st.text())
def test_names_that_do_not_exist_are_not_kept(name):
    rules = ruleset(versions.V1P2)
    validate(changed(EVENT, "actor/type", name))
    validate(changed(EVENT, "action", name))
    assert rules._entities.keys() <= vocabulary.ENTITY_TYPES.keys()
    assert {action for _, action in rules._events} <= vocabulary.ACTIONS.keys() | {""}
