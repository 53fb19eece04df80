"""Log rows → expanded rows: each row with what the Moodle database knows about it.

Each table is queried once for all rows together, and the joins are made in memory; there is never a
query per row. A row whose references are not found keeps its ids, and its column ``unresolved``
lists them.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa

from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.core.gc_tuning import gc_paused
from caliper_dagster.expander import objects, required_tables, unreadable
from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.earlier_parts import EarlierParts
from caliper_dagster.expander.erasure import without_erased
from caliper_dagster.expander.event_data import decode_column
from caliper_dagster.expander.log_rows import LogRows
from caliper_dagster.expander.lookups import (
    activities,
    completions,
    gradings,
    module_references,
    people,
    sessions,
)
from caliper_dagster.expander.lookups.log_lifecycle import LogLifecycle
from caliper_dagster.expander.record_columns import (
    Integers,
    RecordColumn,
    distinct,
    distinct_pairs,
)

_FRONT_PAGE = 1


@gc_paused()
def expand(
    database: MoodleDatabase,
    log: pa.Table,
    lifecycle: LogLifecycle | None = None,
    *,
    already_expanded: pa.Table | None = None,
    earlier: EarlierParts | None = None,
) -> pa.Table:
    """Join to each log row what the database knows about it.

    Args:
        database: an open Moodle database.
        log: ``MOODLE_LOG`` rows of any number of hours, which must fit into memory.
        lifecycle: what the whole log says about deleted things. It reads the log when a row first
            needs it: pass the same one to all calls on a database. By default each call has its
            own.
        already_expanded: the other log rows of these hours, which need no expansion; the log-in of
            a row may be one of them.
        earlier: the parts of the same hour that were expanded before, where it has parts. It learns
            of the gradings; the caller adds the rest (`EarlierParts.add`).

    Returns:
        ``EXPANDED_LOG``: the same rows in the same order. Nothing is joined to the users of an
        anonymous row (rule R1), and nothing tells of a person who was erased.

    Raises:
        ConfigurationError: the account cannot read a table that this Moodle must have.
        SourceError: the database cannot be read.
    """
    if not log.num_rows:
        if earlier is not None and already_expanded is not None:
            gradings.note(database, already_expanded, earlier.gradings)
        return EXPANDED_LOG.empty()
    required_tables.require(database)
    other = decode_column(log["other"])
    rows = LogRows.of(log, other)
    rows.add_unresolved("other", np.flatnonzero(other.undecodable.to_numpy(zero_copy_only=False)))
    site = people.Site.read(database)
    lookup = objects.Lookup(database, site, lifecycle or LogLifecycle(database))
    found = _sessions(lookup, rows, already_expanded, earlier)
    real_users = rows.users["realuser"]
    rows.users["realuser"] = np.where(found.real_users > 0, found.real_users, real_users)
    columns = {"other": other.texts}
    object_column = partial(
        _object_column,
        already_expanded=already_expanded,
        open_gradings=earlier.gradings if earlier else None,
    )
    for fill in (_people_columns, _course_column, _module_column, object_column):
        columns.update({name: column.array() for name, column in fill(lookup, rows).items()})
    columns["session"] = found.column().array()
    columns["site"] = _constant(site.record, len(rows.ids))
    unreadable.note(rows, columns)
    columns["unresolved"] = rows.unresolved()
    for name, column in columns.items():
        log = (
            log.set_column(log.column_names.index(name), name, column)
            if name in log.column_names
            else log.append_column(name, column)
        )
    return without_erased(database, EXPANDED_LOG.conform(log))


def _constant(record: object, rows: int) -> pa.DictionaryArray:
    column = RecordColumn(rows)
    column.assign(np.ones(rows, dtype=bool), np.zeros(rows, dtype=np.int64), {0: record})
    return column.array()


def _people_columns(lookup: objects.Lookup, rows: LogRows) -> dict[str, RecordColumn]:
    selected = {name: rows.identified & (users > 0) for name, users in rows.users.items()}
    ids = {user for name, users in rows.users.items() for user in distinct(users, selected[name])}
    records = people.users(lookup.database, ids, lookup.site)
    deleted = {user for user in ids if records.get(user, {"deleted": 1})["deleted"]}
    in_course = rows.courses > _FRONT_PAGE
    members: dict[str, Integers] = {}
    pairs_of: dict[str, tuple[list[tuple[int, int]], Integers]] = {}
    for name, users in rows.users.items():
        members[name] = np.flatnonzero(selected[name] & in_course)
        pairs_of[name] = distinct_pairs(users[members[name]], rows.courses[members[name]])
    since = int(rows.times.min())
    pairs = {pair for of_column, _ in pairs_of.values() for pair in of_column}
    memberships = people.Memberships(
        lookup.database, lookup.site, lookup.lifecycle, deleted, pairs, since
    )
    columns = {}
    for name, users in rows.users.items():
        columns[name] = RecordColumn(len(users))
        missing = columns[name].assign(selected[name], users, records)
        rows.add_unresolved("user", np.flatnonzero(missing), users[missing])
        columns[f"{name}_membership"] = RecordColumn(len(users))
        memberships.fill(
            columns[f"{name}_membership"], members[name], *pairs_of[name], rows.times[members[name]]
        )
    return columns


def _course_column(lookup: objects.Lookup, rows: LogRows) -> dict[str, RecordColumn]:
    in_course = rows.courses > 0
    column = RecordColumn(len(rows.ids))
    records = activities.courses(lookup.database, distinct(rows.courses, in_course))
    missing = column.assign(in_course, rows.courses, records)
    rows.add_unresolved("course", np.flatnonzero(missing), rows.courses[missing])
    return {"course": column}


def _module_column(lookup: objects.Lookup, rows: LogRows) -> dict[str, RecordColumn]:
    module_references.complete(lookup.database, rows)
    in_module = rows.modules > 0
    records = activities.course_modules(lookup.database, module_references.contexts(rows))
    lookup.modules.update(records)
    deleted = in_module & ~np.isin(rows.modules, list(records))
    rows.add_unresolved("course_modules", np.flatnonzero(deleted), rows.modules[deleted])
    records.update(
        module_references.deleted_modules(lookup.lifecycle, distinct(rows.modules, deleted))
    )
    column = RecordColumn(len(rows.ids))
    column.assign(in_module, rows.modules, records)
    rows.module_records = records
    return {"module": column}


def _object_column(
    lookup: objects.Lookup,
    rows: LogRows,
    already_expanded: pa.Table | None,
    open_gradings: gradings.OpenGradings | None,
) -> dict[str, RecordColumn]:
    column = RecordColumn(len(rows.ids))
    for loader, positions in objects.by_loader(rows):
        if isinstance(loader, objects.ObjectByIdLoader):
            ids = rows.objects[positions]
            missing = objects.fill_by_id(lookup, column, loader, positions, ids)
            missing &= rows.identified[positions] & (ids > 0)
            rows.add_unresolved(loader.table, positions[missing], ids[missing])
        else:
            references = objects.log_references(rows, positions)
            unresolved = objects.fill(lookup, column, loader, positions, references)
            rows.add_unresolved_references(unresolved)
    database, lifecycle = lookup.database, lookup.lifecycle
    for position, state in completions.previous_states(database, lifecycle, rows):
        column.add_members(position, {"previousstate": state})
    told_before = gradings.told_before(database, rows, already_expanded, open_gradings)
    for position, earlier in told_before:
        column.add_members(position, {"samegradingas": earlier})
    return {"object": column}


def _sessions(
    lookup: objects.Lookup,
    rows: LogRows,
    already_expanded: pa.Table | None,
    earlier: EarlierParts | None,
) -> sessions.Sessions:
    others = already_expanded if already_expanded is not None else rows.log.slice(0, 0)
    if earlier is not None:
        others = pa.concat_tables([earlier.session_changes, others])
    return sessions.Sessions(
        lookup.database,
        lookup.lifecycle,
        rows.log,
        others,
        lookup.site.guest,
        earlier.start if earlier else None,
    )
