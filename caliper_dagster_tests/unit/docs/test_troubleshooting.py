"""docs/troubleshooting.md has a line for every message that the package words."""

from __future__ import annotations

import re

from caliper_dagster_tests.harness.messages import all_messages
from caliper_dagster_tests.harness.paths import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
ROW = re.compile(r"^\| (`.+?`(?:, `.+?`)*) \| .+ \|$", re.M)
QUOTED = re.compile(r"`([^`]+)`")


def lines() -> list[str]:
    """The words of messages that the page has lines for."""
    return [words for row in ROW.findall(PAGE.read_text()) for words in QUOTED.findall(row)]


def texts() -> dict[str, str]:
    """The text of each message as code in Markdown can have it, with its place."""
    return {message.text.replace("`", ""): message.place for message in all_messages()}


def test_every_message_has_its_line() -> None:
    known = lines()
    missing = [
        f"{place}: {text}"
        for text, place in texts().items()
        if not any(words in text for words in known)
    ]
    assert missing == [], "add fixed words of each message to a line of docs/troubleshooting.md"


def test_no_line_is_about_a_message_that_is_gone() -> None:
    found = texts()
    gone = [words for words in lines() if not any(words in text for text in found)]
    assert gone == [], "correct these words in docs/troubleshooting.md, or remove them"
