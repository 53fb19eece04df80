"""The lifecycle rows of the log: what it records about things that the database no longer has.

Few log rows say that a module, a role, an enrolment or an attempt began or ended, or which grade
was told before it was deleted. No index of the log leads to them, and a course has many other rows.
Therefore the whole log is read once, by ranges of ids, and these rows are stored; later processes
read only newer ids. Ranges without rows cost nothing, and a single row far away costs what a row
costs.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from random import SystemRandom
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.hours import LAST_TIME
from caliper_dagster.core.stored_fields import WHOLE, StoredFields, stored_fields_of
from caliper_dagster.expander import bulk_read
from caliper_dagster.expander.connection import LOG, MoodleDatabase, Record
from caliper_dagster.expander.erasure import lifecycle_without, without_erased
from caliper_dagster.expander.log import LAST_ID, next_id
from caliper_dagster.expander.stored_rows import log_as_stored

if TYPE_CHECKING:
    from caliper_dagster.core.partition_store import IdRangeTables

MODULE_EVENTS = (
    r"\core\event\course_module_created",
    r"\core\event\course_module_updated",
    r"\core\event\course_module_deleted",
)
ROLE_ASSIGNED = r"\core\event\role_assigned"
ROLE_UNASSIGNED = r"\core\event\role_unassigned"
ENROLMENT_CREATED = r"\core\event\user_enrolment_created"
ENROLMENT_DELETED = r"\core\event\user_enrolment_deleted"
ATTEMPT_SUBMITTED = r"\mod_quiz\event\attempt_submitted"
ATTEMPT_DELETED = r"\mod_quiz\event\attempt_deleted"
LOGGED_IN_AS = r"\core\event\user_loggedinas"
COMPLETION_UPDATED = r"\core\event\course_module_completion_updated"
USER_GRADED = r"\core\event\user_graded"

EVENTS = (
    *MODULE_EVENTS,
    *(ROLE_ASSIGNED, ROLE_UNASSIGNED, ENROLMENT_CREATED, ENROLMENT_DELETED),
    *(ATTEMPT_SUBMITTED, ATTEMPT_DELETED),
    *(LOGGED_IN_AS, COMPLETION_UPDATED),
)

_DESCRIBED = tuple(name for name in EVENTS if name not in (LOGGED_IN_AS, COMPLETION_UPDATED))
"""Events whose event data is read."""

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("timecreated", pa.int64()),
        ("eventname", pa.string()),
        ("component", pa.string()),
        ("objectid", pa.int64()),
        ("contextlevel", pa.int64()),
        ("contextinstanceid", pa.int64()),
        ("courseid", pa.int64()),
        ("relateduserid", pa.int64()),
        ("other", pa.string()),
        ("userid", pa.int64()),
        ("realuserid", pa.int64()),
        ("ip", pa.string()),
        ("completionstate", pa.int64()),
    ]
)
"""Log rows with one of :data:`EVENTS`, or of somebody who is logged in as another; and rows with
only ``contextinstanceid`` and ``component``, each of which says that some log row of this component
has this module as its context. Of rows that tell the completion of a module, which are many, only
:data:`_COMPLETION` is kept. All rows that tell a grade are there with only :data:`_GRADING`."""

_GRADING = ("id", "objectid", "relateduserid")
_COMPLETION = ("id", "timecreated", "contextinstanceid", "relateduserid", "completionstate")
_COMPLETION_STATE = r'completionstate"(?:;[is]:(?:1:)?|: ?)"?(?P<state>[0-4])'
"""In event data, as PHP or as JSON."""
_READ_SCHEMA = SCHEMA.remove(SCHEMA.get_field_index("completionstate"))
_CONTEXT_SCHEMA = pa.schema([SCHEMA.field(name) for name in ("contextinstanceid", "component")])
_GRADING_SCHEMA = pa.schema([SCHEMA.field(name) for name in _GRADING])

LIFECYCLE = "log_lifecycle"
"""The name of the tables of lifecycle rows in the storage."""

_REVISION_KEY, _REVISION = b"revision", b"3"
"""Metadata of stored tables, to be changed when more rows or columns are read."""
_FIELDS = b"stored_fields"
"""Metadata of stored tables from which personal fields were left out: see `StoredFields`."""
_MODULE_LEVEL = 70
_IDS_PER_TABLE = 250_000
_DAY = 86_400
"""A range of ids is stored when its rows are older: until then, a transaction that is still open
may make rows with lower ids visible. At the end of the log a statement reads so many seconds."""
_RECENT_SECONDS = 2 * _DAY


class _WholeLog(NamedTuple):
    """The lifecycle rows of the whole log, by what is kept of them.

    Attributes:
        rows: those of events, with all columns that are kept of them, and those of the contexts.
        completions: :data:`_COMPLETION` of those that tell a completion.
        gradings: :data:`_GRADING` of those that tell a grade.
    """

    rows: pa.Table
    completions: pa.Table
    gradings: pa.Table


class LogLifecycle:
    """The lifecycle rows of a site's whole log, read when they are first used.

    Args:
        database: an open Moodle database.
        tables: where the rows are stored between processes; None stores nothing, and the whole log
            is read.
    """

    def __init__(self, database: MoodleDatabase, tables: IdRangeTables | None = None) -> None:
        self._database, self._log, self._stored = database, database.log, tables
        self._newest: tuple[int, pa.Table] | None = None
        self._of_events: dict[tuple[str, ...], pa.ChunkedArray] = {}
        self._lacks_addresses = False

    def rows(self, events: tuple[str, ...], where: Mapping[str, Iterable[int]]) -> list[Record]:
        """Rows of these events, ordered by id; see :meth:`table`."""
        return bulk_read.records_of(self.table(events, where).sort_by("id"))

    def table(
        self,
        events: tuple[str, ...],
        where: Mapping[str, Iterable[int]],
        *,
        since: int | None = None,
    ) -> pa.Table:
        """Rows of these events, in any order; rows of anonymous events are not among them.

        Args:
            events: names of events, from :data:`EVENTS`.
            where: column → keys; all columns must match. Empty keys match nothing.
            since: only rows of this Unix time or later. For a recent time, only the end of the log
                is read.
        """
        where = {column: set(keys) for column, keys in where.items()}
        if not all(where.values()):
            return SCHEMA.empty_table()
        if since is not None and self._is_recent(since):
            rows = self._end_of_log(since)
            chosen = _of_events(rows, events)
        else:
            rows = self._whole_log.rows
            if events not in self._of_events:
                self._of_events[events] = _of_events(rows, events)
            chosen = self._of_events[events]
        if since is not None:
            chosen = pc.and_(chosen, pc.greater_equal(rows["timecreated"], since))
        # The other keys are looked for only in the rows that match the first.
        column, keys = next(iter(where.items()))
        rows = rows.filter(pc.and_(chosen, _has_key(rows[column], keys)))
        return self._matching(rows, where)

    def logged_in_as(self, since: int, until: int = LAST_TIME) -> list[Record]:
        """Rows from one Unix time up to another that somebody made who was logged in as another.

        Records: ``id``, ``timecreated``, ``ip``, ``userid`` (the other user), ``realuserid``.
        Addresses that are not stored are those that the log has today.
        """
        rows = self._rows_since(since)
        rows = rows.filter(pc.less_equal(rows["timecreated"], until))
        begin = pc.equal(rows["eventname"], LOGGED_IN_AS)
        columns = {
            "id": rows["id"],
            "timecreated": rows["timecreated"],
            "ip": rows["ip"],
            "userid": pc.if_else(begin, rows["relateduserid"], rows["userid"]),
            "realuserid": pc.if_else(begin, rows["userid"], rows["realuserid"]),
        }
        table = pa.table(columns).filter(pc.greater(columns["realuserid"], 0)).sort_by("id")
        records = bulk_read.records_of(table)
        if self._lacks_addresses and records:
            ids = [record["id"] for record in records]
            known = self._database.log.records(LOG, ("id", "ip"), {"id": ids})
            addresses = {int(row["id"]): row["ip"] for row in known}
            records = [{**record, "ip": addresses.get(record["id"])} for record in records]
        return records

    def completions(self, modules: Iterable[int], learners: Iterable[int]) -> pa.Table:
        """What the log tells of the completion of these modules by these learners.

        Returns:
            ``id`` (of the log row), ``contextinstanceid`` (the module), ``relateduserid`` (the
            learner) and ``completionstate``, in any order.
        """
        of_modules = self._matching(self._whole_log.completions, {"contextinstanceid": modules})
        return self._matching(of_modules, {"relateduserid": learners})

    def gradings(self, grades: Iterable[int]) -> pa.Table:
        """The log rows that tell these grades (``grade_grades``), also those that are gone.

        Returns:
            ``id`` (of the log row), ``objectid`` (the grade) and ``relateduserid`` (the learner),
            in any order.
        """
        grades = set(grades)
        if not grades:
            return _GRADING_SCHEMA.empty_table()
        return self._matching(self._whole_log.gradings, {"objectid": grades})

    @cached_property
    def first_row(self) -> tuple[int, int]:
        """Id and Unix time of the first log row that is known; (0, 0) of an empty log."""
        log = self._log.quoted(LOG)
        first = self._log.execute(sa.text(f"SELECT id, timecreated FROM {log} ORDER BY id LIMIT 1"))
        known = [(int(id_), int(time_)) for id_, time_ in first]
        for rows in self._whole_log[:2]:
            if rows.num_rows and (id_ := pc.min(rows["id"]).as_py()) is not None:
                row = rows.filter(pc.equal(rows["id"], id_))
                known.append((id_, row["timecreated"][0].as_py()))
        return min(known, default=(0, 0))

    def components(self, modules: Iterable[int]) -> list[tuple[int, str]]:
        """Pairs of a module's id and a component that has a log row in the module's context."""
        modules = set(modules)
        if not modules:
            return []
        rows = self._whole_log.rows
        contexts = rows.select(("contextinstanceid", "component"))
        of_contexts = contexts.filter(pc.is_null(rows["id"]))
        matching = self._matching(of_contexts, {"contextinstanceid": modules})
        pairs = matching.group_by(["contextinstanceid", "component"]).aggregate([])
        return sorted(zip(*(pairs[name].to_pylist() for name in pairs.column_names), strict=True))

    @staticmethod
    def _matching(table: pa.Table, where: Mapping[str, Iterable[int]]) -> pa.Table:
        for column, keys in where.items():
            table = table.filter(_has_key(table[column], keys))
        return table

    @cached_property
    def _whole_log(self) -> _WholeLog:
        parts = [_parts_of(SCHEMA.empty_table()), *map(_parts_of, self._tables())]
        return _WholeLog(*(pa.concat_tables(tables) for tables in zip(*parts, strict=True)))

    def _rows_since(self, time_: int) -> pa.Table:
        rows = self._end_of_log(time_) if self._is_recent(time_) else self._whole_log.rows
        return rows.filter(pc.greater_equal(rows["timecreated"], time_))

    def _is_recent(self, time_: int) -> bool:
        """Whether the log since a time is so short that it is read instead of the whole log."""
        return "_whole_log" not in self.__dict__ and time_ > time.time() - _RECENT_SECONDS

    def _end_of_log(self, time_: int) -> pa.Table:
        """The rows of a recent Unix time or later."""
        if self._newest is None or time_ < self._newest[0]:
            starts = range(time_, max(int(time.time()), time_ + 1), _DAY)
            tables = [
                self._events(f"timecreated >= {start} AND timecreated < {end}")
                for start, end in pairwise((*starts, LAST_TIME + 1))
            ]
            self._newest = time_, pa.concat_tables([SCHEMA.empty_table(), *tables])
        return self._newest[1]

    def _tables(self) -> Iterator[pa.Table]:
        unstored = self._unstored_ranges()
        stored: Collection[tuple[int, int]] = ()
        if self._stored is not None:
            self._store_settled(self._stored, unstored)
            stored = self._stored.ranges()
            for after, to in stored:
                yield self._of_revision(self._stored, after, to)
        for after, to in unstored:
            if (after, to) not in stored:
                yield self._read(after, to)

    def _unstored_ranges(self) -> list[tuple[int, int]]:
        """The ranges of ids that hold rows and are not stored; empty ones are not looked at."""
        stored = set(self._stored.ranges()) if self._stored is not None else set()
        ranges, after = list[tuple[int, int]](), 0
        while True:
            while (after, after + _IDS_PER_TABLE) in stored:
                after += _IDS_PER_TABLE
            first = next_id(self._database, after)
            if first is None:
                return ranges
            begin = (first - 1) // _IDS_PER_TABLE * _IDS_PER_TABLE
            after = min(begin + _IDS_PER_TABLE, LAST_ID)
            if (begin, after) not in stored:
                ranges.append((begin, after))

    def _of_revision(self, stored: IdRangeTables, after: int, to: int) -> pa.Table:
        """A stored table. One of an earlier revision gets what the log has beyond it.

        One whose file is damaged is made anew, without rows that the log no longer has. One that
        has more personal fields than are stored now is written again without them.
        """
        try:
            table = stored.read(after, to)
        except StorageError as error:
            logging.getLogger(__name__).warning("%s It is read from the log again.", error)
            table = SCHEMA.empty_table()
        metadata = table.schema.metadata or {}
        fields = _fields_of(metadata)
        if metadata.get(_REVISION_KEY) != _REVISION:
            now = self._read(after, to)
            # The log may have been pruned since.
            is_gone = pc.invert(pc.is_in(table["id"], now["id"].combine_chunks().drop_null()))
            table = pa.concat_tables([now, table.filter(is_gone)], promote_options="default")
            fields = stored.fields.common(fields)
            table = _store(stored, after, to, table, fields)
        elif stored.fields.common(fields) != fields:
            fields = stored.fields.common(fields)
            table = _store(stored, after, to, table, fields)
        self._lacks_addresses |= fields.addresses != "whole"
        return table.replace_schema_metadata(None)

    def _store_settled(self, stored: IdRangeTables, unstored: list[tuple[int, int]]) -> None:
        """Read and store those of the ranges that get no more rows.

        Such a range is below all rows of the last day, and the range after it has rows, too: the
        last range before a gap may still grow, whatever is beyond the gap.

        The order is random: processes that start at the same time then share the work, because
        each skips the ranges that another one has written meanwhile.
        """
        begun = {after for after, _ in (*unstored, *stored.ranges())}
        settled = [(after, to) for after, to in unstored if to in begun]
        if not settled:
            return
        first_recent = self._first_recent_id()
        settled = [(after, to) for after, to in settled if to < first_recent]
        SystemRandom().shuffle(settled)
        for after, to in settled:
            if (after, to) not in stored.ranges():
                _store(stored, after, to, self._read(after, to), stored.fields)

    def _first_recent_id(self) -> int:
        """The lowest id of a row of the last day, a row dated in the future aside."""
        log, now = self._log.quoted(LOG), int(time.time())
        ((first,),) = self._log.execute(
            sa.text(f"SELECT MIN(id) FROM {log} WHERE timecreated BETWEEN :start AND :end"),
            start=now - _DAY,
            end=now + _DAY,
        )
        return LAST_ID if first is None else int(first)

    def _read(self, after: int, to: int) -> pa.Table:
        """The lifecycle rows with ids above ``after`` and up to ``to``."""
        log = self._log.quoted(LOG)
        contexts = self._log.table(
            _CONTEXT_SCHEMA,
            f"FROM {log} WHERE id > {after} AND id <= {to} "
            f"AND contextlevel = {_MODULE_LEVEL} AND component LIKE 'mod%' "
            "GROUP BY contextinstanceid, component",
        )
        gradings = self._log.table(
            _GRADING_SCHEMA,
            f"FROM {log} WHERE id > {after} AND id <= {to} "
            "AND anonymous = 0 AND eventname = :graded",
            graded=USER_GRADED,
        )
        events = self._events(f"id > {after} AND id <= {to}")
        return pa.concat_tables(
            [events, self._without_erased(gradings), contexts], promote_options="default"
        )

    def _events(self, condition: str) -> pa.Table:
        """The lifecycle rows of events for which the condition holds."""
        names = {f"name{index}": name for index, name in enumerate(EVENTS)}
        rows = self._log.table(
            _READ_SCHEMA,
            f"FROM {self._log.quoted(LOG)} "
            f"WHERE {condition} AND anonymous = 0 AND (realuserid > 0 "
            f"OR eventname IN ({', '.join(f':{name}' for name in names)}))",
            ("eventname", "component", "contextlevel"),
            fast=True,
            **names,
        )
        return _compact(self._without_erased(rows))

    def _without_erased(self, rows: pa.Table) -> pa.Table:
        """Rows without the persons who were erased, with all columns."""
        lifecycle = pa.concat_tables([SCHEMA.empty_table(), rows], promote_options="default")
        return without_erased(self._database, lifecycle, lifecycle_without)


def _parts_of(table: pa.Table) -> _WholeLog:
    """A table as it is stored, by what is kept of its rows."""
    completes = pc.is_valid(table["completionstate"])
    of_no_event = pc.and_(pc.is_null(table["eventname"]), pc.is_valid(table["id"]))
    grades = pc.and_not(of_no_event, completes)
    return _WholeLog(
        table.filter(pc.invert(pc.or_(completes, grades))),
        table.filter(completes).select(_COMPLETION),
        table.filter(grades).select(_GRADING),
    )


def _of_events(rows: pa.Table, events: tuple[str, ...]) -> pa.ChunkedArray:
    return pc.is_in(rows["eventname"], pa.array(events, pa.string()))


def _has_key(column: pa.ChunkedArray, keys: Iterable[int]) -> pa.ChunkedArray:
    return pc.is_in(column, pa.array(sorted(keys), pa.int64()))


def protect(tables: IdRangeTables) -> int:
    """Write all stored tables again as they are protected now; returns how many there are.

    Raises:
        StorageError: a table is damaged.
        ConfigurationError: its key is missing, or the storage cannot be written to.
    """
    ranges = tables.ranges()
    for after, to in ranges:
        table = tables.read(after, to)
        metadata = table.schema.metadata or {}
        revision = metadata.get(_REVISION_KEY, b"")
        _store(tables, after, to, table, tables.fields.common(_fields_of(metadata)), revision)
    return len(ranges)


def _fields_of(metadata: Mapping[bytes, bytes]) -> StoredFields:
    return stored_fields_of(json.loads(metadata.get(_FIELDS, b"{}")))


def _store(
    stored: IdRangeTables,
    after: int,
    to: int,
    table: pa.Table,
    fields: StoredFields,
    revision: bytes = _REVISION,
) -> pa.Table:
    """Store a table with these personal fields; returns it as it is stored."""
    if fields != WHOLE:
        table = log_as_stored(_without_needless_data(table), fields)
    metadata = {_REVISION_KEY: revision}
    if stats := fields.as_footer_stats():
        metadata[_FIELDS] = json.dumps(stats).encode()
    stored.write(after, to, table.replace_schema_metadata(metadata))
    return table


def _without_needless_data(rows: pa.Table) -> pa.Table:
    """The rows; event data is only in those that describe the lifecycle of something."""
    described = pc.is_in(rows["eventname"], pa.array(_DESCRIBED, pa.string()))
    other = pc.if_else(described, rows["other"], pa.scalar(None, pa.string()))
    return rows.set_column(SCHEMA.get_field_index("other"), SCHEMA.field("other"), other)


def _compact(rows: pa.Table) -> pa.Table:
    """The rows, and of those that tell the completion of a module only :data:`_COMPLETION`."""
    is_completion = pc.equal(rows["eventname"], COMPLETION_UPDATED)
    # Who is logged in as another is known by any row.
    others = rows.filter(pc.or_kleene(pc.invert(is_completion), pc.greater(rows["realuserid"], 0)))
    others = _without_needless_data(others)
    told = rows.filter(is_completion)
    found = pc.extract_regex(told["other"], _COMPLETION_STATE)
    state = pc.struct_field(found, "state").cast(pa.int64())
    told = told.set_column(SCHEMA.get_field_index("completionstate"), "completionstate", state)
    known = told.filter(pc.is_valid(state)).select(_COMPLETION)
    return pa.concat_tables([others, known], promote_options="default")
