"""What Caliper allows, counted and sampled against the final texts."""

from __future__ import annotations

import itertools

import pytest

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.versions import V1P1, V1P2
from caliper_dagster.caliper.vocabulary import (
    ACTIONS,
    ENTITY_TYPES,
    EVENT_TYPES,
    entity_type_in,
    event_in,
    exists,
    has_action,
    illegal,
    is_a,
    profile,
    properties,
)


def test_there_are_80_actions_in_1_2_and_64_of_them_in_1_1():
    assert sum(has_action(action, V1P2) for action in ACTIONS) == len(ACTIONS) == 80
    assert sum(has_action(action, V1P1) for action in ACTIONS) == 64


def test_every_type_descends_from_entity_and_names_only_known_types():
    for name, entity in ENTITY_TYPES.items():
        assert is_a(name, "Entity")
        assert set(entity.supertypes) <= set(ENTITY_TYPES)
        for kind in properties(name).values():
            target = kind.strip("[]")
            assert not target.startswith("@") or target[1:] in ENTITY_TYPES, (name, kind)


@pytest.mark.parametrize(
    ("name", "ancestor", "expected"),
    [
        ("Assessment", "AssignableDigitalResource", True),
        ("Assessment", "DigitalResourceCollection", True),
        ("Questionnaire", "DigitalResource", True),
        ("VideoObject", "MediaObject", True),
        ("LtiSession", "Session", True),
        ("CourseSection", "Organization", True),
        ("CourseSection", "DigitalResource", False),
        ("Person", "DigitalResource", False),
        ("Attempt", "DigitalResource", False),
        ("Result", "DigitalResource", False),
        ("Membership", "DigitalResource", False),
        ("DigitalResource", "Assessment", False),
    ],
)
def test_the_hierarchy_is_that_of_the_standard(name, ancestor, expected):
    assert is_a(name, ancestor) is expected


def test_properties_are_inherited_and_narrowed():
    assert properties("Assessment")["maxScore"] == "dec"
    assert properties("Assessment")["items"] == "[@AssessmentItem]"
    assert properties("Forum")["items"] == "[@Thread]"
    assert "maxScore" not in properties("Document")


@pytest.mark.parametrize(
    ("event", "target", "expected"),
    [
        ("ViewEvent", "Assessment", "AssessmentProfile"),
        ("ViewEvent", "AssessmentItem", "AssessmentProfile"),
        ("ViewEvent", "AssignableDigitalResource", "AssignableProfile"),
        ("ViewEvent", "Forum", "ForumProfile"),
        ("ViewEvent", "Message", "ForumProfile"),
        ("ViewEvent", "Questionnaire", "SurveyProfile"),
        ("ViewEvent", "AudioObject", "MediaProfile"),
        ("ViewEvent", "Result", "GradingProfile"),
        ("ViewEvent", "WebPage", "ReadingProfile"),
        ("NavigationEvent", "DigitalResourceCollection", "ReadingProfile"),
        ("NavigationEvent", "SoftwareApplication", "ReadingProfile"),
        ("Event", "Assessment", "GeneralProfile"),
        ("GradeEvent", "Attempt", "GradingProfile"),
        ("SessionEvent", "SoftwareApplication", "SessionProfile"),
    ],
)
def test_views_and_navigation_follow_the_profile_of_their_object(event, target, expected):
    assert profile(event, target) == expected


@pytest.mark.parametrize("combination", [*itertools.product(EVENT_TYPES, ["Assessment", "Person"])])
def test_every_event_type_has_a_profile(combination):
    assert profile(*combination).endswith("Profile")


@pytest.mark.parametrize(
    ("combination", "word"),
    [
        (("NavigationEvent", "NavigatedTo", "CourseSection", V1P2), "CourseSection"),
        (("AssessmentEvent", "Submitted", "Attempt", V1P2), "Attempt"),
        (("ResourceManagementEvent", "Created", "Group", V1P2), "Group"),
        (("ViewEvent", "NavigatedTo", "Document", V1P2), "NavigatedTo"),
        (("Event", "Danced", "Entity", V1P2), "Danced"),
        (("Event", "Downloaded", "Document", V1P1), "Downloaded"),
        (("ViewEvent", "Viewed", "Questionnaire", V1P1), "Questionnaire"),
        (("ViewEvent", "Viewed", "Quiz", V1P2), "Quiz"),
        (("FeedbackEvent", "Commented", "Document", V1P1), "FeedbackEvent"),
        (("OutcomeEvent", "Graded", "Attempt", V1P2), "OutcomeEvent"),
    ],
)
def test_what_is_illegal_is_said_in_words(combination, word):
    assert word in illegal(*combination)


@pytest.mark.parametrize(
    "combination",
    [
        ("ViewEvent", "Viewed", "Result", V1P2),
        ("ViewEvent", "Viewed", "LtiLink", V1P2),
        ("SessionEvent", "LoggedIn", "SoftwareApplication", V1P1),
        ("GradeEvent", "Graded", "Attempt", V1P1),
        ("Event", "Removed", "Score", V1P1),
        ("NavigationEvent", "NavigatedTo", "DigitalResourceCollection", V1P1),
    ],
)
def test_what_is_legal_is_legal(combination):
    assert illegal(*combination) is None


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_1_2_event_has_a_form_that_1_1_knows(name):
    for action in EVENT_TYPES[name].actions or ACTIONS:
        older, older_action = event_in(V1P1, name, action)
        assert V1P1.has(EVENT_TYPES[older].since)
        assert has_action(older_action, V1P1)
        legal = EVENT_TYPES[older].actions
        assert legal is None or older_action in legal


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        (("FeedbackEvent", "Commented"), ("Event", "Commented")),
        (("ResourceManagementEvent", "Uploaded"), ("Event", "Added")),
        (("ResourceManagementEvent", "Printed"), ("Event", "Retrieved")),
        (("ToolLaunchEvent", "Launched"), ("ToolUseEvent", "Used")),
        (("SurveyInvitationEvent", "Accepted"), ("Event", "Activated")),
        (("ViewEvent", "Viewed"), ("ViewEvent", "Viewed")),
    ],
)
def test_events_are_downgraded_as_the_mapping_says(newer, older):
    assert event_in(V1P1, *newer) == older


def test_every_entity_type_has_an_ancestor_in_1_1():
    for name in ENTITY_TYPES:
        assert exists(entity_type_in(V1P1, name), V1P1)
    assert entity_type_in(V1P1, "LtiLink") == "DigitalResource"
    assert entity_type_in(V1P1, "Questionnaire") == "DigitalResource"
    assert entity_type_in(V1P1, "Comment") == "Annotation"
    assert entity_type_in(V1P1, "DateTimeResponse") == "Response"
    assert entity_type_in(V1P1, "Assessment") == "Assessment"


def test_properties_that_1_1_lacks_are_known():
    assert not vocabulary.has_property("otherIdentifiers", V1P1)
    assert vocabulary.has_property("name", V1P1)
