import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.translator.fragments import Fragments
from caliper_dagster.translator.leak_search import Pool
from caliper_dagster.translator.rows import LOG_MARK
from caliper_dagster.translator.sampling import Finding, sample_problems
from caliper_dagster_tests.unit.caliper.documents import EVENT, VIEW


def row(number: int, event: dict[str, Any] | None = None, **other: object) -> dict[str, Any]:
    """A row of CALIPER_EVENTS with an event of its own."""
    if event is None:
        event = VIEW
    event = event | {"id": f"urn:uuid:0a1b2c3d-4e5f-5a6b-8c7d-{number:012x}"}
    return {
        "log_id": number,
        "timecreated": 0,
        "event_name": r"\core\event\course_viewed",
        "outcome": "event",
        "reason": None,
        "recipe": "P02",
        "resolution": "exact",
        "event_id": event["id"],
        "event_type": event["type"],
        "action": event["action"],
        "profile": event["profile"],
        "caliper_version": "v1p2",
        "json": json.dumps(event),
        **other,
    }


def table(*rows: dict[str, Any]) -> pa.Table:
    return CALIPER_EVENTS.conform(pa.Table.from_pylist(list(rows)))


OTHER = "https://moodle.example/user/profile.php?id=5"
GROUP = "https://moodle.example/group/index.php?id=2&group=5"


def as_sent(one: dict[str, Any]) -> dict[str, Any]:
    """A row whose JSON is written as the translator writes it: without spaces, types first."""

    def ordered(value: Any) -> Any:
        if isinstance(value, list):
            return [ordered(item) for item in value]
        if not isinstance(value, dict):
            return value
        first = {"type": value["type"]} if "type" in value and "@context" not in value else {}
        return first | {key: ordered(item) for key, item in value.items()}

    text = json.dumps(ordered(json.loads(one["json"])), separators=(",", ":"))
    return one | {"json": text}


WITHOUT_EVENT = {"event_id": None, "event_type": None, "action": None, "profile": None}


def test_rows_without_an_event_are_left_out():
    events = table(
        row(1),
        row(2, outcome="filtered", json=None, **WITHOUT_EVENT),
        row(3, outcome="failed", json=None, **WITHOUT_EVENT),
        row(4, outcome="derived"),
    )
    report = sample_problems(events)
    assert (report.events, report.checked, report.invalid, report.findings) == (2, 2, 0, ())


def test_a_table_without_events_has_no_problem():
    assert sample_problems(CALIPER_EVENTS.empty()).events == 0
    nothing = table(row(1, outcome="failed", json=None, **WITHOUT_EVENT))
    assert sample_problems(nothing, per_type=None).events == 0


def test_some_of_each_combination_are_checked_and_always_the_same():
    events = table(*(row(n, VIEW if n % 3 else EVENT) for n in range(90)))
    report = sample_problems(events, per_type=4)
    assert (report.events, report.checked, report.invalid) == (90, 8, 0)
    assert sample_problems(events, per_type=None).checked == 90
    again = sample_problems(pa.concat_tables([events.slice(0, 50), events.slice(50)]), per_type=4)
    assert again == report


def test_the_sample_reaches_from_the_first_row_to_the_last():
    wrong = EVENT | {"eventTime": "yesterday"}
    events = table(row(0, wrong), *(row(n, EVENT) for n in range(1, 50)), row(50, wrong))
    report = sample_problems(events, per_type=3)
    assert report.invalid == 2


def test_problems_are_counted_by_recipe_with_their_first_row():
    wrong = EVENT | {"membership": EVENT["membership"] | {"roles": ["Boss", "Chief"]}}
    events = table(row(7, wrong), row(8, wrong), row(9, wrong, recipe="P03"), row(10))
    report = sample_problems(events)
    assert report.invalid == 3
    found = [(f.problem.path, f.recipe, f.rows, f.log_id) for f in report.findings]
    assert found == [("/membership/roles/*", "P02", 2, 7), ("/membership/roles/*", "P03", 1, 9)]


@pytest.mark.parametrize(
    ("other", "path", "rule"),
    [
        ({"json": None}, "", "table"),
        ({"json": "{"}, "", "json"),
        ({"json": "[]"}, "", "json"),
        ({"event_type": "ViewEvent"}, "/type", "table"),
        ({"action": None}, "/action", "table"),
        ({"event_id": "urn:uuid:00000000-0000-4000-8000-000000000000"}, "/id", "table"),
    ],
)
def test_what_the_row_says_must_be_what_the_event_says(other, path, rule):
    (finding,) = sample_problems(table(row(1, EVENT, **other))).findings
    assert (finding.problem.path, finding.problem.rule) == (path, rule)


def test_every_id_is_looked_at():
    rows = [row(n) for n in range(50)]
    rows[20]["event_id"] = rows[10]["event_id"]
    rows[30]["event_id"] = "30"
    rows[40]["event_id"] = None
    wrong, again = sample_problems(table(*rows), per_type=1).findings
    assert (wrong.rows, wrong.problem.sentence) == (2, "the id is no urn:uuid:")
    assert (again.rows, again.problem.sentence) == (1, "the id occurs again")
    assert isinstance(again, Finding)
    assert again.event_name is None


def fragments_of(rows: list[dict[str, Any]]) -> list[Pool]:
    """What the events of some rows are joined from, as the translator has it."""
    events = [json.loads(one["json"]) for one in rows]
    all_rows = np.arange(len(rows))
    slots = dict.fromkeys(key for event in events for key, value in event.items() if key[0] != "@")
    pools = []
    for slot in slots:
        fragments = Fragments.empty(len(rows), f',"{slot}":'.encode())
        texts = [
            json.dumps(event[slot], separators=(",", ":")).encode() if slot in event else None
            for event in events
        ]
        distinct = list(dict.fromkeys(texts))
        fragments.fill(all_rows, distinct, np.array([distinct.index(text) for text in texts]))
        pools.append(Pool(slot, fragments, all_rows))
    return pools


@pytest.fixture(params=["from the JSON", "from the fragments"])
def found(request: pytest.FixtureRequest) -> Callable[..., tuple[Finding, ...]]:
    """Finds the problems of some rows, whose references are read from either source."""

    def problems(*rows: dict[str, Any], per_type: int) -> tuple[Finding, ...]:
        sent = [*map(as_sent, rows)]
        pools = fragments_of(sent) if request.param == "from the fragments" else None
        return sample_problems(table(*sent), pools, per_type=per_type).findings

    return problems


def test_the_types_of_all_rows_are_compared(found):
    other = VIEW["object"] | {"type": "Document"}
    rows = [row(n) for n in range(50)]
    rows[20] = row(20, VIEW | {"object": other})
    assert [(f.problem.sentence, f.rows, f.event_name) for f in found(*rows, per_type=1)] == [
        ("a Document has the IRI of a WebPage", 1, None)
    ]


def test_types_are_compared_across_texts_that_are_too_long_to_be_taken_apart_together(found):
    long = [VIEW | {"extensions": {"text": letter * 12_000_000}} for letter in "ab"]
    other = VIEW["object"] | {"type": "Document"}
    rows = [row(1), row(2, long[0]), row(3, long[1]), row(4, VIEW | {"object": other})]
    (finding,) = found(*rows, per_type=1)
    assert finding.problem.sentence == "a Document has the IRI of a WebPage"


@pytest.mark.parametrize("assignee", [OTHER, {"type": "Person", "id": OTHER}])
def test_the_assignees_of_all_rows_are_compared(assignee, found):
    rows = [row(n, EVENT) for n in range(50)]
    rows[20] = row(20, EVENT | {"object": EVENT["object"] | {"assignee": assignee}})
    assert [(f.problem.sentence, f.rows) for f in found(*rows, per_type=1)] == [
        ("the Attempt has two assignees", 1)
    ]


def test_references_are_checked_against_what_all_rows_describe(found):
    group = {"type": "Group", "id": GROUP}
    team = EVENT | {"object": EVENT["object"] | {"assignee": GROUP}}
    rows = [
        row(1, team),
        *(row(n) for n in range(2, 40)),
        row(40, VIEW | {"group": group}),
        row(41),
    ]
    (finding,) = found(*rows, per_type=2)
    assert finding.problem.sentence == "Attempt.assignee must be a Person, and references a Group"
    assert (finding.problem.path, finding.log_id) == ("/object/assignee", 1)


def test_a_fragment_with_the_id_of_its_row_describes_another_entity_in_each_row():
    """Two rows share a fragment; a third one describes what the second row's is."""
    described = b'{"type":"%b","id":"https://moodle.example/#%b"}'
    texts = [described % (b"Score", LOG_MARK.encode()), described % (b"Result", b"8")]
    rows = np.arange(3)
    marked = Fragments.empty(3)
    marked.fill(rows, texts, np.array([0, 0, 1]))
    events = table(*(as_sent(row(number)) for number in (7, 8, 9)))
    pools = [Pool("generated", marked.take(rows, np.array([7, log, 9])), rows) for log in (8, 6)]
    assert [
        [(f.problem.sentence, f.rows) for f in sample_problems(events, [pool]).findings]
        for pool in pools
    ] == [[("a Result has the IRI of a Score", 1)], []]
