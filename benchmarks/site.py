"""A synthetic Moodle site of any size, written straight into MariaDB.

Run ``python -m benchmarks.site --url mysql+pymysql://owner:…@host/database --rows 1000000``. The
database is made where it is missing. The server must let clients load files (``local_infile``,
which is MariaDB's default).

A small site is taken as a pattern: the real one whose dump lies beside the checkout, else the
embedded sample. It is repeated until there are enough log rows. Each repetition has people,
courses, activities, attempts, submissions, posts and grades of its own, with all ids moved by one
number, so that every reference leads where it did. What a site has once (roles, scales, the
administrator) is there once.

``--mix views`` adds views to the log, until they are 80 of 100 rows (`benchmarks.mix`).

Rows are spread over the hours as people work: nights, weekends, holidays, exams. The log of each
repetition is cut into short pieces, which keep their order and go to hours by how busy these are.
All times of its records move with them, so that an attempt still ends when the log says so.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pymysql
import sqlalchemy as sa

from benchmarks import mix
from caliper_dagster.core.hours import SECONDS, Hour, HourRange, parse_hour
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster_tests.harness.moodle_dump import load_dump
from caliper_dagster_tests.harness.paths import DUMP

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PREFIX = "mdl_"
LOG = "logstore_standard_log"

# Tables that a site has once, however large it is.
_ONCE = re.compile(
    r"config|modules|role|role_allow_\w+|role_capabilities|scale|scorm_element|lti_types"
    r"|survey_questions|course_categories|tag|tag_coll|competency\w*|customfield_\w+|user_info_\w+"
    r"|external_\w+|payment_accounts|question_categories|reportbuilder_\w+|tool_\w+|cohort|grade_letters"
)
# Tables that the expander reads. All others stay as the pattern has them.
_READ = re.compile(
    r"assign(_grades|_overrides|_submission)?|assignsubmission_(file|onlinetext)|badge(_criteria|_issued)?"
    r"|bigbluebuttonbn|blog_\w+|book(_chapters)?|chat(_messages)?|choice(_answers|_options)?"
    r"|comments|contentbank_content|context|course(_completions|_modules|_modules_completion"
    r"|_sections)?|data(_fields|_records)?|enrol|event|facetoface"
    r"|feedback(_completed|_item|_value)?|files|folder|forum(_discussions|_posts|_subscriptions)?"
    r"|glossary(_categories|_entries)?|grade_(grades|grades_history|items|items_history)"
    r"|groupings|groups(_members)?|h5p|h5pactivity(_attempts|_attempts_results)?|imscp|label"
    r"|lesson(_answers|_attempts|_grades|_overrides|_pages|_timer)?|lti"
    r"|message(_contacts|_read|_user_actions|_users_blocked)?|messages|notifications|page|post"
    r"|question(_attempt_steps|_attempts|_bank_entries|_versions)?"
    r"|quiz(_attempts|_grade_items|_overrides|_sections|_slots)?|resource|role_assignments"
    r"|scorm(_attempt|_scoes|_scoes_track|_scoes_value)?|subsection|survey(_answers)?"
    r"|tag_instance|url|user|user_enrolments|wiki(_pages|_versions)?"
    r"|workshop(_aggregations|_assessments|_submissions)?"
)

_USERS = set(
    "userid useridfrom useridto grader authorid reviewerid usermodified usercreated modifierid "
    "loggeduser blockeduserid contactid createdby modifiedby gradeoverby gradinggradeoverby "
    "relateduserid realuserid overrideby tiuserid".split()
)
_COURSES = {"course", "courseid", "course_id", "originalcourseid"}
_RECORDS = set(
    "id answerid assignid assignment attemptid badgeid blogid bookid categoryid chatid choiceid "
    "cmid completed coursemoduleid conversationid dataid discussion discussionid enrolid entryid "
    "firstpost forum forumid glossaryid groupid groupingid h5pactivityid instance instanceid item "
    "itemid iteminstance lessonid messageid moduleid nextpageid oldid optionid pageid parent "
    "parentid postid prevpageid questionattemptid questionbankentryid questionid questionusageid "
    "quiz quizgradeitemid quizid scoid scorm scormid section sourceglossaryid submission "
    "submissionid subwikiid survey uniqueid workshopid".split()
)
# Columns that are called like references and are none, and references to what is there once.
_NONE = {
    ("course_sections", "section"),
    ("customfield_field", "categoryid"),
    ("lesson_grades", "completed"),
}
# Among them are numbers by chance, of drafts.
_WITH_DRAFTS = ("files", "itemid")
_UNIQUE_TEXTS = {("user", "username"), ("files", "pathnamehash")}

_GUEST, _ADMIN, _FRONT_PAGE = 1, 2, 1
_SYSTEM, _USER, _CATEGORY, _COURSE = 10, 30, 40, 50
_TIMES = (1_200_000_000, 2_200_000_000)
_PIECE = 50
_GAP = 600
_BATCH = 200_000
_NULL = r"\N"


@dataclass(frozen=True, slots=True)
class Site:
    """What was written.

    Attributes:
        url: SQLAlchemy URL of the database.
        rows: log rows.
        hours: the hours that they are spread over.
        seconds: how long it took.
    """

    url: str
    rows: int
    hours: HourRange
    seconds: float


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the pattern: integers or texts, and which of its values move how."""

    name: str
    integers: Integers | None
    texts: pa.Array | None
    null: Flags
    ids: Flags
    times: Flags

    def take(self, rows: Integers) -> Column:
        """The column with these rows."""
        return Column(
            self.name,
            None if self.integers is None else self.integers[rows],
            None if self.texts is None else self.texts.take(pa.array(rows)),
            self.null[rows],
            self.ids[rows],
            self.times[rows],
        )


def write_site(
    url: str,
    rows: int,
    hours: int,
    seed: int = 1,
    start: Hour | None = None,
    mix_of_rows: str = mix.DUMP,
) -> Site:
    """Write a site into a database that is empty or does not exist.

    Args:
        url: SQLAlchemy URL of an account that may create tables, and the database if need be.
        rows: log rows.
        hours: the hours that they are spread over.
        seed: what chance begins with; the same arguments give the same site.
        start: the first hour.
        mix_of_rows: one of `benchmarks.mix`.
    """
    began = time.perf_counter()
    start = start or parse_hour("2024-09-01", "start")
    _create_database(url)
    with closing(_connect(url)) as connection:
        _write_pattern(url, connection)
        pattern = Pattern(connection)
        chance = np.random.default_rng(seed)
        if mix_of_rows == mix.VIEWS:
            pattern.add_views(chance)
        spread = Spread(pattern, rows, HourRange(start, start + hours), chance)
        for table in pattern.repeated:
            _fill(connection, table, _records(pattern, spread, table))
        _fill(connection, LOG, _log(pattern, spread))
    return Site(url, rows, spread.hours, time.perf_counter() - began)


class Pattern:
    """The site that is repeated, as it lies in the database."""

    def __init__(self, connection: pymysql.Connection) -> None:
        self._connection = connection
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name, column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position"
            )
            self._columns: dict[str, dict[str, str]] = {}
            for table, column, kind in cursor.fetchall():
                self._columns.setdefault(table.removeprefix(PREFIX), {})[column] = kind
        self.repeated = [
            table
            for table in self._columns
            if _READ.fullmatch(table) and not _ONCE.fullmatch(table)
        ]
        contexts = self._read(
            "context",
            f"contextlevel IN ({_SYSTEM}, {_CATEGORY}) "
            f"OR contextlevel = {_COURSE} AND instanceid = {_FRONT_PAGE} "
            f"OR contextlevel = {_USER} AND instanceid IN ({_GUEST}, {_ADMIN})",
        )
        self._contexts = [int(key) for key, *_ in contexts if key]
        self.tables = {table: self._table(table) for table in [*self.repeated, LOG]}
        highest = max(
            int(column.integers[column.ids].max(initial=0))
            for table, columns in self.tables.items()
            for column in columns
            if column.integers is not None and (table, column.name) != _WITH_DRAFTS
        )
        self.stride = 10 ** len(str(highest))

    @cached_property
    def times(self) -> Integers:
        """Times of the log rows, in their order."""
        return self.column(LOG, "timecreated")

    def add_views(self, chance: np.random.Generator) -> None:
        """Make the log one in which most rows are views (`benchmarks.mix`)."""
        rows, times = mix.with_views(self.texts(LOG, "eventname"), self.times, chance)
        columns = {column.name: column.take(rows) for column in self.tables[LOG]}
        columns["timecreated"] = replace(columns["timecreated"], integers=times)
        self.tables[LOG] = [*columns.values()]
        del self.times

    def column(self, table: str, name: str) -> Integers:
        """An integer column, null as 0."""
        found = next(column for column in self.tables[table] if column.name == name)
        assert found.integers is not None  # noqa: S101 - for mypy
        return found.integers

    def texts(self, table: str, name: str) -> list[str | None]:
        """A text column."""
        found = next(column for column in self.tables[table] if column.name == name)
        assert found.texts is not None  # noqa: S101 - for mypy
        values: list[str | None] = found.texts.to_pylist()
        return values

    def moves(self, kind: str, values: Integers) -> Flags:
        """Which ids are of things that each repetition has for itself."""
        if kind == "context":
            return (values > 0) & ~np.isin(values, self._contexts)
        least = {"user": _ADMIN, "course": _FRONT_PAGE}.get(kind, 0)
        moving: Flags = values > least
        return moving

    def path(self, text: str, offset: int) -> str:
        """A context's path in a repetition."""
        steps = [int(step) for step in text.split("/") if step]
        moved = (step if step in self._contexts else step + offset for step in steps)
        return "".join(f"/{step}" for step in moved)

    def _read(self, table: str, condition: str = "1 = 1") -> list[tuple[str | None, ...]]:
        order = "timecreated, id" if table == LOG else "id"
        names = ", ".join(f"`{name}`" for name in self._columns[table])
        with self._connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {names} FROM {PREFIX}{table} WHERE {condition} ORDER BY {order}"
            )
            return list(cursor.fetchall())

    def _table(self, table: str) -> list[Column]:
        kinds = self._columns[table]
        rows = self._read(table)
        values = list(zip(*rows, strict=True)) or [()] * len(kinds)
        plain: dict[str, Integers] = {}
        columns = []
        for (name, kind), found in zip(kinds.items(), values, strict=True):
            null = np.array([value is None for value in found], dtype=bool)
            nothing = np.zeros(len(found), dtype=bool)
            if not kind.endswith("int"):
                texts = pa.array(found, pa.string())
                columns.append(Column(name, None, texts, null, nothing, nothing))
                continue
            plain[name] = np.array([int(value or 0) for value in found], dtype=np.int64)
            columns.append(Column(name, plain[name], None, null, nothing, nothing))
        return [self._movement(table, column, plain, columns) for column in columns]

    def _movement(
        self, table: str, column: Column, plain: dict[str, Integers], columns: list[Column]
    ) -> Column:
        """The column with its ids and times marked."""
        if column.integers is None:
            return column
        values = column.integers
        if (table, column.name) in {("context", "instanceid"), (LOG, "contextinstanceid")}:
            levels = plain["contextlevel"]
            kinds = {_USER: "user", _COURSE: "course"}
            ids = np.zeros(len(values), dtype=bool)
            for level in set(levels.tolist()) - {_SYSTEM, _CATEGORY}:
                chosen = levels == level
                ids[chosen] = self.moves(kinds.get(level, ""), values[chosen])
        elif (table, column.name) == (LOG, "objectid"):
            named = next(other.texts for other in columns if other.name == "objecttable")
            assert named is not None  # noqa: S101 - for mypy
            tables = np.array([name or "" for name in named.to_pylist()])
            ids = np.zeros(len(values), dtype=bool)
            for name in set(tables.tolist()):
                if not _ONCE.fullmatch(name):
                    chosen = tables == name
                    ids[chosen] = self.moves(name, values[chosen])
        elif (kind := _kind(table, column.name)) is not None:
            ids = self.moves(kind, values)
        else:
            low, high = _TIMES
            times = (low < values) & (values < high)
            return Column(column.name, values, None, column.null, column.ids, times)
        return Column(column.name, values, None, column.null, ids & ~column.null, column.times)


def _kind(table: str, column: str) -> str | None:
    """What a column refers to; None for those that are no references."""
    if column == "id":
        return table
    if column in _USERS:
        return "user"
    if column in _COURSES:
        return "course"
    if column == "contextid":
        return "context"
    return "record" if column in _RECORDS and (table, column) not in _NONE else None


class Spread:
    """Where repetitions of the pattern lie in time."""

    def __init__(
        self, pattern: Pattern, rows: int, hours: HourRange, chance: np.random.Generator
    ) -> None:
        self.rows = rows
        self.hours = hours
        self.repetitions = -(-rows // len(pattern.times))
        self._pattern = pattern
        times = pattern.times
        begins = (np.arange(len(times)) % _PIECE == 0) | (np.diff(times, prepend=-_TIMES[1]) > _GAP)
        # Rows of one second stay together.
        self._begins, firsts = np.unique(times[begins], return_index=True)
        shares = (np.flatnonzero(begins)[firsts] + 0.5) / len(times)
        weights = busyness(hours, chance)
        ends = np.cumsum(weights) / weights.sum()
        jitter = chance.normal(0, 0.002, (self.repetitions, len(shares)))
        chosen = np.searchsorted(ends, (shares + jitter).clip(0, 1), side="left")
        seconds = chance.integers(0, SECONDS, chosen.shape)
        starts = hours.start.start + chosen.clip(max=len(weights) - 1) * SECONDS + seconds
        starts.sort(axis=1)
        after = np.full((self.repetitions, 1), np.iinfo(np.int64).max)
        self._room = np.diff(np.concatenate([starts, after], axis=1), axis=1)
        self._starts = starts
        surplus = self.repetitions * len(times) - rows
        self.left_out = chance.choice(len(times), surplus, replace=False)

    def moved(self, repetition: Integers, times: Integers) -> Integers:
        """Times of the pattern as they are in repetitions; later stays later, or the same."""
        piece = (np.searchsorted(self._begins, times, side="right") - 1).clip(min=0)
        since = np.minimum(times - self._begins[piece], self._room[repetition, piece])
        moved: Integers = self._starts[repetition, piece] + since
        return moved


def busyness(hours: HourRange, chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """How busy each hour is, compared with the others: day, weekday, time of the year, chance."""
    numbers = np.arange(hours.start.number, hours.end.number)
    of_day = np.array(
        [4, 2, 1, 0.6, 0.5, 1, 3, 9, 22, 34, 40, 38, 30, 34, 38, 36, 32, 27, 24, 26, 27, 22, 15, 8]
    )
    of_week = np.array([1.1, 1.15, 1.1, 1.05, 0.8, 0.35, 0.5])  # from Monday
    days = numbers // 24
    weeks = (days % 365) // 7
    of_year = np.ones(53)
    of_year[[0, 51, 52]] = 0.12  # the turn of the year
    of_year[[4, 5, 28, 29]] = 2.2  # exams
    of_year[[8, 9, 10, 31, 32, 33, 34, 35, 36]] = 0.3  # holidays
    weights: npt.NDArray[np.float64] = (
        of_day[numbers % 24]
        * of_week[(days + 3) % 7]  # 1970 began on a Thursday
        * of_year[weeks]
        * chance.lognormal(0, 0.35, len(numbers))
    )
    return weights


def _records(pattern: Pattern, spread: Spread, table: str) -> Iterator[pa.Array]:
    """The lines of a table, repetition by repetition."""
    columns = pattern.tables[table]
    size = len(columns[0].null)
    own = next(column for column in columns if column.name == "id").ids
    step = max(1, _BATCH // max(1, size))
    for first in range(0, spread.repetitions if size else 0, step):
        count = min(step, spread.repetitions - first)
        repetition = np.repeat(np.arange(first, first + count), size)
        row = np.tile(np.arange(size), count)
        # What a site has once comes with the first repetition.
        chosen = own[row] | (repetition == 0)
        yield _lines(pattern, spread, table, repetition[chosen], row[chosen])


def _log(pattern: Pattern, spread: Spread) -> Iterator[pa.Array]:
    """The lines of the log, in the order of time."""
    size = len(pattern.times)
    place = np.arange(spread.repetitions * size)
    place = np.delete(place, (spread.repetitions - 1) * size + spread.left_out)
    times = spread.moved(place // size, pattern.times[place % size])
    times = times.clip(max=spread.hours.end.start - 1)
    order = np.argsort(times, kind="stable")
    place, times = place[order], times[order]
    other = _Other(pattern)
    for first in range(0, len(place), _BATCH):
        chosen = place[first : first + _BATCH]
        repetition, row = chosen // size, chosen % size
        given = {
            "id": pa.array(np.arange(first + 1, first + 1 + len(chosen))),
            "timecreated": pa.array(times[first : first + _BATCH]),
            "other": other.of(repetition, row),
        }
        yield _lines(pattern, spread, LOG, repetition, row, given)


def _lines(
    pattern: Pattern,
    spread: Spread,
    table: str,
    repetition: Integers,
    row: Integers,
    given: dict[str, pa.Array] | None = None,
) -> pa.Array:
    """Rows of the pattern as they are in repetitions, as lines for LOAD DATA."""
    cells = []
    for column in pattern.tables[table]:
        found = (given or {}).get(column.name)
        if found is None:
            found = _moved(pattern, spread, table, column, repetition, row)
            if column.null.any():
                found = pc.if_else(pa.array(column.null[row]), None, found)
        cells.append(found.cast(pa.string()).fill_null(_NULL))
    return pc.binary_join_element_wise(*cells, "\t")


def _moved(
    pattern: Pattern,
    spread: Spread,
    table: str,
    column: Column,
    repetition: Integers,
    row: Integers,
) -> pa.Array:
    offsets = repetition * pattern.stride
    if column.integers is not None:
        values = column.integers[row] + offsets * column.ids[row]
        if column.times.any():
            of_time = column.times[row]
            values[of_time] = spread.moved(repetition[of_time], values[of_time])
        return pa.array(values)
    if column.texts is None:
        raise TypeError(f"{column.name} has neither integers nor texts.")
    if (table, column.name) == ("context", "path"):
        paths = column.texts.take(pa.array(row)).to_pylist()
        return pa.array(
            [path and pattern.path(path, by) for path, by in zip(paths, offsets, strict=True)]
        )
    texts = _escaped(column.texts).take(pa.array(row))
    if (table, column.name) in _UNIQUE_TEXTS:
        suffix = pc.binary_join_element_wise("", pa.array(repetition).cast(pa.string()), "-")
        suffix = pc.if_else(pa.array(repetition == 0), "", suffix)
        texts = pc.binary_join_element_wise(pc.utf8_slice_codeunits(texts, 0, 30), suffix, "")
    return texts


def _escaped(texts: pa.Array) -> pa.Array:
    for plain, escaped in (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r")):
        texts = pc.replace_substring(texts, plain, escaped)
    return texts


_REFERENCE = re.compile(
    r's:\d+:"(?P<php>\w+)";(?:i:(?P<int>\d{1,9});|s:\d+:"(?P<text>\d{1,9})";)'
    r'|"(?P<json>\w+)":(?P<quote>"?)(?P<id>\d{1,9})(?=[",}])'
)


class _Other:
    """The column ``other`` in repetitions: the ids in it move like those in columns."""

    def __init__(self, pattern: Pattern) -> None:
        self._stride = pattern.stride
        self._make: list[Callable[[int], str] | None] = []
        texts = pattern.texts(LOG, "other")
        names = pattern.texts(LOG, "eventname")
        for name, text in zip(names, texts, strict=True):
            # SCORM counts attempts: they have no ids.
            without = "attemptid" if (name or "").startswith(r"\mod_scorm") else ""
            self._make.append(_maker(pattern, text, without) if text else None)
        self._plain = _escaped(pa.array(texts, pa.string()))
        self._moving = np.array([make is not None for make in self._make])

    def of(self, repetition: Integers, row: Integers) -> pa.Array:
        """The texts of rows of the pattern in repetitions."""
        moving = self._moving[row] & (repetition > 0)
        moved = [
            make(by * self._stride) if (make := self._make[one]) else ""
            for by, one in zip(repetition[moving].tolist(), row[moving].tolist(), strict=True)
        ]
        plain = self._plain.take(pa.array(row))
        return pc.replace_with_mask(plain, pa.array(moving), _escaped(pa.array(moved, pa.string())))


def _maker(pattern: Pattern, text: str, without: str) -> Callable[[int], str] | None:
    """What gives the text with its ids moved; None where it holds none that move."""
    parts: list[str | tuple[int, bool]] = []
    last = 0
    for match in _REFERENCE.finditer(text):
        name = match["php"] or match["json"]
        kind = _kind(LOG, name) if name != "id" else "record"
        found = match["int"] or match["text"] or match["id"]
        if kind is None or name == without or not pattern.moves(kind, np.array([int(found)]))[0]:
            continue
        counted = match["text"] is not None
        begin = match.start("int") if match["int"] else match.start("id")
        if counted:
            begin = text.rindex("s:", 0, match.start("text"))
        end = match.end("text") + 1 if counted else begin + len(found)
        parts += [text[last:begin], (int(found), counted)]
        last = end
    if not parts:
        return None
    parts.append(text[last:])

    def make(by: int) -> str:
        return "".join(part if isinstance(part, str) else _digits(*part, by) for part in parts)

    return make


def _digits(number: int, counted: bool, by: int) -> str:
    moved = str(number + by)
    return f's:{len(moved)}:"{moved}"' if counted else moved


def _connect(url: str, database: bool = True) -> pymysql.Connection:
    parts = sa.make_url(url)
    return pymysql.connect(
        host=parts.host,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.database if database else None,
        charset="utf8mb4",
        autocommit=True,
        local_infile=True,
        conv={},
        init_command="SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
    )


def _create_database(url: str) -> None:
    name = sa.make_url(url).database
    with closing(_connect(url, database=False)) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"CREATE DATABASE IF NOT EXISTS `{name}` "
            "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
        )
        cursor.execute(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s", (name,)
        )
        if cursor.fetchone() != ("0",):
            raise SystemExit(f"The database {name} is not empty: drop it, or name another one.")


def _write_pattern(url: str, connection: pymysql.Connection) -> None:
    if DUMP.exists():
        load_dump(url)
        return
    with tempfile.TemporaryDirectory() as folder:
        site = write_sample(Path(folder) / "moodle.sqlite", students=60, hours=120)
        _copy_sample(site.path, connection)


def _copy_sample(path: Path, connection: pymysql.Connection) -> None:
    """The sample's tables with MariaDB's types."""
    engine = sa.create_engine(f"sqlite:///{path}")
    found = sa.inspect(engine)
    with engine.connect() as source, connection.cursor() as cursor:
        for table in found.get_table_names():
            indexes = found.get_indexes(table)
            short = {name for index in indexes for name in index["column_names"]}
            columns = [
                f"`{column['name']}` {_type(str(column['type']), column['name'] in short)}"
                f"{'' if column['nullable'] else ' NOT NULL'}"
                for column in found.get_columns(table)
            ]
            keys = [
                f"{'UNIQUE ' if index['unique'] else ''}KEY {index['name']} "
                f"({', '.join(f'`{name}`' for name in index['column_names'])})"
                for index in indexes
            ]
            definition = ", ".join([*columns, "PRIMARY KEY (id)", *keys])
            cursor.execute(f"CREATE TABLE `{table}` ({definition})")
            rows = source.execute(sa.text(f'SELECT * FROM "{table}"')).fetchall()
            cells = [
                _escaped(
                    pa.array(
                        [None if value is None else str(value) for value in values], pa.string()
                    )
                )
                for values in zip(*rows, strict=True)
            ]
            if cells:
                lines = pc.binary_join_element_wise(
                    *(cell.fill_null(_NULL) for cell in cells), "\t"
                )
                _load(connection, table.removeprefix(PREFIX), lines)
    engine.dispose()


def _type(kind: str, indexed: bool) -> str:
    if kind == "TEXT":
        return "VARCHAR(255)" if indexed else "LONGTEXT"
    return {"INTEGER": "BIGINT", "REAL": "DECIMAL(15,5)"}[kind]


def _fill(connection: pymysql.Connection, table: str, pieces: Iterator[pa.Array]) -> None:
    """Replace the rows of a table; indexes of a large one are made last, which costs the least."""
    name = f"`{PREFIX}{table}`"
    first = next(pieces, None)
    if first is None:
        return
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE TABLE {name}")
        cursor.execute(f"SHOW CREATE TABLE {name}")
        definition = cursor.fetchone()[1]
        keys = re.findall(r"^\s+((?:UNIQUE )?KEY (`\w+`) \(.*\))", definition, re.MULTILINE)
        late = bool(keys) and len(first) > _BATCH // 4
        if late:
            dropped = ", ".join(f"DROP KEY {key}" for _, key in keys)
            cursor.execute(f"ALTER TABLE {name} {dropped}")
        for lines in chain([first], pieces):
            _load(connection, table, lines)
        if late:
            added = ", ".join(f"ADD {definition}" for definition, _ in keys)
            cursor.execute(f"ALTER TABLE {name} {added}")
        cursor.execute(f"ANALYZE TABLE {name}")


def _load(connection: pymysql.Connection, table: str, lines: pa.Array) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(lines.to_pylist()))
        file.write("\n")
        file.flush()
        with connection.cursor() as cursor:
            loaded = cursor.execute(
                f"LOAD DATA LOCAL INFILE %s INTO TABLE `{PREFIX}{table}` CHARACTER SET utf8mb4",
                (file.name,),
            )
            if loaded != len(lines):
                cursor.execute("SHOW WARNINGS")
                raise SystemExit(f"{table}: {loaded} of {len(lines)} rows: {cursor.fetchall()[:3]}")


def main() -> None:
    """Write a site and say where its hours are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--url", required=True, help="SQLAlchemy URL of a database to be made")
    parser.add_argument("--rows", type=int, default=1_000_000, help="log rows")
    parser.add_argument("--hours", type=int, default=8760, help="hours that they are spread over")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", default="2024-09-01", help="first hour in UTC")
    mix.add_option(parser)
    given = parser.parse_args()
    first = parse_hour(given.start, "--start")
    site = write_site(given.url, given.rows, given.hours, given.seed, first, given.mix)
    print(f"{site.rows:,} log rows in {site.hours}, {site.seconds:.0f} s")


if __name__ == "__main__":
    main()
