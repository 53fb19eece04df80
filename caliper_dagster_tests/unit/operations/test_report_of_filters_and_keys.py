"""The record of processing: the filter of each event store, and keys as the product reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.config.event_stores import EventFilter
from caliper_dagster.config.row_filter import RowFilter
from caliper_dagster.operations import privacy_report
from caliper_dagster_tests.harness.environment import environment

KEY = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
STORES = r"""
own: {url: https://own.example.org}
research:
  url: https://research.example.org
  privacy: pseudonymous
  pseudonym_key: {env: KEY_OF_RESEARCH}
  filter:
    rows:
      opt_in: {cohorts: [consent-2026, 7]}
      opt_out: {users_file: /etc/caliper/objections.txt}
      guests: false
      login_as: false
      service_accounts: {exclude: [14, webservice]}
      origins: {include: [web, ws]}
      courses: {exclude: [12, 'SANDBOX|*']}
      categories: {include: [science], exclude: [3]}
      roles: {include: [student]}
      minimum_learners: 5
    moodle_events: {exclude: ['\mod_chat\*']}
"""
SINGLE = {"CALIPER_EVENT_STORE_URL": "https://e.example.org", "CALIPER_PRIVACY": "pseudonymous"}


def report(folder: Path, stores: str, **values: str) -> str:
    file = folder / "stores.yaml"
    file.write_text(stores, encoding="utf-8")
    with environment({"CALIPER_EVENT_STORES": str(file), **values}):
        assert main(["privacy", "report", "--output", str(folder / "report")]) == 0
    return (folder / "report" / "record-of-processing.md").read_text(encoding="utf-8")


def test_every_rule_stands_in_it(tmp_path: Path) -> None:
    text = report(tmp_path, STORES, KEY_OF_RESEARCH=KEY)
    own, research = text.split("### Recipient: ")[1:]
    assert "Filter: none." in own
    table = research.split("Filter of rows (")[1].split("### ")[0]
    rows = dict(line.strip("| ").split(" | ", 1) for line in table.splitlines() if " | " in line)
    assert rows == {
        "Rule": "Events",
        "---": "---",
        "`opt_out`": "that name a person who opted out: the file `/etc/caliper/objections.txt`",
        "`opt_in`": "that name somebody who has not opted in: cohorts `consent-2026`, `7`",
        "`guests`": "of guests",
        "`login_as`": "of somebody who is logged in as another user",
        "`service_accounts`": "of service accounts (2 entries)",
        "`origins`": "by origin: all but `web`, `ws`",
        "`courses`": r"by course: `12`, `SANDBOX\|*`",
        "`categories`": "by course category: all but `science`, and `3`",
        "`roles`": "by role of the acting user: all but `student`",
        "`minimum_learners`": "of courses with fewer than 5 learners",
        "`moodle_events`": r"by event of Moodle: `\mod_chat\*`",
    }


def test_every_rule_that_there_is_has_words() -> None:
    rules = {*RowFilter.model_fields, *EventFilter.model_fields} - {"rows"}
    assert privacy_report._RULES.keys() == rules


def test_it_says_how_many_keys_hold_and_from_when(tmp_path: Path) -> None:
    keys = f"{KEY}\n2026-03-02T11:00Z {OTHER}"
    text = report(tmp_path, STORES, KEY_OF_RESEARCH=keys)
    assert "Privacy profile: pseudonymous (2 keys; another one from 2026-03-02T11:00Z on)\n" in text
    assert KEY not in text
    assert OTHER not in text


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ({}, "CALIPER_PSEUDONYM_KEY is not set, and the privacy profile pseudonymous"),
        ({"CALIPER_PSEUDONYM_KEY": "short"}, "a key must have at least 32 characters"),
        ({"CALIPER_PSEUDONYM_KEY_FILE": "/nowhere/key"}, "its file /nowhere/key cannot be read"),
    ],
)
def test_a_key_that_events_could_not_be_made_with_is_an_error(
    key: dict[str, str],
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with environment({**SINGLE, **key}):
        assert main(["privacy", "report", "--output", str(tmp_path / "report")]) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_the_event_store_whose_key_is_wrong_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        report(tmp_path, STORES, KEY_OF_RESEARCH="too short")
    assert "Event store research: pseudonym_key is wrong" in capsys.readouterr().err
