"""Words of Moodle's own enumerations in ``other`` are sent; text under the same keys is not."""

from __future__ import annotations

import pytest

from caliper_dagster_tests.unit.translator.support import event

WORDS = [
    ("enrol", "manual"),
    ("newstatus", "draft"),
    ("submissionstatus", "submitted"),
    ("status", "failed"),
    ("cmivalue", "incomplete"),
    ("publishstate", "site"),
    ("itemmodule", "quiz"),
    ("capability", "mod/quiz:attempt"),
]


@pytest.mark.parametrize(("key", "word"), WORDS)
def test_a_word_of_moodle_is_sent(key, word):
    assert event({"other": {key: word}})["extensions"]["moodle"]["other"] == {key: word}


@pytest.mark.parametrize("key", [key for key, _ in WORDS])
@pytest.mark.parametrize("text", ["Ada Lovelace", "my own words", "ada@example.org", "x" * 300, ""])
def test_text_under_the_same_keys_is_not(key, text):
    if key in {"enrol", "itemmodule"} and text == "x" * 300:
        text += "!"
    assert "other" not in event({"other": {key: text}})["extensions"]["moodle"]
