"""Keyed and anonymous profiles, over every row of the real site's log and of a sample site."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from caliper_dagster.caliper.shapes import SHAPES, ShapeName
from caliper_dagster.caliper.versions import VersionName
from caliper_dagster.caliper.vocabulary import ENTITY_TYPES, TERM
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.privacy import ProfileName
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.translator import Translator
from caliper_dagster.translator.identity import keyed_person
from caliper_dagster.translator.sampling import Finding, sample_problems
from caliper_dagster_tests.harness.handmade_site import expand_at_once
from caliper_dagster_tests.harness.tainting import TAINTED, tainted
from caliper_dagster_tests.real_site.site import VERSIONS, WWWROOT, user

KEYED: tuple[ProfileName, ...] = ("pseudonymous", "anonymous")
TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][-+.0-9eE]*')
"""Texts and numbers in JSON, keys too."""

WORDS_OF_SHAPES = {f'"{word}"' for word in (*ENTITY_TYPES, "id", "type")}
"""What the other shapes add: references become objects with id and type."""

FIRST, SECOND = b"the key of one event store......", b"the key of another event store.."

EXACT = {
    "eventTime",
    "session.startedAtTime", "session.endedAtTime",
    *(
        f"{slot}{name}"
        for slot in ("generated.", "object.", "generated.attempt.")
        for name in ("startedAtTime", "endedAtTime", "dateCreated", "duration", "count")
    ),
    "generated.scoreGiven",
}  # fmt: skip
"""Times, grades and numbers of attempts, which ``docs/privacy-pseudonyms.md`` tells about."""

INSTITUTIONAL = {
    "action", "type", "profile", "object.type", "membership.roles", "extensions.change",
    "extensions.moodle.eventName", "extensions.moodle.component", "extensions.moodle.objectTable",
    "extensions.moodle.contextId", "extensions.moodle.contextInstanceId",
    "extensions.moodle.objectId", "extensions.moodle.origin", "extensions.moodle.edApp",
    "extensions.unresolved", "extensions.overriddenBy.type", "extensions.loginAs.type",
    "extensions.actingAs.type", "extensions.runAs.type", "generated.maxScore",
}  # fmt: skip
"""Words of Moodle's and things of the institution, of which one person may be the only user."""

INSTITUTIONAL_PARTS = (
    "group.", "edApp.", "object.", "target.", "extensions.moodle.other.", "membership.organization",
    "generated.assignable", "generated.isPartOf", "generated.attempt.assignable",
    "generated.extensions.",
)  # fmt: skip
"""The same: courses, activities and their names. The tests of raised ids show what they hold."""


@cache
def sample_site(folder: Path) -> pa.Table:
    hour = Hour.from_key("2026-03-02-11:00")
    path = folder / "moodle.sqlite"
    write_sample(path, students=40, hours=24, seed=3, end=hour + 1)
    return expand_at_once(f"sqlite:///{path}", HourRange(Hour(hour.number - 23), hour + 1))


@pytest.fixture(scope="module", params=["real", "sample"])
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """All rows of a site, expanded."""
    if request.param == "real":
        return request.getfixturevalue("expanded")
    return sample_site(tmp_path_factory.mktemp("sample"))


def events(
    rows: pa.Table,
    profile: ProfileName,
    version: VersionName,
    key: bytes | None = FIRST,
    **options: Any,
) -> pa.Table:
    translator = Translator(WWWROOT, profile=profile, version=version, key=key, **options)
    return translator.translate(rows)


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> VersionName:
    chosen: VersionName = request.param
    return chosen


@pytest.fixture(scope="module")
def identified(rows: pa.Table, version: VersionName) -> pa.Table:
    return events(rows, "identified", version)


@pytest.fixture(scope="module", params=KEYED)
def profile(request: pytest.FixtureRequest) -> ProfileName:
    chosen: ProfileName = request.param
    return chosen


@pytest.fixture(scope="module")
def private(rows: pa.Table, profile: ProfileName, version: VersionName) -> pa.Table:
    return events(rows, profile, version)


@pytest.fixture(scope="module")
def raised(rows: pa.Table) -> pa.Table:
    return tainted(rows)


@pytest.fixture(scope="module", params=SHAPES)
def shape(request: pytest.FixtureRequest) -> ShapeName:
    chosen: ShapeName = request.param
    return chosen


@pytest.fixture(scope="module")
def canonical_of_raised(raised: pa.Table, profile: ProfileName, version: VersionName) -> pa.Table:
    return events(raised, profile, version)


@pytest.fixture(scope="module")
def private_of_raised(
    raised: pa.Table,
    canonical_of_raised: pa.Table,
    profile: ProfileName,
    version: VersionName,
    shape: ShapeName,
) -> pa.Table:
    """The events of rows with raised ids, in one shape."""
    if shape == "canonical":
        return canonical_of_raised
    return events(raised, profile, version, shape=shape)


def documents(table: pa.Table) -> Iterator[dict[str, Any]]:
    return (json.loads(text) for text in table["json"].to_pylist())


def leaves(value: object, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}".strip("."))
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part, path)
    else:
        yield path, value


# Accounting and validity


def test_every_row_becomes_what_it_becomes_without_a_profile(
    identified: pa.Table, private: pa.Table
) -> None:
    same = ["log_id", "timecreated", "event_name", "outcome", "reason", "recipe", "resolution",
            "event_type", "action", "profile", "object_type", "group_id",
            "generated_score", "generated_max_score"]  # fmt: skip
    assert private.select(same).equals(identified.select(same))


def test_events_are_as_valid_as_without_a_profile(identified: pa.Table, private: pa.Table) -> None:
    assert _problems(private) <= _problems(identified)


def _problems(table: pa.Table) -> set[Any]:
    def known(finding: Finding) -> tuple[Any, ...]:
        return finding.problem, finding.event_name, finding.recipe

    return {known(finding) for finding in sample_problems(table, per_type=2).findings}


# Ids


def test_no_id_of_a_person_or_of_a_personal_record_leaves(
    private_of_raised: pa.Table,
) -> None:
    table = private_of_raised
    found: dict[str, Any] = {}
    for row in table.select(["json", "event_id", "actor_id", "object_id", "group_id"]).to_pylist():
        text = row.pop("json")
        if TAINTED.search(text):
            found |= {path: v for path, v in leaves(json.loads(text)) if TAINTED.search(str(v))}
        found |= {path: value for path, value in row.items() if TAINTED.search(str(value))}
    assert not found


def test_the_same_search_finds_ids_where_they_are_not_keyed(
    raised: pa.Table, version: VersionName
) -> None:
    table = events(raised, "identified", version)
    named = sum(bool(TAINTED.search(text)) for text in table["json"].to_pylist())
    assert named > 0.9 * table.num_rows


def test_a_person_is_one_pseudonym_over_hours_and_versions(
    rows: pa.Table, identified: pa.Table, version: VersionName
) -> None:
    whole = events(rows, "pseudonymous", version)
    pseudonyms = dict(
        zip(identified["actor_id"].to_pylist(), whole["actor_id"].to_pylist(), strict=True)
    )
    persons = {iri: found for iri, found in pseudonyms.items() if "/user/" in iri}
    assert len(persons) > 20
    for iri, pseudonym in persons.items():
        number = int(iri.rpartition("=")[2])
        assert iri == user(number)
        assert pseudonym == keyed_person(FIRST, WWWROOT, number, None)

    half = rows.num_rows // 2
    parts = [
        events(part, "pseudonymous", version) for part in (rows.slice(0, half), rows.slice(half))
    ]
    assert pa.concat_tables(parts)["json"].to_pylist() == whole["json"].to_pylist()


def test_another_shape_tells_nothing_that_the_canonical_one_does_not(
    private_of_raised: pa.Table, canonical_of_raised: pa.Table
) -> None:
    """So what holds of values of the canonical events holds of these, too."""
    told = {
        token
        for text, canonical in zip(
            private_of_raised["json"].to_pylist(),
            canonical_of_raised["json"].to_pylist(),
            strict=True,
        )
        for token in {*TOKENS.findall(text)}.difference(TOKENS.findall(canonical))
    }
    assert told <= WORDS_OF_SHAPES


# Two event stores


def test_two_event_stores_have_no_keyed_id_in_common_in_any_shape(
    raised: pa.Table,
    private_of_raised: pa.Table,
    profile: ProfileName,
    version: VersionName,
    shape: ShapeName,
) -> None:
    other = events(raised, profile, version, SECOND, shape=shape)
    first, second = (
        {*re.findall("urn:uuid:[-0-9a-f]{36}", "\n".join(table["json"].to_pylist()))}
        for table in (private_of_raised, other)
    )
    assert len(first) == len(second) >= raised.num_rows
    assert first.isdisjoint(second)


def test_two_event_stores_share_no_id_that_leads_to_a_person(
    rows: pa.Table, identified: pa.Table, version: VersionName
) -> None:
    actors = identified["actor_id"].to_pylist()
    first, second = (
        _persons_by_value(events(rows, "pseudonymous", version, key), actors)
        for key in (FIRST, SECOND)
    )
    shared = first.keys() & second.keys()
    assert not [value for _, value in shared if str(value).startswith("urn:")]

    linking = {
        path
        for path, value in shared
        if len(first[path, value]) == 1 and "/user/" in next(iter(first[path, value]))
    }
    assert "eventTime" in linking  # exact times do tell a person
    unexplained = {
        path for path in linking - EXACT - INSTITUTIONAL if not path.startswith(INSTITUTIONAL_PARTS)
    }
    assert not unexplained


def test_times_cut_down_to_the_day_tell_nobody(rows: pa.Table, version: VersionName) -> None:
    table = events(rows, "pseudonymous", version, time_precision="day")
    times = {
        value
        for event in documents(table)
        for path, value in leaves(event)
        if path == "eventTime" or (path.startswith("session.") and path.endswith("Time"))
    }
    assert all(time.endswith("T00:00:00.000Z") for time in times)
    assert len(times) < 10
    exact = events(rows, "pseudonymous", version)
    assert table["event_id"].equals(exact["event_id"])
    assert table["timecreated"].equals(exact["timecreated"])
    assert _problems(table) <= _problems(exact)


def _persons_by_value(table: pa.Table, actors: list[str]) -> dict[tuple[str, Any], set[str]]:
    persons: dict[tuple[str, Any], set[str]] = defaultdict(set)
    for event, actor in zip(documents(table), actors, strict=True):
        for place in set(leaves(event)):
            persons[place].add(actor)
    return persons


# Nobody


def test_the_anonymous_profile_knows_one_person_who_is_nobody(
    rows: pa.Table, version: VersionName
) -> None:
    nobody = f"{TERM}Person"
    table = events(rows, "anonymous", version)
    assert {nobody} <= set(table["actor_id"].to_pylist()) <= {nobody, WWWROOT}
    for event in documents(table):
        assert not {"session", "membership"} & event.keys()
        extensions = event["extensions"]
        assert not {"relatedUser", "runAs", "actingAs", "loginAs"} & extensions.keys()
        assert extensions.get("triggeredBy", {"id": WWWROOT})["id"] == WWWROOT
        facts = extensions["moodle"].keys()
        assert not {"logId", "objectId", "other", "ip"} & facts
        own = {
            event["id"],
            extensions.get("derivedFrom"),
            extensions["moodle"].get("sameGradingAs"),
        }
        for path, value in leaves(event):
            assert not str(value).startswith("urn:") or value in own, path
            if path.endswith(("assignee", "assignee.id", "actor.id", "member")):
                assert value in (nobody, WWWROOT), path
