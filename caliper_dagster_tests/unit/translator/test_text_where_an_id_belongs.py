"""What a plugin, a browser or a teacher writes where an id or an address belongs does not leave."""

from __future__ import annotations

import json
from typing import Any

import pytest

from caliper_dagster.core.privacy import PROFILES
from caliper_dagster_tests.harness.hostile_rows import full_width
from caliper_dagster_tests.unit.translator.support import W, derived, event, translate

PHONES = ("4915177000001", 4_915_177_000_001, full_width("4915177000001"))
H5P = {
    "eventname": r"\mod_h5pactivity\event\statement_received", "component": "mod_h5pactivity",
    "contextlevel": 70, "contextinstanceid": 16, "objecttable": "h5pactivity", "objectid": 8,
    "module": {"id": 16, "modname": "h5pactivity", "instance": 8},
}  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("phone", PHONES)
@pytest.mark.parametrize(
    ("name", "key"),
    [
        (r"\core\event\tag_added", "tagid"),
        (r"\core\event\tag_added", "itemid"),
        (r"\core\event\message_viewed", "messageid"),
        (r"\core\event\user_graded", "itemid"),
        (r"\mod_forum\event\post_created", "discussionid"),
        (r"\mod_quiz\event\attempt_viewed", "page"),
        (r"\mod_quiz\event\question_manually_graded", "attemptid"),
        (r"\mod_quiz\event\question_manually_graded", "slot"),
        (r"\mod_assign\event\comment_created", "itemid"),
        (r"\mod_workshop\event\submission_assessed", "submissionid"),
        (r"\mod_scorm\event\scoreraw_submitted", "attemptid"),
        (r"\core\event\course_viewed", "coursesectionnumber"),
        (r"\core\event\competency_evidence_created", "competencyid"),
    ],
)
def test_a_telephone_number_is_no_id(name: str, key: str, phone: object, profile: str) -> None:
    other = {"itemtype": "question", "itemid": 5, "tagid": 6, key: phone}
    keyed = {"key": b"a key of 32 characters for tests"} if PROFILES[profile].keyed else {}
    row = {"eventname": name, "contextlevel": 70, "contextinstanceid": 16, "other": other}
    for found in translate(row, profile=profile, **keyed):
        assert found["outcome"] in ("event", "derived"), found["reason"]
        assert "4915177" not in json.dumps(found["json"]["object"])
        assert "4915177" not in json.dumps(found["json"])


@pytest.mark.parametrize("sent", ["ada_lovelace", "4711", "Ada", "a" * 40, "", 5, ["ada"]])
def test_what_a_browser_sends_as_part_of_h5p_content_is_part_of_no_address(sent: Any) -> None:
    results = [{"id": 71, "subcontent": sent, "rawscore": 1, "maxscore": 2}]
    row = {**H5P, "object": {"id": 60, "h5pactivityid": 8, "userid": 3, "results": results}}
    (item,) = derived(row)
    assert item["object"]["id"] == f"{W}/mod/h5pactivity/view.php?id=16#content-71"


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("mailto:ada@example.org", None),
        (" MailTo:ada@example.org?subject=x", None),
        ("tel:+4915177000001", None),
        ("ada@example.org", None),
        ("https://e.example/u/ada%40example.org", None),
        ("https://e.example/u/ada@example.org/x", None),
        ("https://e.example/?to=ada@example.org&v=5", "https://e.example/?v=5"),
        ("https://e.example/?v=5;token=s3", "https://e.example/?v=5"),
        ("https://e.example/?v=5&%74oken=s3", "https://e.example/?v=5"),
        ("https://e.example/p;jsessionid=s3?v=5", "https://e.example/p?v=5"),
        ("https://e.example/p#t=3&token=s3", "https://e.example/p"),
        ("https://e.example/@ada;v=1?a;b", "https://e.example/@ada;v=1?a;b"),
        ("www.example.org/x", "www.example.org/x"),
    ],
)
def test_the_address_that_an_activity_leads_to_is_no_persons(stored: str, sent: object) -> None:
    module = {"id": 11, "modname": "url", "activity": {"id": 4, "externalurl": stored}}
    row = {
        "eventname": r"\mod_url\event\course_module_viewed", "component": "mod_url",
        "contextlevel": 70, "contextinstanceid": 11, "module": module,
    }  # fmt: skip
    assert event(row)["object"].get("extensions", {}).get("externalUrl") == sent


@pytest.mark.parametrize(
    "address", ["https://tool.example:abc/", "https://[::1", "https://h:99999"]
)
def test_the_address_of_a_tool_that_is_none_makes_no_row_fail(address: str) -> None:
    row = {
        "eventname": r"\mod_lti\event\course_module_viewed", "component": "mod_lti",
        "objecttable": "lti", "objectid": 1, "contextlevel": 70, "contextinstanceid": 17,
        "module": {"id": 17, "modname": "lti", "activity": {"id": 1, "toolurl": address}},
    }  # fmt: skip
    assert derived(row) == []


@pytest.mark.parametrize(
    ("origin", "sent"), [("restore", "restore"), ("ada_lovelace", None), ("Web", None)]
)
def test_the_origin_is_one_of_moodles_words(origin: str, sent: object) -> None:
    assert event({"origin": origin})["extensions"]["moodle"].get("origin") == sent
