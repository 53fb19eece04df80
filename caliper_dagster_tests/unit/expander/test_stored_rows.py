"""Rows as they are stored: which event data and which records stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import caliper_dagster
from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.stored_fields import NOTHING, WHOLE, StoredFields
from caliper_dagster.expander.bulk_read import REPLACEMENT
from caliper_dagster.expander.event_data import UNDECODABLE, decode
from caliper_dagster.expander.stored_rows import (
    NAMES,
    NUMBERS,
    WORDS,
    expanded_as_stored,
    log_as_stored,
)
from caliper_dagster.translator import load_recipes

VIEWED = r"\core\event\course_viewed"


def log_of(*others: str | None, event: str = VIEWED, ip: str | None = "192.0.2.7") -> pa.Table:
    rows = [{"eventname": event, "ip": ip, "other": other} for other in others]
    table = MOODLE_LOG.schema.empty_table()
    columns = {
        field.name: pa.array([row.get(field.name) for row in rows], pa.string()).cast(field.type)
        for field in table.schema
    }
    return pa.table(columns)


def stored(other: Any, fields: StoredFields = NOTHING, event: str = VIEWED) -> Any:
    text = other if isinstance(other, str) else json.dumps(other)
    kept = log_as_stored(log_of(text, event=event), fields)["other"].to_pylist()[0]
    return None if kept is None else decode(kept)


def test_nothing_changes_by_default() -> None:
    log = log_of('a:1:{s:7:"content";s:5:"Hello";}', None)
    assert log_as_stored(log, WHOLE) is log


def test_texts_of_persons_go_and_what_events_are_made_of_stays() -> None:
    other = {
        "content": "Dear all, Anna is ill", "q": "flu", "errorinfo": {"message": "Anna"},
        "phone": "0171 2345678", "+49 171 2345678": 1, "Anna Berg": True, "a" * 41: 1,
        "sessionid": "8d2f", "tokenid": 9, "discussionid": "77", "itemid": 5, "ok": True,
        "finalgrade": "8.50000", "newstatus": "draft", "name": "Quiz 1", "pageid": "Anna",
        "optionid": {"0": "3", "1": "4"}, "list": [1, "Anna", 2], "none": None,
    }  # fmt: skip
    assert stored(other) == {
        "tokenid": 9, "discussionid": "77", "itemid": 5, "ok": True, "finalgrade": "8.50000",
        "newstatus": "draft", "name": "Quiz 1", "list": [1, 2], "none": None, "errorinfo": {},
        "optionid": {"0": "3", "1": "4"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        ('a:2:{s:7:"content";s:5:"Hello";s:4:"page";s:1:"3";}', {"page": "3"}),
        ("N;", None),
        ("", None),
        ('s:9:"Anna Berg";', None),
        ("i:7;", 7),
        ('s:3:"123";', "123"),
        ('"0a1b2c3d4e-1774000000"', "0a1b2c3d4e-1774000000"),
        ('["Anna"]', []),
        ("a:1:{s:9:", UNDECODABLE),
        ("[" * 300 + "]" * 300, UNDECODABLE),
        ("[" * 5000, UNDECODABLE),
        (f'{{"content":"{REPLACEMENT}","page":1}}', {"page": 1, "": REPLACEMENT}),
        (f'["{REPLACEMENT}"]', UNDECODABLE),
    ],
)
def test_any_form_of_event_data_is_treated(other: str, kept: Any) -> None:
    once = log_as_stored(log_of(other), NOTHING)
    assert log_as_stored(once, NOTHING).equals(once)
    assert stored(other) == kept


def test_names_and_addresses_go_alone_too() -> None:
    other = {"username": "anna", "loggedinasusername": "Anna Berg", "ip": "192.0.2.7", "q": "flu"}
    assert stored(other, StoredFields(names=False)) == {"ip": "192.0.2.7", "q": "flu"}
    assert stored(other, StoredFields("truncated")) == {
        "username": "anna", "loggedinasusername": "Anna Berg", "q": "flu",
    }  # fmt: skip


def test_names_that_persons_gave_go() -> None:
    for event in (
        r"\core\event\calendar_event_created",
        r"\core\event\tag_added",
        r"\mod_wiki\event\page_viewed",
        r"\local_diary\event\entry_created",
    ):
        other = {"name": "Doctor", "title": "My diary", "tagname": "flu", "itemtype": "course"}
        assert stored(other, event=event) == {"itemtype": "course"}


def test_keys_of_the_site_stay() -> None:
    fields = StoredFields("none", names=False, texts=False, keys=frozenset({"colour"}))
    assert stored({"colour": "dark red", "shade": "Anna"}, fields) == {"colour": "dark red"}


def test_addresses_are_stored_as_the_settings_say() -> None:
    log = pa.concat_tables([log_of(None), log_of(None, ip=None), log_of(None, ip="unknown")])
    for addresses, kept in {
        "whole": ["192.0.2.7", None, "unknown"],
        "truncated": ["192.0.2.0", None, None],
        "none": [None, None, None],
    }.items():
        assert log_as_stored(log, StoredFields(addresses))["ip"].to_pylist() == kept


def expanded(**records: Any) -> dict[str, Any]:
    """The records of a row as they are stored."""
    columns = {
        field.name: pa.array(
            [json.dumps(records[field.name]) if field.name in records else None] * 2, pa.string()
        ).cast(field.type)
        for field in EXPANDED_LOG.schema
    }
    kept = expanded_as_stored(pa.table(columns), NOTHING)
    assert kept.schema == EXPANDED_LOG.schema
    assert expanded_as_stored(kept, NOTHING).equals(kept)
    return {name: json.loads(kept[name][1].as_py()) for name in records}


def test_records_of_persons_have_no_names() -> None:
    user = {
        "id": 7, "username": "anna", "idnumber": "S7", "firstname": "Anna", "lastname": "Berg",
        "email": "anna@example.org", "deleted": 0,
    }  # fmt: skip
    bare = dict.fromkeys(user) | {"id": 7, "deleted": 0}
    assert expanded(
        user=user, realuser=user, relateduser=user, object={"table": "user", **user}
    ) == {"user": bare, "realuser": bare, "relateduser": bare, "object": {"table": "user", **bare}}


def test_an_id_number_of_a_group_is_no_name() -> None:
    group = {"table": "groups", "id": 3, "name": "Lab A", "idnumber": "G3"}
    assert expanded(object=group) == {"object": group}


@pytest.mark.parametrize(
    ("record", "gone"),
    [
        ({"table": "forum_posts", "subject": "Re: Anna"}, {"subject"}),
        ({"table": "event", "eventtype": "user", "name": "Doctor"}, {"name"}),
        ({"table": "event", "eventtype": "course", "name": "Exam"}, set()),
        ({"table": "competency_plan", "name": "My plan"}, {"name"}),
        ({"table": "workshop_submissions", "title": "Berg_thesis"}, {"title"}),
        ({"table": "course_sections", "name": "Week 1"}, set()),
    ],
)
def test_texts_of_persons_in_records_go(record: dict[str, Any], gone: set[str]) -> None:
    kept = {key: value for key, value in record.items() if key not in gone}
    assert expanded(object=record) == {"object": kept}


def test_answers_go_except_numbers_of_options() -> None:
    record = {
        "table": "quiz_attempts",
        "items": [
            {"id": 1, "responsesummary": "I am Anna", "fraction": 0.5},
            {"id": 2, "value": "1|3"},
            {"id": 3, "value": "I am Anna"},
            {"id": 4, "answer1": "4", "answer2": "too hard for me"},
        ],
        "answer": {"id": 5, "useranswer": "Anna", "correct": 1},
    }
    assert expanded(object=record)["object"] == {
        "table": "quiz_attempts",
        "items": [{"id": 1, "fraction": 0.5}, {"id": 2, "value": "1|3"}, {"id": 3},
                  {"id": 4, "answer1": "4"}],
        "answer": {"id": 5, "correct": 1},
    }  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@given(JSON)
def test_of_wild_event_data_only_numbers_stay(value: Any) -> None:
    for text in texts_in(stored(json.dumps(value))):
        assert text == REPLACEMENT or re.fullmatch(r"-?[\d.]+|[0-9a-f]{8,64}-\d+", text)


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value if isinstance(value, list) else value.values():
            yield from texts_in(item)


_READ = re.compile(
    r"""(?:of_other\(other, |other\.get\(|other\[|id_from_other\()["']([a-z0-9]+)["']"""
)
_OF_PERSONS = {"q", "query", "searchterm", "tagname", "tagrawname", "userenrolment"}
"""Texts of persons, and a map."""


def test_every_key_that_is_read_stays() -> None:
    """Also a new one: it belongs into a list of `stored_rows`, or is a text of persons."""
    folder = Path(caliper_dagster.__file__).parent
    sources = [*folder.glob("translator/**/*.py"), *folder.glob("expander/**/*.py")]
    found = {key for path in sources for key in _READ.findall(path.read_text("utf-8"))}
    assert {"attemptid", "finalgrade", "itemtype", "modulename"} <= found
    found |= load_recipes().event_data_keys()
    known = WORDS | NAMES | NUMBERS | _OF_PERSONS
    assert {key for key in found - known if not key.endswith("id")} == set()
