"""Log rows → expanded rows: each row with what the Moodle database knows about it.

One look-up per table for all rows together, then joins in memory; never a query per row. A row
whose references lead nowhere keeps its ids, and ``unresolved`` lists what was not found.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.core.gc_tuning import gc_paused
from caliper_dagster.expander import objects, references
from caliper_dagster.expander.columns import RecordColumn, distinct, distinct_pairs, integers
from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.event_data import decode_column
from caliper_dagster.expander.lookups import activities, people, sessions
from caliper_dagster.expander.rows import LogRows

_FRONT_PAGE = 1


@gc_paused()
def expand(database: MoodleDatabase, log: pa.Table, *, beside: pa.Table | None = None) -> pa.Table:
    """Join to each log row what the database knows about it.

    Args:
        database: an open Moodle database.
        log: ``MOODLE_LOG`` rows of any number of hours, which must fit into memory.
        beside: the other rows of these hours, which are expanded already: the log-in that a row
            belongs to may be among them.

    Returns:
        ``EXPANDED_LOG``: the same rows in the same order. Nothing is joined on the users of an
        anonymous row (rule R1).
    """
    if not log.num_rows:
        return EXPANDED_LOG.empty()
    other, undecodable = decode_column(log["other"])
    rows = LogRows.of(log, other)
    rows.note_unresolved("other", np.flatnonzero(undecodable.to_numpy(zero_copy_only=False)))
    columns = {"other": other}
    site = people.Site.read(database)
    for place in (_place_people, _place_course, _place_module, _place_object):
        columns.update(
            {name: column.array() for name, column in place(database, site, rows).items()}
        )
    columns["session"] = _session(database, site, rows, beside)
    columns["site"] = _constant(site.record, len(rows.ids))
    columns["unresolved"] = rows.unresolved()
    for name, column in columns.items():
        log = (
            log.set_column(log.column_names.index(name), name, column)
            if name in log.column_names
            else log.append_column(name, column)
        )
    return EXPANDED_LOG.conform(log)


def _constant(record: object, rows: int) -> pa.DictionaryArray:
    column = RecordColumn(rows)
    column.place(np.ones(rows, dtype=bool), np.zeros(rows, dtype=np.int64), {0: record})
    return column.array()


def _place_people(
    database: MoodleDatabase, site: people.Site, rows: LogRows
) -> dict[str, RecordColumn]:
    chosen = {name: rows.named & (users > 0) for name, users in rows.users.items()}
    wanted = {user for name, users in rows.users.items() for user in distinct(users, chosen[name])}
    records = people.users(database, wanted, site)
    gone = {user for user in wanted if records.get(user, {"deleted": 1})["deleted"]}
    in_course = rows.courses > _FRONT_PAGE
    pairs: set[tuple[int, int]] = set()
    for name, users in rows.users.items():
        chosen_here = chosen[name] & in_course
        pairs.update(distinct_pairs(users[chosen_here], rows.courses[chosen_here])[0])
    memberships = people.Memberships(database, site, gone, pairs)
    columns = {}
    for name, users in rows.users.items():
        columns[name] = RecordColumn(len(users))
        unknown = columns[name].place(chosen[name], users, records)
        rows.note_unresolved("user", np.flatnonzero(unknown), users[unknown])
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
    database: MoodleDatabase, site: people.Site, rows: LogRows
) -> dict[str, RecordColumn]:
    del site
    chosen = rows.courses > 0
    column = RecordColumn(len(rows.ids))
    records = activities.courses(database, distinct(rows.courses, chosen))
    unknown = column.place(chosen, rows.courses, records)
    rows.note_unresolved("course", np.flatnonzero(unknown), rows.courses[unknown])
    return {"course": column}


def _place_module(
    database: MoodleDatabase, site: people.Site, rows: LogRows
) -> dict[str, RecordColumn]:
    del site
    references.complete(database, rows)
    chosen = rows.modules > 0
    records = activities.course_modules(database, references.contexts(rows))
    gone = chosen & ~np.isin(rows.modules, list(records))
    rows.note_unresolved("course_modules", np.flatnonzero(gone), rows.modules[gone])
    records.update(references.gone_modules(database, rows, gone))
    column = RecordColumn(len(rows.ids))
    column.place(chosen, rows.modules, records)
    rows.found_modules = records
    return {"module": column}


def _place_object(
    database: MoodleDatabase, site: people.Site, rows: LogRows
) -> dict[str, RecordColumn]:
    column = RecordColumn(len(rows.ids))
    source = objects.Source(database, site)
    for kind, positions in references.kinds(rows):
        if isinstance(kind, objects.KindById):
            ids = rows.objects[positions]
            missing = objects.place_by_id(source, column, kind, positions, ids)
            missing &= rows.named[positions] & (ids > 0)
            rows.note_unresolved(kind.table, positions[missing], ids[missing])
        else:
            found = references.of_objects(rows, positions)
            rows.note_references(objects.place(source, column, kind, positions, found))
    return {"object": column}


def _session(
    database: MoodleDatabase, site: people.Site, rows: LogRows, beside: pa.Table | None
) -> pa.DictionaryArray:
    column = RecordColumn(len(rows.ids))
    others = beside if beside is not None else rows.log.slice(0, 0)
    sessions.place(database, column, _clicks(site, rows.log), _clicks(site, others))
    return column.array()


def _clicks(site: people.Site, log: pa.Table) -> sessions.Clicks:
    users, real = integers(log["userid"]), integers(log["realuserid"])
    actors = np.where(real > 0, real, users)
    # Logging in as another begins no session, and its end ends none.
    names = log["eventname"].cast(pa.string()).to_numpy()
    names = np.where(real > 0, "", names)
    web = log["origin"].cast(pa.string()).to_numpy() == "web"
    named = integers(log["anonymous"]) != 1
    return sessions.Clicks(
        web & named & (actors > 0) & (actors != (site.guest or 0)),
        integers(log["id"]),
        integers(log["timecreated"]),
        actors,
        log["ip"].to_numpy(),
        names,
    )
