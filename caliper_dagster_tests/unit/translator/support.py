"""Expanded rows made by hand, and the events that they become."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG, RECORD
from caliper_dagster.core.privacy import FULL, TextClass
from caliper_dagster.translator import Translator, load_recipes

RECIPES = load_recipes()
W = "https://moodle.example.org"
PLAIN = Translator(W, recipes=RECIPES)
TIME = 1_769_868_000  # 2026-01-31T14:00:00Z

RECORDS = [
    column.name
    for column in EXPANDED_LOG.columns
    if column.name == "other" or column.name not in MOODLE_LOG.schema.names
]

ADA = {
    "id": 3, "username": "ada", "idnumber": "S-3", "firstname": "Ada", "lastname": "Lovelace",
    "email": "ada@example.org", "deleted": 0,
}  # fmt: skip
TEACHER = {
    "id": 4, "username": "babbage", "idnumber": "", "firstname": "Charles",
    "lastname": "Babbage", "email": "cb@example.org", "deleted": 0,
}  # fmt: skip
MATHS = {
    "id": 2, "fullname": "Maths", "shortname": "M1", "idnumber": "", "timecreated": 1_700_000_000,
    "startdate": 1_700_000_000, "enddate": 0, "visible": 1, "category": None,
}  # fmt: skip
STUDENT = {"shortname": "student", "archetype": "student"}


def member(user: int, *roles: Mapping[str, str], **more: object) -> dict[str, Any]:
    """A membership record in the course ``MATHS``."""
    return {"user": user, "course": 2, "roles": list(roles), "active": 1, **more}


ROW: dict[str, Any] = {
    "id": 1001,
    "eventname": r"\core\event\course_viewed",
    "component": "core",
    "action": "viewed",
    "target": "course",
    "crud": "r",
    "edulevel": 2,
    "contextid": 30,
    "contextlevel": 50,
    "contextinstanceid": 2,
    "userid": 3,
    "courseid": 2,
    "anonymous": 0,
    "timecreated": TIME,
    "origin": "web",
    "ip": "192.0.2.1",
    "site": {"release": "4.5.6"},
    "user": ADA,
    "user_membership": member(3, STUDENT),
    "course": MATHS,
}

ALL_TEXTS: frozenset[TextClass] = FULL.texts

_texts = {column.name: column for column in EXPANDED_LOG.columns if column.type == RECORD}


def expanded(*rows: Mapping[str, Any]) -> pa.Table:
    """``EXPANDED_LOG`` rows; what is not given is as in ``ROW``, or null."""
    arrays = []
    for column in EXPANDED_LOG.columns:
        values = [{**ROW, **row}.get(column.name) for row in rows]
        if column.name in RECORDS:
            values = [None if value is None else json.dumps(value) for value in values]
        array = pa.array(values, pa.string() if column.name in _texts else column.type)
        arrays.append(array.dictionary_encode() if column.name in _texts else array)
    return pa.table(arrays, schema=EXPANDED_LOG.schema)


def translate(*rows: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
    """The outcomes of rows; ``json`` is decoded."""
    translator = Translator(W, **{"recipes": RECIPES, **options}) if options else PLAIN
    table = translator.translate(expanded(*rows))
    return [
        {**outcome, "json": outcome["json"] and json.loads(outcome["json"])}
        for outcome in table.to_pylist()
    ]


def event(row: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """The event that one row becomes, without those derived from it."""
    (outcome,) = (found for found in translate(row, **options) if found["outcome"] != "derived")
    assert outcome["outcome"] == "event", outcome["reason"]
    document: dict[str, Any] = outcome["json"]
    return document


def events(rows: Iterable[Mapping[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """The events that rows become when they are translated at once, as ``event`` gives them."""
    numbered = [{**row, "id": number} for number, row in enumerate(rows, 1)]
    own = [one for one in translate(*numbered, **options) if one["outcome"] != "derived"]
    assert [one["outcome"] for one in own] == ["event"] * len(numbered)
    return [one["json"] for one in own]


def derived(row: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
    """The further events that one row gives; its own must be an event, too."""
    first, *others = translate(row, **options)
    assert first["outcome"] == "event", first["reason"]
    assert {other["outcome"] for other in others} <= {"derived"}
    return [other["json"] for other in others]
