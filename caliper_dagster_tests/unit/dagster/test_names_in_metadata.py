"""What the web UI shows of a log row is a name of code, or nothing."""

from __future__ import annotations

from caliper_dagster.core.frames import CALIPER_EVENTS, MOODLE_LOG
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.dagster.metadata import _cell, account_metadata, preview_columns

PERSON = "Ada Lovelace <ada@example.org>"


def test_an_event_that_has_a_persons_name_is_counted_without_it() -> None:
    viewed = r"\core\event\course_viewed"
    account = Account(rows=6, by_name={viewed: 3, PERSON: 2, rf"\x\event\{PERSON}": 1})
    shown = account_metadata(account)["log rows by event"]
    assert shown == {viewed: 3, "no name of an event": 3}


def test_a_preview_shows_no_text_that_a_plugin_wrote_into_its_row() -> None:
    columns = preview_columns(MOODLE_LOG)
    assert {"eventname", "component", "action", "objecttable", "origin"} <= {*columns}
    for column in {*columns, *preview_columns(CALIPER_EVENTS)} - {"outcome", "recipe"}:
        if column not in ("event_type", "profile", "contextlevel"):  # ours, or numbers
            assert _cell(column, PERSON) == ""
    assert _cell("eventname", r"\core\event\course_viewed") == r"`\core\event\course_viewed`"
    assert _cell("contextlevel", 50) == "`50`"
    assert _cell("origin", None) == ""
