"""Lifecycle: what the log tells of things that are gone from the tables.

Few rows tell that a module, a role, an enrolment or an attempt came or went, but no index of the
log leads to them, and the rows of a course are many. So the whole log is gone through once, by id,
and these rows are kept; from then on only what is newer is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from random import SystemRandom
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from caliper_dagster.expander.bulk_read import from_rows
from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.log import id_before

MODULE_EVENTS = (
    r"\core\event\course_module_created",
    r"\core\event\course_module_updated",
    r"\core\event\course_module_deleted",
)
ROLE_GIVEN = r"\core\event\role_assigned"
ROLE_TAKEN = r"\core\event\role_unassigned"
ENROLLED = r"\core\event\user_enrolment_created"
UNENROLLED = r"\core\event\user_enrolment_deleted"
ATTEMPT_SUBMITTED = r"\mod_quiz\event\attempt_submitted"
ATTEMPT_DELETED = r"\mod_quiz\event\attempt_deleted"

EVENTS = (
    *MODULE_EVENTS,
    *(ROLE_GIVEN, ROLE_TAKEN, ENROLLED, UNENROLLED),
    *(ATTEMPT_SUBMITTED, ATTEMPT_DELETED),
)

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
    ]
)
"""Log rows with one of `EVENTS`, and rows with only ``contextinstanceid`` and ``component``: that
some row of this component has this module as its context."""

_MODULE_LEVEL = 70
_IDS = 250_000
_UNSETTLED = 86_400
"""Ids younger than so many seconds are not kept: rows with lower ones may still become visible."""


class Pieces(Protocol):
    """Where rows are kept: tables for ranges of ids, each written once."""

    def ranges(self) -> Sequence[tuple[int, int]]:
        """The ranges ``(after, to)`` that are kept, in order."""

    def read(self, after: int, to: int) -> pa.Table:
        """The table of a range."""

    def write(self, after: int, to: int, table: pa.Table) -> None:
        """Keep the table of a range."""


class Lifecycle:
    """The lifecycle rows of a site's whole log, read when they are first asked for.

    Args:
        database: is asked for what is not kept.
        pieces: where rows are kept from one process to the next; None keeps nothing.
    """

    def __init__(self, database: MoodleDatabase, pieces: Pieces | None = None) -> None:
        self._database, self._pieces = database, pieces

    def rows(self, names: Iterable[str], where: Mapping[str, Iterable[int]]) -> list[Record]:
        """The rows with one of these event names that match all sets of keys, ordered by id.

        Rows of anonymous events are none of them.
        """
        where = {column: set(keys) for column, keys in where.items()}
        if not all(where.values()):
            return []
        named = pc.is_in(self._rows["eventname"], pa.array(names, pa.string()))
        found: list[Record] = (
            self._matching(self._rows.filter(named), where).sort_by("id").to_pylist()
        )
        return found

    def components(self, modules: Iterable[int]) -> list[tuple[int, str]]:
        """Of course modules, each component that a row with the module as its context has had."""
        modules = set(modules)
        if not modules:
            return []
        of_context = self._rows.filter(pc.is_null(self._rows["eventname"]))
        found = self._matching(of_context, {"contextinstanceid": modules})
        pairs = found.group_by(["contextinstanceid", "component"]).aggregate([])
        return sorted(zip(*(pairs[name].to_pylist() for name in pairs.column_names), strict=True))

    @staticmethod
    def _matching(table: pa.Table, where: Mapping[str, Iterable[int]]) -> pa.Table:
        for column, keys in where.items():
            table = table.filter(pc.is_in(table[column], pa.array(sorted(keys), pa.int64())))
        return table

    @cached_property
    def _rows(self) -> pa.Table:
        return pa.concat_tables([SCHEMA.empty_table(), *self._all_pieces()])

    def _all_pieces(self) -> Iterator[pa.Table]:
        covered, last = 0, self._last()
        if self._pieces is not None:
            self._keep(self._pieces, last)
            for after, to in self._pieces.ranges():
                yield self._pieces.read(after, to)
                covered = to
        for after in range(covered, last, _IDS):
            yield self._read(after, min(after + _IDS, last))

    def _keep(self, pieces: Pieces, last: int) -> None:
        """Read what is not kept yet, and keep it.

        In no order: processes that begin at the same time then share the work, each leaving out
        what another one has written meanwhile.
        """
        settled = min(last, id_before(self._database, int(time.time()) - _UNSETTLED))
        wanted = {(after, after + _IDS) for after in range(0, settled - _IDS + 1, _IDS)}
        missing = sorted(wanted.difference(pieces.ranges()))
        SystemRandom().shuffle(missing)
        for after, to in missing:
            if (after, to) not in pieces.ranges():
                pieces.write(after, to, self._read(after, to))

    def _read(self, after: int, to: int) -> pa.Table:
        log = self._database.quoted("logstore_standard_log")
        of_ids = f"FROM {log} WHERE id > {after} AND id <= {to}"
        named = {f"name{number}": name for number, name in enumerate(EVENTS)}
        events = self._database.execute(
            sa.text(
                f"SELECT {', '.join(SCHEMA.names)} {of_ids} AND anonymous = 0 "
                f"AND eventname IN ({', '.join(f':{name}' for name in named)})"
            ),
            **named,
        )
        contexts = self._database.execute(
            sa.text(
                f"SELECT contextinstanceid, component {of_ids} AND contextlevel = {_MODULE_LEVEL} "
                "AND component LIKE 'mod%' GROUP BY contextinstanceid, component"
            )
        )
        tables = [SCHEMA.empty_table()]
        if events:
            tables.append(from_rows(SCHEMA, events))
        if contexts:
            columns = ("contextinstanceid", "component")
            tables.append(from_rows(pa.schema([SCHEMA.field(name) for name in columns]), contexts))
        return pa.concat_tables(tables, promote_options="default")

    def _last(self) -> int:
        log = self._database.quoted("logstore_standard_log")
        ((last,),) = self._database.execute(sa.text(f"SELECT MAX(id) FROM {log}"))
        return int(last or 0)
