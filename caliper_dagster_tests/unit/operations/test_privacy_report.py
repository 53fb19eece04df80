"""The record of processing: from the settings of all sites, without a secret."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster_tests.harness.environment import environment

STORES = """\
own:
  url: {env: URL_OF_OWN}
  api_key: {env: KEY_OF_OWN}
  privacy: full
research:
  url: https://research.example.net/caliper
  privacy: pseudonymous
  pseudonym_key: {env: KEY_OF_RESEARCH}
  time_precision: hour
"""
KEY = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
SECRETS = ("secret-path", "tell-nobody", "an-api-key", KEY, "database-word")


class Text(HTMLParser):
    """The cells and headings of a page, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def report(tmp_path: Path) -> tuple[str, str]:
    """The report in Markdown and in HTML."""
    stores = tmp_path / "stores.yaml"
    stores.write_text(STORES, encoding="utf-8")
    stores.chmod(0o600)
    values = {
        "MOODLE_WWWROOT": "https://moodle.example.org",
        "MOODLE_DB_URL": "mysql+pymysql://caliper:database-word@db.example.org/moodle",
        "CALIPER_EVENT_STORES": str(stores),
        "CALIPER_KEEP_PARTITIONS": "moodle_log=30",
        "KEY_OF_RESEARCH": KEY,
        "KEY_OF_OWN": "an-api-key",
        "URL_OF_OWN": "https://events.example.org/secret-path?token=tell-nobody",
    }
    with environment(values):
        assert main(["privacy", "report", "--output", str(tmp_path / "report")]) == 0
    made = sorted((tmp_path / "report").iterdir())
    assert [path.name for path in made] == [
        "record-of-processing.html", "record-of-processing.md"
    ]  # fmt: skip
    page, text = (path.read_text(encoding="utf-8") for path in made)
    return text, page


def test_it_says_what_goes_where_under_which_profile(report: tuple[str, str]) -> None:
    text, _ = report
    own, research = text.split("### Recipient: ")[1:]
    assert own.startswith("event store own\n")
    assert "Address: events.example.org\n" in own
    assert "| first and last name | persons who act in Moodle or are affected by an action " in own
    assert "| as in Moodle | `CALIPER_PRIVACY`, `CALIPER_PERSON_NAMES` |" in own
    assert "Privacy profile: pseudonymous" in research
    assert "| as a pseudonym |" in research
    assert "| not sent | `CALIPER_PRIVACY`, `CALIPER_PERSON_NAMES` |" in research
    assert "cut to the hour" in research
    assert "30 days" in text


def test_no_secret_is_in_it(report: tuple[str, str]) -> None:
    for text in report:
        assert [secret for secret in SECRETS if secret in text] == []


def test_the_page_says_the_same(report: tuple[str, str]) -> None:
    text, page = report
    parser = Text()
    parser.feed(page)
    assert parser.open == []
    assert page.count("<tr>") == sum(
        line.startswith("|") and not line.startswith("| ---") for line in text.splitlines()
    )
    assert "Recipient: event store research" in parser.texts


def test_it_tells_what_is_not_stored_and_that_hours_are_encrypted(tmp_path: Path) -> None:
    values = {
        "MOODLE_WWWROOT": "https://moodle.example.org",
        "CALIPER_STORED_ADDRESSES": "truncated",
        "CALIPER_STORED_NAMES": "false",
        "CALIPER_STORED_TEXTS": "false",
        "CALIPER_STORAGE_KEY": KEY,
    }
    with environment(values):
        assert main(["privacy", "report", "--output", str(tmp_path)]) == 0
    text = (tmp_path / "record-of-processing.md").read_text(encoding="utf-8")
    stored = text.split("### Stored by this installation")[1]
    rows = dict(line.strip("| ").split(" | ")[:2] for line in stored.splitlines() if " | " in line)
    for frame in ("`moodle_log`", "`expanded_log`"):
        held = rows[frame].split("; ")
        assert "user id" in held
        assert "IP address, truncated" in held
        assert "e-mail address" not in held
        assert not [name for name in held if name.startswith("texts that a person wrote")]
    assert rows["`CALIPER_STORAGE_KEY`"] == "set: stored hours are encrypted"
    assert rows["`CALIPER_STORED_NAMES`"] == "false"
    assert KEY not in text
