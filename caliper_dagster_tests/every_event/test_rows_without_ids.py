"""What rows are about when neither they nor their event data name it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from caliper_dagster.translator import Translator
from caliper_dagster.translator.example import example_row, example_table
from caliper_dagster_tests.unit.translator.support import RECIPES, W, event
from caliper_dagster_tests.unit.translator.test_derived import EVERY
from caliper_dagster_tests.unit.translator.test_profiles import ANONYMOUS, PSEUDONYMOUS
from caliper_dagster_tests.unit.translator.variations import UNKNOWN, rows

PROFILES = pytest.mark.parametrize("profile", [{}, PSEUDONYMOUS, ANONYMOUS], ids=repr)
NO_ID = {"objectid": None, "object": None, "other": None}
NO_ID_BUT_0 = {"objectid": 0, "object": None, "other": {"attemptid": 0, "slot": 0, "itemid": "0"}}
BACKUP = r"\core\event\course_backup_created"
OF_ONE_PERSON = {"Attempt", "Comment", "Message", "Response", "Result", "Score", "TagAnnotation"}


def iris(part: Any) -> Iterator[tuple[str, str]]:
    """Type and id of every entity in a document, and with no type every other IRI."""
    if isinstance(part, dict):
        if "id" in part:
            yield part.get("type", ""), part["id"]
        for name, value in part.items():
            if name not in ("id", "extensions"):
                yield from iris(value)
    elif isinstance(part, list):
        for value in part:
            yield from iris(value)
    elif isinstance(part, str) and part.startswith(("http", "urn:")):
        yield "", part


def documents(table: pa.Table, **options: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    outcomes = Translator(W, **options).translate(table).to_pylist()
    assert {outcome["outcome"] for outcome in outcomes} <= {"event", "derived"}
    return [(outcome, json.loads(outcome["json"])) for outcome in outcomes]


def of_two_persons(**difference: Any) -> pa.Table:
    """For each event a row of one person and a row of another, which differ in nothing else."""
    names = (*sorted(RECIPES.exact), *UNKNOWN, *OF_TABLES)
    people = [{"userid": user, "relateduserid": user} for user in (21, 22)]
    told = [
        example_row(name, **{**NO_ID, **more, **person, **difference})
        for name, more in ((name, OF_TABLES.get(name, {})) for name in names)
        for person in people
    ]
    return example_table([{**row, "id": 70_000_000 + at} for at, row in enumerate(told)])


OF_TABLES = {
    rf"\local_x\event\{table}_created": {"objecttable": table}
    for table in ("assign_grades", "choice_answers", "comments", "lesson_attempts", "notifications")
}
"""Events that have no recipe, of tables whose records have an address."""


@PROFILES
def test_no_iri_ends_in_what_is_not_there(profile: dict[str, Any]):
    more = [{**row, **NO_ID} for row in EVERY.values()]
    more += [{**row, "anonymous": 1, "objecttable": "course"} for row in EVERY.values()]
    more += [{"eventname": BACKUP, "objecttable": "course", "objectid": 7, "anonymous": 1}]
    more += [{**row, "courseid": None} for row in EVERY.values()]
    every = example_table(list(rows(more)))
    sent = [
        json.loads(text)
        for text in Translator(W, **profile).translate(every)["json"].to_pylist()
        if text
    ]
    assert len(sent) > 9_000
    assert [iri for one in sent for _, iri in iris(one) if re.search(r"None|null", iri)] == []


@pytest.mark.parametrize("difference", [NO_ID, NO_ID_BUT_0], ids=["no id", "0"])
@pytest.mark.parametrize("profile", [{}, PSEUDONYMOUS], ids=repr)
def test_what_belongs_to_a_person_is_not_that_of_another(
    profile: dict[str, Any], difference: dict[str, Any]
):
    owners: dict[str, set[int]] = {}
    for outcome, document in documents(of_two_persons(**difference), **profile):
        for kind, iri in iris(document):
            if kind in OF_ONE_PERSON:
                owners.setdefault(iri, set()).add(outcome["log_id"] % 2)
    assert len(owners) > 150
    assert [iri for iri, persons in owners.items() if len(persons) > 1] == []


@pytest.mark.parametrize(
    ("profile", "difference"),
    [(PSEUDONYMOUS, {}), (ANONYMOUS, {}), ({}, {"anonymous": 1})],
    ids=repr,
)
def test_no_log_row_is_named_where_that_would_lead_to_a_person(
    profile: dict[str, Any], difference: dict[str, Any]
):
    for _, document in documents(of_two_persons(**difference), **profile):
        document.get("extensions", {}).get("moodle", {}).pop("logId", None)
        assert not re.search(r"7000\d{4}(?!\d)", json.dumps(document))


@pytest.mark.parametrize(
    ("name", "given", "slot", "iri"),
    [
        (r"\mod_quiz\event\attempt_submitted", {"objectid": None}, "generated",
         "/mod/quiz/review.php?attempt=of-row-1001"),
        (r"\assignsubmission_onlinetext\event\submission_created", {"other": {}}, "generated",
         "/mod/assign/view.php?id=36#submission-of-row-1001"),
        (r"\mod_forum\event\post_created", {"objectid": None, "other": {"discussionid": 5}},
         "object", "/mod/forum/discuss.php?d=5#pof-row-1001"),
        (r"\mod_scorm\event\status_submitted", {"other": {}, "userid": 3, "relateduserid": None},
         "generated", "/mod/scorm/view.php?id=36#user-3"),
    ],
)  # fmt: skip
def test_a_thing_without_id_is_named_by_its_row(name, given, slot, iri):
    row = {**example_row(name), "object": None, "id": 1001, **given}
    assert event(row)[slot]["id"] == W + iri
