"""Whatever a log row holds, it becomes one valid event, or it fails and says why."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.translator import Translator
from caliper_dagster.translator.example import example_row
from caliper_dagster_tests.harness.examples import examples
from caliper_dagster_tests.harness.handmade_site import LOG_ROW, expand_at_once
from caliper_dagster_tests.unit.translator.golden import ROWS
from caliper_dagster_tests.unit.translator.support import (
    ADA,
    ALL_TEXTS,
    RECIPES,
    RECORDS,
    ROW,
    W,
    expanded,
    member,
    translate,
)

# Looking for the smallest row that fails would take minutes.
quick = settings(max_examples=examples(40), phases=(Phase.explicit, Phase.reuse, Phase.generate))

OPTIONS = {
    "person_names": True,
    "person_identifiers": ("SystemId", "AccountUserName", "SisSourcedId", "EmailAddress"),
    "ip_addresses": True,
    "texts": ALL_TEXTS,
    "recipes": RECIPES,
}

names = (
    st.sampled_from(sorted(RECIPES.exact))
    | st.builds(
        "\\{}\\event\\{}{}".format,
        st.sampled_from(["mod_zoom", "local_x", "core", "mod_quiz"]),
        st.sampled_from(["", "thing_", "attempt_", "user_override_", "x_report_", "comment_"]),
        st.sampled_from(["created", "viewed", "submitted", "searched", "abandoned", "sent", "_"]),
    )
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
)
ids = st.none() | st.sampled_from([0, -1, -20, -31337, 3, 4, 2, 1]) | st.integers(-(2**62), 2**62)
levels = st.sampled_from([10, 30, 40, 50, 70, 80, 0, None])
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
texts = st.none() | words
tables = st.sampled_from(["user", "course", "groups", "cohort", "quiz_attempts", "x", "", None])
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["5", "nan", "-inf", "1e999", "https://t", "complete", "multichoice", "²"])
    | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "id user userid course roles active guest siteadmin deleted username firstname "
                "activity modname grade grade_item scale_items attemptnumber submission groupid "
                "timestart timefinish timecreated sumgrades release page asof name items results "
                "slot questionid state qtype maxmark fraction toolurl finalgrade itemtype itemid "
                "first attempt rawscore maxscore value presentation typ".split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)
items = st.lists(
    st.fixed_dictionaries(
        {"id": ids, "slot": ids, "questionid": ids, "text": texts, "name": texts},
        optional=dict.fromkeys(
            "state qtype maxmark fraction timecreated typ value presentation".split(), json_values
        ),
    ),
    max_size=3,
)
typical = st.sampled_from(
    [
        *ROWS.values(),
        {},
        {"user": ADA, "realuser_membership": member(4)},
        *(example_row(name) for name, recipe in RECIPES.exact.items() if recipe.derived),
    ]
)


# Strategies are made once: hypothesis checks each new one, which takes longer than a draw.
either = st.booleans()
row_ids = st.integers(1, 2**62)
one_in_eight = st.sampled_from([True, *[False] * 7])
values = {
    column.name: ids if column.type == pa.int64() else texts for column in EXPANDED_LOG.columns
} | {
    **dict.fromkeys(RECORDS, json_values),
    "timecreated": st.integers(0, 2**33),
    "unresolved": st.lists(words.filter(bool), min_size=1, max_size=2),
    "contextlevel": levels,
    "objecttable": tables | texts,
}
del values["id"], values["eventname"]


@st.composite
def wild_rows(draw: st.DrawFn) -> dict:
    """A row as it may come, with absurd values in some of its columns."""
    row = {**draw(typical), "id": draw(row_ids)}
    if draw(either):
        row["eventname"] = draw(names)
    for name, strategy in values.items():
        if draw(one_in_eight):
            row[name] = draw(strategy)
    if isinstance(row.get("object"), dict) and draw(either):
        row["object"] = {**row["object"], "items": draw(items), "results": draw(items)}
    return row


def check(table: pa.Table, rows: list[tuple[int, int]]) -> None:
    """Each row (id, time) has one outcome of its own; what is sent is valid.

    The events that a row gives beside its own come after it.
    """
    assert table.schema.equals(CALIPER_EVENTS.schema)
    outcomes = table.to_pylist()
    primary = [outcome for outcome in outcomes if outcome["outcome"] != "derived"]
    assert [(outcome["log_id"], outcome["timecreated"]) for outcome in primary] == rows
    own = None
    for outcome in outcomes:
        assert outcome["recipe"]
        assert outcome["resolution"] in {"exact", "family", "fallback"}
        if outcome["outcome"] == "failed":
            own = None
            assert outcome["reason"]
            assert outcome["json"] is outcome["event_id"] is None
            continue
        found = orjson.loads(outcome["json"])
        assert validate(outcome["json"], strict=True) == [], (outcome["event_name"], found)
        assert (found["id"], found["type"]) == (outcome["event_id"], outcome["event_type"])
        if outcome["outcome"] == "event":
            own = outcome
            when = datetime.fromtimestamp(outcome["timecreated"], UTC)
            assert found["eventTime"] == when.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        else:
            assert outcome["outcome"] == "derived"
            assert own is not None
            assert own["log_id"] == outcome["log_id"]
            assert found["extensions"]["derivedFrom"] == own["event_id"]
    sent = [outcome["event_id"] for outcome in outcomes if outcome["event_id"]]
    assert len(sent) == len(set(sent))


@given(
    st.lists(wild_rows(), min_size=1, max_size=6, unique_by=lambda row: row["id"]),
    st.sampled_from(["v1p2", "v1p1"]),
)
@quick
def test_any_expanded_row_is_one_valid_event_or_fails_with_a_reason(rows, version):
    rows = [{**ROW, **row} for row in rows]
    for row in rows:  # questions and results of one row have numbers of their own
        if isinstance(row.get("object"), dict):
            for key in ("items", "results"):
                row["object"][key] = _told_apart(row["object"].get(key))
    translator = Translator(W, version=version, **OPTIONS)
    table = translator.translate(expanded(*rows))
    check(table, [(row["id"], row["timecreated"]) for row in rows])
    # What a row becomes does not depend on its neighbours.
    alone = [found for row in rows for found in translator.translate(expanded(row)).to_pylist()]
    assert alone == table.to_pylist()


def _told_apart(found: object) -> object:
    if not isinstance(found, list):
        return found
    known = [item for item in found if isinstance(item, dict)]
    return [{**item, "id": nth, "slot": nth} for nth, item in enumerate(known)]


@given(names, st.sampled_from(["v1p2", "v1p1"]), levels, tables)
@quick
def test_a_plausible_row_of_any_event_never_fails(name, version, level, table):
    row = {"eventname": name, "contextlevel": level, "objecttable": table, "objectid": 7}
    (first, *_) = translate({**row, "contextinstanceid": 11}, version=version)
    assert first["outcome"] == "event", first["reason"]
    assert validate(first["json"], strict=True) == []


# From the log table on


@dataclass(frozen=True)
class Sample:
    """A sample site whose log can be replaced."""

    path: Path

    def log(self, rows: list[dict]) -> pa.Table:
        """The log with these rows alone, expanded."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("DELETE FROM mdl_logstore_standard_log")
            for row in rows:
                connection.execute(
                    f"INSERT INTO mdl_logstore_standard_log ({', '.join(row)}) "
                    f"VALUES ({', '.join('?' * len(row))})",
                    tuple(row.values()),
                )
        return expand_at_once(f"sqlite:///{self.path}", HourRange(HOUR, HOUR + 1))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    path = tmp_path_factory.mktemp("sample") / "moodle.sqlite"
    write_sample(path, students=5, hours=4, seed=3, end=HOUR + 1)
    return Sample(path)


numbers = st.integers(-5, 60) | st.integers(-(2**63), 2**63 - 1)
others = st.one_of(
    st.none(),
    words,
    st.binary(max_size=20).map(lambda found: found.decode("latin-1").replace("\0", "")),
    json_values.map(lambda found: orjson.dumps(found).decode()),
    st.sampled_from(
        [
            "N;", "null", '"null"', "[]", "{}", '{"":1}', '{"a":1e999}', '"\\ud800"', "NaN",
            'a:1:{s:6:"userid";i:99999999999999999999;}', 'a:1:{s:1:"x";d:NAN;}', "a:9:{",
            'O:8:"stdClass":1:{s:4:"page";s:1:"²";}', '{"finalgrade":"nan","itemid":"7"}',
            '{"cmivalue":"-inf","attemptid":"1"}', '{"page":99999999999999999999999}',
        ]
    ),
)  # fmt: skip


HOUR = Hour.from_key("2026-03-02-11:00")
log_rows = st.fixed_dictionaries(
    {
        "eventname": names,
        "timecreated": st.integers(HOUR.start, HOUR.start + 3599),
        "other": others,
        "contextlevel": levels.map(lambda level: level or 0),
        "objecttable": tables,
        **dict.fromkeys(("objectid", "relateduserid", "realuserid"), st.none() | numbers),
        **dict.fromkeys("userid courseid contextid contextinstanceid edulevel".split(), numbers),
        "anonymous": st.sampled_from([0, 0, 0, 1, 7]),
        "origin": st.sampled_from(["web", "cli", "ws", "restore", None]) | words,
        "ip": st.sampled_from(["192.0.2.1", "", None]) | words,
        **dict.fromkeys(("component", "target", "action"), words),
        "crud": st.sampled_from("crudx"),
    }
)
"""Rows of the log table with wild values."""


@given(st.lists(log_rows, min_size=1, max_size=12), st.sampled_from(["v1p2", "v1p1"]))
@settings(quick, max_examples=examples(25))
def test_any_log_row_is_one_valid_event_or_fails_with_a_reason(sample, drawn, version):
    rows = [{**LOG_ROW, **row, "id": number} for number, row in enumerate(drawn, 1)]
    table = sample.log(rows)
    assert table.num_rows == len(rows)
    translator = Translator(W, version=version, **OPTIONS)
    check(
        translator.translate(table),
        [(row["id"], row["timecreated"]) for row in sorted(rows, key=_read_order)],
    )


def _read_order(row: dict) -> tuple[int, int]:
    return row["timecreated"], row["id"]
