"""The same events in each shape: the same ids, valid, and what each receiver takes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.caliper.entities import (
    Assessment,
    Attempt,
    CourseSection,
    Entity,
    Group,
    Membership,
    Person,
)
from caliper_dagster.caliper.references import References
from caliper_dagster.caliper.shapes import OPENLRW, SHAPES, ShapeName
from caliper_dagster.caliper.versions import BY_NAME, V1P2, VersionName
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.translator import Translator
from caliper_dagster.translator.entity_output import narrowed, to_json
from caliper_dagster_tests.harness.receivers import bare_references, refused_by_openlrw
from caliper_dagster_tests.unit.translator.support import ADA, ALL_TEXTS, MATHS, ROW, W, event

Event = dict[str, Any]

QUIZ = Assessment(id=f"{W}/mod/quiz/view.php?id=9", name="Quiz")
MATHS_COURSE = CourseSection(id=f"{W}/course/view.php?id=2")


@pytest.fixture(scope="module")
def expanded(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    path = Path(tmp_path_factory.mktemp("sample")) / "moodle.sqlite"
    site = write_sample(path, students=20, hours=30, seed=3)
    with MoodleDatabase.open(f"sqlite:///{path}") as database:
        log = pa.concat_tables(rows for _, rows in read_log(database, site.hours))
        return expand(database, log.unify_dictionaries())


def events(expanded: pa.Table, version: VersionName, shape: ShapeName) -> list[Event]:
    translator = Translator(
        W,
        version=version,
        shape=shape,
        person_names=True,
        person_identifiers=("SystemId", "EmailAddress"),
        texts=ALL_TEXTS,
        course_categories=True,
    )
    result = translator.translate(expanded)
    assert "failed" not in set(result["outcome"].to_pylist())
    return [json.loads(text) for text in result["json"].to_pylist()]


@pytest.mark.parametrize("version", list(BY_NAME))
def test_the_events_of_a_site_are_what_each_receiver_takes(
    expanded: pa.Table, version: VersionName
) -> None:
    canonical, objects, openlrw = (events(expanded, version, shape) for shape in names())
    ids = [event["id"] for event in canonical]
    assert [event["id"] for event in objects] == [event["id"] for event in openlrw] == ids
    assert len(ids) > 500

    assert {"object.isPartOf", "generated.scoredBy"} <= places(refused_by_openlrw, canonical)
    assert places(refused_by_openlrw, openlrw) == set()
    assert {"membership.member", "object.isPartOf"} <= {
        place for event in canonical for place in bare_references(event, version)
    }
    assert [place for event in objects for place in bare_references(event, version)] == []


@pytest.mark.parametrize("shape", ["objects", "openlrw"])
@pytest.mark.parametrize("version", list(BY_NAME))
def test_each_shape_is_valid_and_agrees_with_itself(
    expanded: pa.Table, version: VersionName, shape: ShapeName
) -> None:
    known = References()
    problems = Counter(
        problem.sentence
        for event in events(expanded, version, shape)[::3]
        for problem in validate(event, strict=True, references=known)
    )
    assert problems == {}


def test_what_is_told_of_an_entity_is_told_in_every_shape(expanded: pa.Table) -> None:
    canonical, objects, openlrw = (events(expanded, "v1p2", shape) for shape in names())
    for one, other, narrow in zip(canonical, objects, openlrw, strict=True):
        for key in ("type", "action", "eventTime", "profile", "extensions"):
            assert one[key] == other[key] == narrow[key]
        assert one["object"]["id"] == other["object"]["id"] == narrow["object"]["id"]
        assert one["object"].get("name") == other["object"].get("name")


def test_a_view_of_a_course_in_each_shape() -> None:
    row = {**ROW, "user": ADA, "course": MATHS}
    made = {shape: event(row, shape=shape) for shape in names()}
    course = f"{W}/course/view.php?id=2"
    as_object = {"id": course, "type": "CourseSection"}
    assert made["canonical"]["object"]["isPartOf"] == course
    assert made["objects"]["object"]["isPartOf"] == as_object
    assert made["openlrw"]["object"]["isPartOf"] == as_object
    assert (
        made["canonical"]["actor"]["otherIdentifiers"][0]["source"]
        == made["objects"]["actor"]["otherIdentifiers"][0]["source"]["id"]
        == W
    )


@pytest.mark.parametrize(
    ("entity", "property_name", "value"),
    [
        (Attempt(id=f"{W}/a", assignable=QUIZ), "assignable", QUIZ.id),
        (
            Membership(id=f"{W}/m", member=Person(id=f"{W}/p"), organization=MATHS_COURSE),
            "organization",
            MATHS_COURSE.id,
        ),
        (
            Attempt(id=f"{W}/a", isPartOf=Attempt(id=f"{W}/b", assignable=QUIZ)),
            "isPartOf",
            {"type": "Attempt", "id": f"{W}/b", "assignable": QUIZ.id},
        ),
        (
            Attempt(id=f"{W}/a", extensions={"n": 1, "moodle": {"group": Group(id=f"{W}/g")}}),
            "extensions",
            {"n": 1, "moodle": f'{{"group":{{"type":"Group","id":"{W}/g"}}}}'},
        ),
    ],
)
def test_openlrw_takes_iris_and_flat_extensions(
    entity: Entity, property_name: str, value: object
) -> None:
    assert json.loads(to_json(entity, V1P2, OPENLRW).json)[property_name] == value


def test_an_entity_that_openlrw_takes_as_it_is_stays_the_same_object() -> None:
    assert narrowed(MATHS_COURSE, OPENLRW) is MATHS_COURSE


def names() -> tuple[ShapeName, ...]:
    return tuple(shape.name for shape in SHAPES.values())


def places(refused: Any, events: list[Event]) -> set[str]:
    return {place for event in events for place in refused(event)}
