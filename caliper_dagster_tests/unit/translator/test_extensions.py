"""What the extensions of events say beside the raw facts of their rows."""

from __future__ import annotations

import pytest

from caliper_dagster_tests.unit.translator.support import W as SITE
from caliper_dagster_tests.unit.translator.support import event


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
