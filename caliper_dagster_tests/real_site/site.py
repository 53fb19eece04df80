"""The real site: its rows by SQL, its events parsed, and comparison of all rows at once."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from caliper_dagster.caliper.versions import VersionName
from caliper_dagster_tests.harness.moodle_dump import DUMP_HOURS, DUMP_SITE
from caliper_dagster_tests.harness.paths import DATA

WWWROOT = DUMP_SITE
HOURS = DUMP_HOURS
VERSIONS: tuple[VersionName, ...] = ("v1p2", "v1p1")
GUEST = 1

ACTIVITIES = (
    "book chat choice data facetoface feedback folder forum glossary imscp lesson lti page quiz "
    "resource scorm survey url wiki workshop"
).split()
NAMES = {
    r"\core\event\course_viewed",
    r"\core\event\user_loggedin",
    r"\core\event\user_loggedout",
    r"\mod_assign\event\assessable_submitted",
    r"\mod_assign\event\submission_graded",
    r"\mod_forum\event\user_report_viewed",
    r"\mod_quiz\event\attempt_reviewed",
    r"\mod_quiz\event\attempt_started",
    r"\mod_quiz\event\attempt_submitted",
    r"\mod_quiz\event\attempt_viewed",
    *(rf"\mod_{name}\event\course_module_viewed" for name in ACTIVITIES),
}
"""The 30 names of the original plugin."""

Event = dict[str, Any]
Row = sa.Row[Any]

_PHP_ENTRY = re.compile(
    r's:\d+:"([^"]+)";(?:s:\d+:"([^"]*)"|i:(-?\d+)|d:([^;]+)|b:([01])|(N));', re.ASCII
)


class Site:
    """The database of the site."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)
        self._connection = self._engine.connect()

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    def rows(self, statement: str, **values: object) -> list[Row]:
        """All rows of a statement; ``[table]`` is the table's full name."""
        statement = re.sub(r"\[(\w+)\]", r"mdl_\1", statement)
        return list(self._connection.execute(sa.text(statement), values))

    def table(self, name: str, key: str = "id") -> dict[Any, Row]:
        """A whole table by one of its columns."""
        return {getattr(row, key): row for row in self.rows(f"SELECT * FROM [{name}]")}

    @cached_property
    def log(self) -> list[Row]:
        """All rows of the log in the order of time, then id."""
        return self.rows("SELECT * FROM [logstore_standard_log] ORDER BY timecreated, id")

    @cached_property
    def named(self) -> list[Row]:
        """The rows of the 30 names."""
        return [row for row in self.log if row.eventname in NAMES]

    def of_name(self, *endings: str) -> Iterator[Row]:
        """The rows of those of the 30 names that end so."""
        return (row for row in self.named if row.eventname.endswith(endings))

    @cached_property
    def module_names(self) -> dict[int, str]:
        """Module name of each course module that there still is."""
        return {
            row.id: row.name
            for row in self.rows(
                "SELECT cm.id, m.name FROM [course_modules] cm JOIN [modules] m ON m.id = cm.module"
            )
        }

    @cached_property
    def activities(self) -> dict[int, Row]:
        """The activity's own row of each course module that there still is."""
        tables = {name: self.table(name) for name in set(self.module_names.values())}
        return {
            module.id: tables[self.module_names[module.id]][module.instance]
            for module in self.rows("SELECT id, instance FROM [course_modules]")
            if module.instance in tables[self.module_names[module.id]]
        }

    @cached_property
    def told(self) -> dict[int, str]:
        """Name of each course module as the newest row about it tells, also of those now gone."""
        return {
            row.objectid: name
            for row in sorted(self.log, key=lambda row: row.id)
            if row.objecttable == "course_modules" and not row.anonymous
            if (name := decoded(row.other).get("name"))
        }

    @cached_property
    def told_modules(self) -> dict[int, str]:
        """Module name of each course module as the rows of the log tell it."""
        told = {
            row.contextinstanceid: row.component.removeprefix("mod_")
            for row in self.log
            if row.contextlevel == 70 and row.component.startswith("mod_")
        }
        return told | {
            row.objectid: name
            for row in self.log
            if row.eventname.startswith(r"\core\event\course_module_")
            and re.fullmatch(r"[a-z]\w*", name := str(decoded(row.other).get("modulename")))
        }

    @cached_property
    def rated_competencies(self) -> dict[tuple[str, int], int]:
        """The competency of each rating, by the table of the rating and its id."""
        return {
            (table, row.id): row.competencyid
            for table in ("competency_usercomp", "competency_usercompcourse")
            for row in self.table(table).values()
        }

    @cached_property
    def scorm_starts(self) -> dict[tuple[int, int], int]:
        """When each user began the first attempt in each SCORM package that has tracks."""
        return {
            (row.userid, row.scormid): int(row.start)
            for row in self.rows(
                "SELECT a.userid, a.scormid, MIN(CAST(v.value AS UNSIGNED)) AS start "
                "FROM [scorm_attempt] a JOIN [scorm_scoes_value] v ON v.attemptid = a.id "
                "JOIN [scorm_element] e ON e.id = v.elementid "
                "WHERE e.element = 'x.start.time' GROUP BY a.userid, a.scormid"
            )
        }

    @cached_property
    def scorm_attempts(self) -> dict[int, Row]:
        """``scorm_attempt`` by id."""
        return self.table("scorm_attempt")


class Translation:
    """The events of the site in one version."""

    def __init__(self, version: str, table: pa.Table) -> None:
        self.version = version
        self.table = table

    @cached_property
    def named(self) -> pa.Table:
        """The outcomes of the rows of the 30 names, without derived events."""
        named = pc.is_in(self.table["event_name"].cast(pa.string()), pa.array(list(NAMES)))
        own = pc.not_equal(self.table["outcome"].cast(pa.string()), "derived")
        return self.table.filter(pc.and_(named, own))

    @cached_property
    def events(self) -> dict[int, Event]:
        """Events of the rows of the 30 names, by log id."""
        ids, texts = self.named["log_id"].to_pylist(), self.named["json"].to_pylist()
        return {log_id: json.loads(text) for log_id, text in zip(ids, texts, strict=True)}

    @cached_property
    def own(self) -> dict[int, Event]:
        """The event of each row, by log id."""
        return {row["log_id"]: event for row, event in self.everything if not _is_derived(row)}

    @cached_property
    def derived(self) -> dict[int, list[Event]]:
        """The derived events of the rows that have any, by log id."""
        found: dict[int, list[Event]] = {}
        for row, event in self.everything:
            if _is_derived(row):
                found.setdefault(row["log_id"], []).append(event)
        return found

    @cached_property
    def everything(self) -> list[tuple[dict[str, Any], Event]]:
        """Every outcome, derived ones too, with its event."""
        return [(row, json.loads(row.pop("json"))) for row in self.table.to_pylist()]


def _is_derived(row: Mapping[str, Any]) -> bool:
    return bool(row["outcome"] == "derived")


def mapping() -> dict[str, dict[str, str]]:
    """The rows of ``mapping.csv`` by event name."""
    with (DATA / "mapping.csv").open(encoding="utf-8", newline="") as file:
        return {row["eventname"]: row for row in csv.DictReader(file)}


def decoded(stored: str | None) -> dict[str, Any]:
    """A flat map of ``other``, PHP or JSON; numbers may be text, as they were stored."""
    if not stored or not stored.startswith(("a:", "{")):
        return {}
    if stored.startswith("{"):
        return dict(json.loads(stored))
    return {
        key: text or whole or fraction or (None if nothing else flag)
        for key, text, whole, fraction, flag, nothing in _PHP_ENTRY.findall(stored)
    }


def iso(seconds: int | None) -> str | None:
    """A time as Caliper writes it; None for Moodle's "no date"."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def plain(text: str | None) -> str | None:
    """A name of Moodle without its HTML."""
    if not text or not ("<" in text or "&" in text):
        return text
    return html.unescape(re.sub(r"</?[A-Za-z][^<>]*>", "", text)).strip()


def user(number: int) -> str:
    """IRI of a person."""
    return f"{WWWROOT}/user/profile.php?id={number}"


def course(number: int) -> str:
    """IRI of a course."""
    return f"{WWWROOT}/course/view.php?id={number}"


def activity(name: str, module: int) -> str:
    """IRI of an activity."""
    return f"{WWWROOT}/mod/{name}/view.php?id={module}"


def entities(value: object, where: str = "event") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object with a type in a JSON value, with the path to it, without the event itself."""
    if isinstance(value, dict):
        if "type" in value and "." in where:
            yield where, value
        for key, item in value.items():
            yield from entities(item, f"{where}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from entities(item, f"{where}[]")


def assert_same(actual: Mapping[int, object], expected: Mapping[int, object]) -> None:
    """All rows agree; otherwise how many do not, and the first of them."""
    wrong = [
        f"row {row}: {actual.get(row)!r} instead of {expected.get(row)!r}"
        for row in sorted(actual.keys() | expected.keys())
        if actual.get(row) != expected.get(row)
    ]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(expected)} rows are wrong:", *wrong[:10]])
    assert expected, "there is nothing to compare"
