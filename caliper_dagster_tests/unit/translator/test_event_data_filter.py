"""What of a row's ``other`` may leave, whatever its recipe says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.translator.entities.classification import NAMES_OF_PERSONS
from caliper_dagster.translator.entities.registry import PersonOptions, Render
from caliper_dagster.translator.event_data_filter import (
    NEVER,
    NUMBERS,
    VOCABULARIES,
    filtered_other,
)
from caliper_dagster.translator.identity import Iris
from caliper_dagster_tests.unit.translator.support import RECIPES, W, event, translate

RENDER = Render(Iris(W))
RESOLUTIONS = ("exact", "family", "fallback", "user")
SECRETS = (
    "sessionid username email idnumber content value oldvalue search replace token tokenid "
    "extrauserinfo debug receivedconfigkey badgehash password mysessionid lasttoken"
).split()


@pytest.mark.parametrize("key", SECRETS)
@pytest.mark.parametrize("value", ["s3cret", 12345, True, "12345"])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_secrets_and_persons_never_leave(key, value, resolution):
    other = {key: value, key.upper(): value}
    assert filtered_other(RENDER, other, {key, key.upper()}, resolution) is None


PHONE, MATRICULATION = 4915112345678, "11904711"
OF_A_PLUGIN = {
    "quizid": "5", "own": False, "modulename": "quiz", "relateduserid": 7,
    "phone": PHONE, "matric": int(MATRICULATION), "matriculationid": MATRICULATION,
    "studentid": 11904711, "grade": 7.5, "page": 2, "Ada Lovelace": True, "4915112345678": True,
    "p4711": 1, "x" * 41: True, "cmId": "5", "name": "Ada", "enrol": "Ada L.", "list": [1],
    "map": {"id": 1}, "textid": "five", "longid": "1" * 19, "callid": PHONE, "odd": None,
    "userid": "nobody", "floatid": 1.5, "empty": "",
}  # fmt: skip


@pytest.mark.parametrize("name", [r"\local_x\event\y_created", r"\mod_zoom\event\thing_viewed"])
def test_of_an_event_that_no_recipe_names_only_ids_flags_and_moodles_words_leave(name):
    found = event({"eventname": name, "other": OF_A_PLUGIN})
    expected = {"quizid": "5", "own": False, "modulename": "quiz", "relateduserid": 7}
    assert found["extensions"]["moodle"]["other"] == expected
    assert str(PHONE) not in json.dumps(found)
    assert MATRICULATION not in json.dumps(found)


def test_a_recipe_that_names_the_event_knows_its_numbers():
    other = {"page": 2, "finalgrade": 7.5, "phone": PHONE, "quizid": 5, "mode": 3, "name": "Ada"}
    numbers = {"page": 2, "finalgrade": 7.5, "quizid": 5, "mode": 3}
    assert filtered_other(RENDER, other, (), "exact") == numbers
    assert filtered_other(RENDER, other, (), "user") == numbers
    assert filtered_other(RENDER, other, (), "family") == {"quizid": 5}
    assert filtered_other(RENDER, {"page": PHONE, "mode": PHONE}, {"mode"}, "exact") is None


def test_text_leaves_only_under_a_key_that_a_recipe_allows():
    other = {"mode": "my own", "tab": "date"}
    assert filtered_other(RENDER, other, {"mode", "tab"}, "exact") == {"tab": "date"}
    assert filtered_other(RENDER, other, {"mode", "tab"}, "user") == other
    assert filtered_other(RENDER, {"phone": PHONE}, {"phone"}, "user") == {"phone": PHONE}
    for length, sent in ((200, True), (201, False)):
        found = filtered_other(RENDER, {"mode": "x" * length}, {"mode"}, "user")
        assert (found is not None) is sent


def test_a_key_that_a_sites_recipe_allows_leaves_with_its_events():
    text = (
        r"[{events: [\local_x\event\y_created], pattern: X, type: Event, action: Created,"
        " object: {type: Entity, path: 'x.php?id={objectid}'}, other: [room, nickname]}]"
    )
    row = {
        "eventname": r"\local_x\event\y_created",
        "other": {"room": "B 12", "phone": PHONE, "nickname": "Ada"},
    }
    recipes = RECIPES.with_user_recipes([("mine.yaml", text)])
    (found,) = translate(row, recipes=recipes)
    assert found["json"]["extensions"]["moodle"]["other"] == {"room": "B 12"}
    (named,) = translate(row, recipes=recipes, person_names=True)
    assert named["json"]["extensions"]["moodle"]["other"] == {"room": "B 12", "nickname": "Ada"}


@pytest.mark.parametrize("key", sorted(NAMES_OF_PERSONS))
def test_a_persons_name_leaves_only_where_names_do(key):
    named = replace(RENDER, person=PersonOptions(names=True))
    assert filtered_other(RENDER, {key: "Ada Lovelace"}, {key}, "user") is None
    assert filtered_other(named, {key: "Ada Lovelace"}, {key}, "user") == {key: "Ada Lovelace"}
    assert filtered_other(named, {key: "Ada Lovelace"}, (), "user") is None


class Marked(Iris):
    """Ids of users that tell nobody."""

    def of_user(self, user: object, before: str = "", after: str = "") -> str:
        return f"{before}somebody{after}"


def test_ids_of_users_go_through_the_function_of_identity():
    other = {
        "userid": 5, "relateduserid": "6", "overrideby": 7, "useridto": 8, "markerid": 9,
        "itemid": 4, "itemtype": "user", "quizid": 3, "submitterid": True,
    }  # fmt: skip
    users = ("userid", "relateduserid", "overrideby", "useridto", "markerid", "itemid")
    for resolution in RESOLUTIONS:
        found = filtered_other(replace(RENDER, iris=Marked(W)), other, (), resolution)
        assert found == {**dict.fromkeys(users, "somebody"), "quizid": 3}
        plain = filtered_other(RENDER, other, (), resolution)
        assert plain == {key: other[key] for key in (*users, "quizid")}


@pytest.mark.parametrize("other", [None, [], ["a"], "text", 5, {}])
def test_what_is_no_map_does_not_leave(other):
    assert filtered_other(RENDER, other, {"a"}, "user") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
keys = (
    st.sampled_from([*sorted(NEVER), *sorted(NUMBERS), *VOCABULARIES, "quizid", "PASSWORD", "é"])
    | st.text(max_size=8)
    | st.text("abcdefgh_id", max_size=8)
)


@given(
    json_values | st.dictionaries(keys, json_values),
    st.sets(keys),
    st.sampled_from(RESOLUTIONS),
)
def test_only_what_the_rules_name_ever_leaves(other, allowed, resolution):
    kept = filtered_other(RENDER, other, allowed, resolution) or {}
    for key, value in kept.items():
        assert key.lower() not in NEVER
        assert value == other[key]
        assert not isinstance(value, list | dict)
        assert key in allowed or re.fullmatch("[a-z_]{1,40}", key)
        assert key in allowed or _is_harmless(key, value, resolution)
    json.dumps(kept)


def _is_harmless(key: str, value: Any, resolution: str) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, str):
        words = VOCABULARIES.get(key)
        return bool(words and words.fullmatch(value)) or value.lstrip("-").isdigit()
    return key.endswith("id") or (resolution in ("exact", "user") and key in NUMBERS)


def test_the_php_session_is_nowhere_in_the_event_of_a_log_out():
    row = {
        "eventname": r"\core\event\user_loggedout",
        "other": {"sessionid": "kpxq7php", "page": 1},
    }
    found = event(row)
    assert "kpxq7php" not in json.dumps(found)
    assert found["extensions"]["moodle"]["other"] == {"page": 1}


# In addresses

TEXTS = [
    "4915112345678",
    "Ada Lovelace",
    "ada@example.org",
    "Näme",
    "x" * 101,
    "a/b",
    "+49 151 1",
    "Ada",
    "a.b",
]


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_of_the_event_data_is_part_of_an_address(text):
    rows = [
        {"eventname": r"\core\event\draft_file_added", "other": {"contenthash": text}},
        {"eventname": r"\mod_quiz\event\report_viewed", "other": {"reportname": text}},
        {"eventname": r"\core\event\webservice_function_called", "other": {"function": text}},
        {"eventname": r"\core\event\course_module_deleted", "other": {"modulename": text}},
        {"eventname": r"\core\event\tag_added", "other": {"itemtype": text, "itemid": 5}},
        {"eventname": r"\mod_bigbluebuttonbn\event\recording_viewed", "other": text},
        {"eventname": r"\local_x\event\y_created", "objecttable": text, "objectid": 4},
        {"eventname": r"\local_x\event\y_viewed", "target": text, "objectid": None},
        {"eventname": r"\local_x\event\y_viewed", "component": text, "origin": text, "crud": text},
        {"eventname": rf"\local_x\event\{text}!_updated"},
    ]
    for row in rows:
        found = json.dumps(event({"object": None, **row}), ensure_ascii=False)
        assert text not in found
        assert "Lovelace" not in found
        assert "%" not in found


def test_what_moodles_code_writes_is_part_of_an_address():
    for row, expected in (
        (
            {
                "eventname": r"\core\event\draft_file_added",
                "other": {"contenthash": "0123456789abcdef0123456789abcdef01234567"},
            },
            "/draftfile.php#0123456789abcdef0123456789abcdef01234567",
        ),
        (
            {
                "eventname": r"\core\event\webservice_function_called",
                "other": {"function": "mod_h5pactivity_get_attempts"},
            },
            "/webservice#mod_h5pactivity_get_attempts",
        ),
        (
            {
                "eventname": r"\report_questioninstances\event\report_viewed",
                "other": {"requestedqtype": "multichoice"},
            },
            "?qtype=multichoice",
        ),
    ):
        assert event(row)["object"]["id"].endswith(expected)


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("https://e.example/a?v=5&list=x#t=3", "https://e.example/a?v=5&list=x#t=3"),
        ("https://ada:pw@e.example/a", "https://e.example/a"),
        ("https://e.example/a?access_token=s3&v=5", "https://e.example/a?v=5"),
        ("https://e.example/a?apikey=s3", "https://e.example/a"),
        ("https://e.example/a?v=5#access_token=s3", "https://e.example/a?v=5"),
        ("/mod/page/view.php?id=3", "/mod/page/view.php?id=3"),
    ],
)
def test_the_address_that_an_activity_leads_to_holds_no_secret(stored, sent):
    module = {"id": 11, "modname": "url", "activity": {"id": 4, "externalurl": stored}}
    row = {
        "eventname": r"\mod_url\event\course_module_viewed", "component": "mod_url",
        "contextlevel": 70, "contextinstanceid": 11, "module": module,
    }  # fmt: skip
    assert event(row)["object"]["extensions"]["externalUrl"] == sent


def test_under_a_keyed_profile_only_what_leads_to_no_person_remains():
    other = {"quizid": 5, "slot": 1, "relateduserid": 7, "attemptid": 3, "enrol": "manual"}
    assert filtered_other(RENDER, other, (), "exact", institutional=True) == {
        "quizid": 5,
        "slot": 1,
        "enrol": "manual",
    }
    unknown = filtered_other(
        RENDER, {"slot": PHONE, "mode": "ada", "quizid": 5}, institutional=True
    )
    assert unknown == {"quizid": 5}


@pytest.mark.parametrize("score", [str(PHONE), PHONE, f"-{PHONE}", "nan", "inf"])
def test_no_long_number_of_a_browser_is_a_score(score):
    row = {
        "eventname": r"\mod_scorm\event\scoreraw_submitted", "component": "mod_scorm",
        "contextlevel": 70, "contextinstanceid": 11,
        "other": {"attemptid": 1, "cmivalue": score},
    }  # fmt: skip
    assert "scoreGiven" not in event(row)["generated"]
