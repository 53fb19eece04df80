"""Log rows → expanded rows: each row with what the Moodle database knows about it.

One look-up per table for all rows together, then joins in memory; never a query per row. A row
whose references lead nowhere keeps its ids, and ``unresolved`` lists what was not found.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from caliper_dagster.expander import activities, people, sessions
from caliper_dagster.expander.columns import (
    NOTHING,
    Flags,
    Integers,
    RecordColumn,
    distinct,
    integers,
)
from caliper_dagster.expander.database import MoodleDatabase
from caliper_dagster.expander.objects import Objects
from caliper_dagster.expander.other import decode_column
from caliper_dagster.frames import EXPANDED_LOG

_MODULE_LEVEL = 70
_FRONT_PAGE = 1
_USER_COLUMNS = ("user", "realuser", "relateduser")


def expand(database: MoodleDatabase, log: pa.Table) -> pa.Table:
    """Join to each log row what the database knows about it.

    Args:
        database: an open Moodle database.
        log: ``MOODLE_LOG`` rows of any number of hours, which must fit into memory.

    Returns:
        ``EXPANDED_LOG``: the same rows in the same order. Nothing is joined on the users of an
        anonymous row (rule R1).
    """
    if not log.num_rows:
        return EXPANDED_LOG.empty()
    rows = _Rows.of(log)
    other, undecodable = decode_column(log["other"])
    rows.note_unresolved("other", undecodable.to_numpy(zero_copy_only=False))
    columns = {"other": other}
    site = people.Site.read(database)
    for place in (_place_people, _place_course, _place_module, _place_object, _place_session):
        columns.update(
            {name: column.array() for name, column in place(database, site, rows).items()}
        )
    columns["site"] = _constant(site.record, len(rows.ids))
    columns["unresolved"] = rows.unresolved()
    for name, column in columns.items():
        log = (
            log.set_column(log.column_names.index(name), name, column)
            if name in log.column_names
            else log.append_column(name, column)
        )
    return EXPANDED_LOG.conform(log)


@dataclass(slots=True)
class _Rows:
    """The columns of the log that joins go by, as arrays, and what the joins did not find."""

    log: pa.Table
    ids: Integers
    times: Integers
    users: dict[str, Integers]
    courses: Integers
    modules: Integers
    named: Flags
    missing: dict[int, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, log: pa.Table) -> _Rows:
        modules = integers(log["contextinstanceid"]).copy()
        modules[integers(log["contextlevel"]) != _MODULE_LEVEL] = NOTHING
        return cls(
            log,
            integers(log["id"]),
            integers(log["timecreated"]),
            {name: integers(log[f"{name}id"]) for name in _USER_COLUMNS},
            integers(log["courseid"]),
            modules,
            integers(log["anonymous"]) != 1,
        )

    def note_unresolved(self, reference: str, rows: Flags, ids: Integers | None = None) -> None:
        """Remember a reference that leads nowhere, as ``table:id``."""
        for row in np.flatnonzero(rows):
            name = reference if ids is None else f"{reference}:{ids[row]}"
            names = self.missing.setdefault(int(row), [])
            if name not in names:
                names.append(name)

    def unresolved(self) -> pa.DictionaryArray:
        """The column ``unresolved``."""
        column = RecordColumn(len(self.ids))
        lists: dict[tuple[str, ...], int] = {}
        keys = np.full(len(self.ids), NOTHING, dtype=np.int64)
        for row, names in self.missing.items():
            keys[row] = lists.setdefault(tuple(names), len(lists))
        column.place(keys != NOTHING, keys, {code: names for names, code in lists.items()})
        return column.array()


def _constant(record: object, rows: int) -> pa.DictionaryArray:
    column = RecordColumn(rows)
    column.place(np.ones(rows, dtype=bool), np.zeros(rows, dtype=np.int64), {0: record})
    return column.array()


def _place_people(
    database: MoodleDatabase, site: people.Site, rows: _Rows
) -> dict[str, RecordColumn]:
    chosen = {name: rows.named & (users > 0) for name, users in rows.users.items()}
    wanted = {user for name, users in rows.users.items() for user in distinct(users, chosen[name])}
    records = people.users(database, wanted, site)
    gone = {user for user in wanted if records.get(user, {"deleted": 1})["deleted"]}
    in_course = rows.courses > _FRONT_PAGE
    memberships = people.Memberships(
        database, site, sorted(wanted), gone, distinct(rows.courses, in_course & rows.named)
    )
    columns = {}
    for name, users in rows.users.items():
        columns[name] = RecordColumn(len(users))
        unknown = columns[name].place(chosen[name], users, records)
        rows.note_unresolved("user", unknown, users)
        columns[f"{name}_membership"] = RecordColumn(len(users))
        memberships.place(
            columns[f"{name}_membership"],
            chosen[name] & in_course,
            users,
            rows.courses,
            rows.times,
        )
    return columns


def _place_course(
    database: MoodleDatabase, site: people.Site, rows: _Rows
) -> dict[str, RecordColumn]:
    del site
    chosen = rows.courses > 0
    column = RecordColumn(len(rows.ids))
    records = activities.courses(database, distinct(rows.courses, chosen))
    rows.note_unresolved("course", column.place(chosen, rows.courses, records), rows.courses)
    return {"course": column}


def _place_module(
    database: MoodleDatabase, site: people.Site, rows: _Rows
) -> dict[str, RecordColumn]:
    del site
    chosen = rows.modules > 0
    contexts = {}
    firsts = np.unique(rows.modules, return_index=True)
    for module, row in zip(*firsts, strict=True):
        if module > 0:
            contexts[int(module)] = rows.log["contextid"][int(row)].as_py()
    column = RecordColumn(len(rows.ids))
    gone = column.place(chosen, rows.modules, activities.course_modules(database, contexts))
    rows.note_unresolved("course_modules", gone, rows.modules)
    return {"module": column}


def _place_object(
    database: MoodleDatabase, site: people.Site, rows: _Rows
) -> dict[str, RecordColumn]:
    del site
    column = RecordColumn(len(rows.ids))
    tables = rows.log["objecttable"].combine_chunks()
    ids = integers(rows.log["objectid"])
    users = rows.users["user"]
    objects = Objects(database)
    for table in objects.tables:
        chosen = pa.compute.equal(tables.cast(pa.string()), table).fill_null(False)
        of_table = chosen.to_numpy(zero_copy_only=False) & (ids > 0)
        if of_table.any():
            missing = objects.place(column, table, of_table, ids, rows.times, users)
            rows.note_unresolved(table, missing & rows.named, ids)
    return {"object": column}


def _place_session(
    database: MoodleDatabase, site: people.Site, rows: _Rows
) -> dict[str, RecordColumn]:
    actors = np.where(rows.users["realuser"] > 0, rows.users["realuser"], rows.users["user"])
    # Logging in as another begins no session, and its end ends none.
    names = rows.log["eventname"].cast(pa.string()).to_numpy()
    names = np.where(rows.users["realuser"] > 0, "", names)
    web = rows.log["origin"].cast(pa.string()).to_numpy() == "web"
    column = RecordColumn(len(rows.ids))
    clicks = sessions.Clicks(
        web & rows.named & (actors > 0) & (actors != (site.guest or 0)),
        rows.ids,
        rows.times,
        actors,
        rows.log["ip"].to_numpy(),
        names,
    )
    sessions.place(database, column, clicks)
    return {"session": column}
