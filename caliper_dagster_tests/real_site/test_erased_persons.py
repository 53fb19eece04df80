"""Erased persons in the log of a real site: every row keeps its event, and none tells of them."""

from __future__ import annotations

from collections import Counter

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from caliper_dagster.core.persons import Persons, UserAccount
from caliper_dagster.expander.erasure import own_rows, without_persons
from caliper_dagster.translator import Translator
from caliper_dagster.translator.sampling import sample_problems
from caliper_dagster_tests.harness.moodle_dump import DUMP_SITE


def persons_of(expanded: pa.Table, users: list[int]) -> Persons:
    records = [
        orjson.loads(text)
        for name in ("user", "realuser", "relateduser")
        for text in pc.unique(expanded[name].cast(pa.string())).drop_null().to_pylist()
    ]
    accounts = {UserAccount.of(record) for record in records if record["id"] in users}
    return Persons(frozenset(users), frozenset(accounts))


def busiest(expanded: pa.Table, number: int) -> list[int]:
    counts = Counter(expanded["userid"].to_pylist())
    return [user for user, _ in counts.most_common() if user and user > 1][:number]


@pytest.mark.parametrize("number", [1, 20])
def test_every_row_keeps_an_event_that_tells_nobody(expanded: pa.Table, number: int) -> None:
    persons = persons_of(expanded, busiest(expanded, number))
    cleaned = without_persons(expanded, persons)
    assert cleaned["id"].equals(expanded["id"])
    own = own_rows(expanded, persons)
    assert pc.sum(own).as_py() > 1_000
    assert not pc.any(own_rows(cleaned, persons)).as_py()
    assert without_persons(cleaned, persons).equals(cleaned)

    events = Translator(DUMP_SITE, person_names=True).translate(cleaned)
    outcomes = Counter(events["outcome"].to_pylist())
    assert outcomes["event"] == expanded.num_rows
    assert outcomes["failed"] == 0
    texts = events["json"].combine_chunks().drop_null()
    mentioned = texts.filter(persons.in_events(texts))
    assert mentioned.slice(0, 3).to_pylist() == []
    assert sample_problems(events, per_type=3).findings == ()


def test_the_rows_of_others_stay_as_they_are(expanded: pa.Table) -> None:
    """Of rows that do not name the person, few mention the person at all."""
    persons = persons_of(expanded, busiest(expanded, 1))
    others = expanded.filter(pc.invert(own_rows(expanded, persons)))
    cleaned = without_persons(others, persons)
    changed = sum(
        1 for old, new in zip(others.to_pylist(), cleaned.to_pylist(), strict=True) if old != new
    )
    assert changed < others.num_rows / 20
