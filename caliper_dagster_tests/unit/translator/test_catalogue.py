"""Every event of Moodle's catalogue becomes what ``data/mapping.csv`` says, in both versions."""

from __future__ import annotations

import csv
import json
from typing import Any

import pyarrow as pa
import pytest

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entities import DigitalResource
from caliper_dagster.caliper.versions import V1P1, VersionName
from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.translator import Translator, load_recipes
from caliper_dagster.translator.entities.activities import MODULE_TYPES
from caliper_dagster_tests.harness.paths import DATA

TIME = 1_774_000_000
LEARNER, TEACHER = 21, 51

MODULE = {"id": 36, "modname": "quiz", "instance": 4, "course": 3, "activity": {"id": 4}}
ROW_LEVEL = {
    # The object of these is found in the row: here a quiz, and a tagged blog entry.
    "(by modname)": "Assessment",
    "(tagged item: DigitalResource)": "WebPage",
    # The log of this row tells no score.
    r"\core\event\grade_deleted": "Attempt",
    r"\core\event\competency_comment_created": "DigitalResourceCollection",
    r"\block_comments\event\comment_created": "DigitalResourceCollection",
}


def mapping() -> list[dict[str, str]]:
    with (DATA / "mapping.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_mapping_prescribes_every_event_with_a_recipe_of_its_own() -> None:
    assert {expected["eventname"] for expected in mapping()} == set(load_recipes().exact)


def row(number: int, expected: dict[str, str]) -> dict[str, Any]:
    """A plausible expanded row for an event."""
    name = expected["eventname"]
    component = name.split("\\")[1]
    modname = component.removeprefix("mod_")
    in_module = "{cmid}" in expected["object_iri"] or component.startswith(("mod_", "assign"))
    if expected["object_type"] == "(by modname)" or not component.startswith("mod_"):
        modname = "quiz" if expected["object_type"] == "(by modname)" else "assign"
    if component.startswith("booktool"):
        modname = "book"
    if component.startswith("quizaccess"):
        modname = "quiz"
    other = {
        "modulename": "quiz", "itemtype": "post", "itemid": 9, "finalgrade": "7.5",
        "completionstate": 1, "messageid": 8, "status": 1,
    }  # fmt: skip
    grader = expected["actor"].startswith(("Person(userid)", "SoftwareApplication when"))
    return {
        "id": number,
        "eventname": name,
        "component": component,
        "action": name.rpartition("_")[2],
        "target": name.rpartition("\\")[2].rpartition("_")[0],
        "objecttable": expected["moodle_objecttable"] or None,
        "objectid": 7,
        "crud": expected["moodle_crud"] or None,
        "edulevel": 2,
        "contextid": 99,
        "contextlevel": 70 if in_module else 50,
        "contextinstanceid": 36 if in_module else 3,
        "userid": TEACHER if grader else LEARNER,
        "courseid": 3,
        "relateduserid": LEARNER,
        "anonymous": 0,
        "timecreated": TIME + number,
        "origin": "web",
        "other": json.dumps(other),
        "module": json.dumps({**MODULE, "modname": modname}),
        "object": json.dumps({"id": 7, "commentarea": "plan", "userid": LEARNER, "first": True}),
    }


def expanded(rows: list[dict[str, Any]]) -> pa.Table:
    plain = pa.schema(
        [
            pa.field(
                field.name,
                field.type.value_type if pa.types.is_dictionary(field.type) else field.type,
            )
            for field in EXPANDED_LOG.schema
        ]
    )
    return EXPANDED_LOG.conform(pa.Table.from_pylist(rows, schema=plain))


def expected_object(entry: dict[str, str]) -> str:
    return ROW_LEVEL.get(entry["eventname"]) or ROW_LEVEL.get(
        entry["object_type"], entry["object_type"]
    )


@pytest.mark.parametrize("version", ["v1p2", "v1p1"])
def test_every_event_of_the_catalogue_becomes_what_the_mapping_says(
    version: VersionName,
) -> None:
    entries = mapping()
    rows = [row(number, entry) for number, entry in enumerate(entries, start=1)]
    events = Translator("https://moodle.example.edu", version=version).translate(expanded(rows))
    primary = [event for event in events.to_pylist() if event["outcome"] != "derived"]
    assert len(primary) == len(entries)
    differences = []
    for entry, event in zip(entries, primary, strict=True):
        assert event["event_name"] == entry["eventname"]
        assert event["outcome"] == "event", (entry["eventname"], event["reason"])
        document = json.loads(event["json"])
        wanted = [entry["event_type"], entry["action"], expected_object(entry)]
        if version == "v1p1":
            if entry["caliper_1_1"] != "same":
                wanted = [*entry["caliper_1_1"].split()[:2], wanted[2]]
            wanted[2] = vocabulary.entity_type_in(V1P1, wanted[2])
        else:
            wanted.append(entry["profile"])
        found = [document["type"], document["action"], document["object"]["type"]]
        if version == "v1p2":
            found.append(document["profile"])
        if found != wanted:
            differences.append((entry["eventname"], wanted, found))
    assert differences == []


def test_every_event_of_the_catalogue_has_a_recipe_of_its_own() -> None:
    recipes = load_recipes()
    for entry in mapping():
        found = recipes.find(entry["eventname"])
        assert (found.resolution, found.pattern) == ("exact", entry["pattern"])


def test_every_module_of_moodle_has_one_type_everywhere() -> None:
    for entry in mapping():
        if entry["pattern"] == "P03":
            modname = entry["eventname"].split("\\")[1].removeprefix("mod_")
            assert MODULE_TYPES.get(modname, DigitalResource).__name__ == entry["object_type"]
