"""What of a row's ``other`` may leave, whatever its recipe says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.translator.extensions import NEVER, filtered_other
from caliper_dagster_tests.unit.translator.support import W as SITE
from caliper_dagster_tests.unit.translator.support import event

SECRETS = (
    "sessionid username email idnumber content value oldvalue search replace token extrauserinfo "
    "debug receivedconfigkey badgehash password"
).split()


@pytest.mark.parametrize("key", SECRETS)
@pytest.mark.parametrize("value", ["s3cret", 12345, True, "12345"])
def test_secrets_and_persons_never_leave(key, value):
    assert filtered_other({key: value, key.upper(): value}, {key, key.upper()}) is None


def test_numbers_and_ids_leave_and_text_only_where_it_is_allowed():
    other = {
        "quizid": "5", "page": 2, "final": 7.5, "own": False, "mode": "user", "name": "Ada",
        "cmId": "-31337", "odd": None, "list": [1], "map": {"id": 1}, "textid": "five",
        "empty": "",
    }  # fmt: skip
    numbers = {"quizid": "5", "page": 2, "final": 7.5, "own": False, "cmId": "-31337"}
    assert filtered_other(other, ()) == numbers
    assert filtered_other(other, {"mode"}) == {**numbers, "mode": "user"}


def test_long_texts_do_not_leave():
    assert filtered_other({"mode": "x" * 255}, {"mode"})
    assert filtered_other({"mode": "x" * 256}, {"mode"}) is None


@pytest.mark.parametrize("other", [None, [], ["a"], "text", 5, {}])
def test_what_is_no_map_does_not_leave(other):
    assert filtered_other(other, {"a"}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
keys = st.sampled_from([*sorted(NEVER), "mode", "quizid", "PASSWORD"]) | st.text(max_size=8)


@given(json_values | st.dictionaries(keys, json_values), st.sets(keys))
def test_only_numbers_ids_and_allowed_texts_ever_leave(other, allowed):
    kept = filtered_other(other, allowed) or {}
    for key, value in kept.items():
        assert key.lower() not in NEVER
        assert value == other[key]
        assert not isinstance(value, list | dict)
        if isinstance(value, str):
            assert key in allowed or value.lstrip("-").isdigit()
    json.dumps(kept)


def test_the_php_session_is_nowhere_in_the_event_of_a_log_out():
    row = {
        "eventname": r"\core\event\user_loggedout",
        "other": {"sessionid": "kpxq7php", "n": 1},
    }
    found = event(row)
    assert "kpxq7php" not in json.dumps(found)
    assert found["extensions"]["moodle"]["other"] == {"n": 1}


def test_the_related_user_is_named_once():
    assert event({"relateduserid": 3})["extensions"].keys() == {"moodle"}
    assert event({"relateduserid": 5})["extensions"]["relatedUser"] == {
        "id": f"{SITE}/user/profile.php?id=5",
        "type": "Person",
    }
    assert event({"relateduserid": -1})["extensions"].keys() == {"moodle"}


ATTEMPT = {
    "eventname": r"\mod_quiz\event\attempt_submitted",
    "component": "mod_quiz",
    "contextlevel": 70,
    "contextinstanceid": 11,
    "objectid": 50,
    "relateduserid": 3,
}


@pytest.mark.parametrize(
    ("other", "submitter"),
    [
        ({"submitterid": None}, {"id": SITE, "type": "SoftwareApplication"}),
        ({"submitterid": "4"}, {"id": f"{SITE}/user/profile.php?id=4", "type": "Person"}),
        ({"submitterid": 3}, None),
        ({"submitterid": "nobody"}, None),
        ({"quizid": 70}, None),
        (None, None),
    ],
)
def test_who_submitted_for_a_learner_is_said(other, submitter):
    assert event({**ATTEMPT, "other": other})["extensions"].get("submittedBy") == submitter
