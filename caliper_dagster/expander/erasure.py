"""Persons who were erased: log rows and expanded rows without them.

A row that names such a person as its user, as the user it affects, or by the user's own context is
a row of an anonymous person (`anonymous` = 1) from then on, and has nothing of what could lead to
the person. It stays, so that every row of the log is accounted for. Other rows keep what they say
of others, without what they say of the person.

`ErasedPersons` does this for whatever is read from Moodle. ``delivery.persons`` does it for what is
stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.object_tables import belong_to_no_person
from caliper_dagster.core.persons import Persons, UserAccount, clean_text, cleaned
from caliper_dagster.core.tombstones import NOBODY, ReadTombstones, Tombstones
from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.event_data import decode_column

USER_IDS = ("userid", "realuserid", "relateduserid")
_USER_LEVEL = 30
_ACCOUNT_FIELDS = ("id", "username", "idnumber", "firstname", "lastname", "email")

_OF_PERSONS = (
    "other", "user", "user_membership", "realuser", "realuser_membership", "relateduser",
    "relateduser_membership", "session", "unresolved",
)  # fmt: skip
"""Columns of ``expanded_log`` that rows of anonymous persons do not have."""

_PERSON_RECORDS = {"user": "id", "realuser": "id", "relateduser": "id", "session": "user"}
"""Columns of ``expanded_log`` with the key of the person's id. Moodle leaves ``realuserid`` of the
log-out empty; only the record tells who was logged in as another."""

_RECORDS = (*_OF_PERSONS, "course", "module", "object")
_READ_AGAIN_SECONDS = 2
_NO_PERSONS = Persons(frozenset())
_KEPT_EVENTS = "course_module_(created|updated|deleted)$"
"""Lifecycle rows of these events are about a module. All others are about a person."""


def own_rows(log: pa.Table, persons: Persons) -> pa.ChunkedArray:
    """The rows of a log that name one of these persons in their columns of ids, as a mask.

    Args:
        log: a ``MOODLE_LOG`` or ``EXPANDED_LOG`` table.
        persons: who is looked for.
    """
    found = persons.has_id(log[USER_IDS[0]])
    for name in USER_IDS[1:]:
        found = pc.or_(found, persons.has_id(log[name]))
    of_context = pc.fill_null(pc.equal(log["contextlevel"], _USER_LEVEL), False)
    found = pc.or_(found, pc.and_(of_context, persons.has_id(log["contextinstanceid"])))
    of_user = pc.fill_null(pc.equal(log["objecttable"].cast(pa.string()), "user"), False)
    found = pc.or_(found, pc.and_(of_user, persons.has_id(log["objectid"])))
    for name, key in _PERSON_RECORDS.items():
        if name in log.column_names:
            found = pc.or_(found, _has_record(log[name], key, persons))
    return found


def _has_record(column: pa.ChunkedArray, key: str, persons: Persons) -> pa.ChunkedArray:
    """Which records have the id of one of these persons under a key."""
    texts = column.cast(pa.string())
    distinct = pc.unique(texts).drop_null()
    suspected = distinct.filter(persons.may_hold(distinct)).to_pylist()
    records = {text: orjson.loads(text) for text in suspected}
    theirs = [text for text, it in records.items() if it and it.get(key) in persons.ids]
    return pc.is_in(texts, value_set=pa.array(theirs, pa.string()))


def without_persons(log: pa.Table, persons: Persons) -> pa.Table:
    """The rows of a log without some persons: the same rows, in the same order.

    The same rows give the same result, so rows that were changed before stay as they are.

    Args:
        log: a ``MOODLE_LOG`` or ``EXPANDED_LOG`` table.
        persons: who goes.
    """
    own = own_rows(log, persons)
    if pc.any(own).as_py():
        log = _anonymous(log, own, persons)
    if pa.types.is_dictionary(log.schema.field("other").type):
        for name in _RECORDS:
            column = cleaned(log[name], persons, drop_owned=name == "object")
            log = _replaced(log, name, column)
        return log
    return _replaced(log, "other", _without_in_event_data(log["other"], persons))


def _anonymous(log: pa.Table, own: pa.ChunkedArray, persons: Persons) -> pa.Table:
    for name in USER_IDS:
        log = _nulled(log, name, persons.has_id(log[name]))
    of_context = pc.fill_null(pc.equal(log["contextlevel"], _USER_LEVEL), False)
    for name in ("contextid", "contextinstanceid"):
        log = _nulled(log, name, pc.and_(own, of_context))
    table, component = log["objecttable"].cast(pa.string()), log["component"].cast(pa.string())
    is_personal = pc.and_(own, pc.invert(belong_to_no_person(table, component)))
    names = [name for name in ("ip", *_OF_PERSONS) if name in log.column_names]
    for name in names:
        log = _nulled(log, name, own)
    for name in ("objectid", "object"):
        if name in log.column_names:
            log = _nulled(log, name, is_personal)
    return _replaced(log, "anonymous", pc.if_else(own, 1, log["anonymous"]))


def _without_in_event_data(other: pa.ChunkedArray, persons: Persons) -> pa.ChunkedArray:
    """Event data as Moodle stores it; a value that has to be changed becomes JSON."""
    texts = pc.unique(other).drop_null()
    suspected = texts.filter(persons.may_hold(texts))
    if not len(suspected):
        return other
    decoded, _ = decode_column(pa.chunked_array([suspected]))
    changed: dict[str, str | None] = {}
    for text, json in zip(suspected.to_pylist(), decoded.to_pylist(), strict=True):
        # What cannot be decoded cannot be searched either.
        new = None if json is None else clean_text(json, persons, drop_owned=False)
        if new != json or json is None:
            changed[text] = new
    if not changed:
        return other
    positions = pc.index_in(other, value_set=pa.array(list(changed), pa.string()))
    renewed = pa.array(list(changed.values()), pa.string()).take(positions.combine_chunks())
    return pc.if_else(pc.is_valid(positions), pa.chunked_array([renewed]), other)


def lifecycle_without(rows: pa.Table, persons: Persons) -> pa.Table:
    """Lifecycle rows (``lookups.log_lifecycle``) without some persons.

    Rows about a person go. Rows about a module that one of them made or deleted stay, without the
    person.
    """
    theirs = pc.or_(
        pc.or_(persons.has_id(rows["userid"]), persons.has_id(rows["realuserid"])),
        persons.has_id(rows["relateduserid"]),
    )
    if pc.any(theirs).as_py():
        of_module = pc.match_substring_regex(rows["eventname"], _KEPT_EVENTS)
        kept = pc.or_(pc.invert(theirs), pc.fill_null(of_module, False))
        rows, theirs = rows.filter(kept), theirs.filter(kept)
        for name in ("userid", "realuserid", "relateduserid", "ip"):
            rows = _nulled(rows, name, theirs)
    return _replaced(rows, "other", _without_in_event_data(rows["other"], persons))


def _nulled(table: pa.Table, name: str, rows: pa.ChunkedArray) -> pa.Table:
    if not pc.any(rows).as_py():
        return table
    column, kind = table[name], table.schema.field(name).type
    if pa.types.is_dictionary(kind):
        mask = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
        array = column.unify_dictionaries().combine_chunks()
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        indices = pc.if_else(mask, pa.scalar(None, array.indices.type), array.indices)
        dictionary = pa.DictionaryArray.from_arrays(indices, array.dictionary)
        return _replaced(table, name, pa.chunked_array([dictionary]))
    return _replaced(table, name, pc.if_else(rows, pa.scalar(None, kind), column))


def _replaced(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(name), column)


def accounts(database: MoodleDatabase, users: Collection[int]) -> frozenset[UserAccount]:
    """What Moodle's user table says of some users now, also of those that it has deleted."""
    records = database.records("user", _ACCOUNT_FIELDS, {"id": users})
    return frozenset(UserAccount.of(record) for record in records)


@dataclass
class ErasedPersons:
    """The erased persons of a site, in what is read from Moodle.

    Args:
        read: reads the tombstones. It is asked again every few seconds, for a person may be erased
            while a run is under way.
    """

    read: ReadTombstones
    _read_at: float = -_READ_AGAIN_SECONDS
    _tombstones: Tombstones = NOBODY
    _persons: Persons = _NO_PERSONS

    def of(self, database: MoodleDatabase, table: pa.Table) -> Persons:
        """The erased persons among all users of Moodle, and among those whom a table names."""
        now = time.monotonic()
        if now >= self._read_at + _READ_AGAIN_SECONDS:
            self._read_at = now
            tombstones = self.read()
            if tombstones != self._tombstones:
                self._tombstones = tombstones
                users = (record["id"] for record in database.records("user", ("id",)))
                self._persons = _known(database, tombstones.among(users))
        if self._tombstones:
            named = self._tombstones.among(
                user for name in USER_IDS for user in pc.unique(table[name]).drop_null().to_pylist()
            )
            if not named <= self._persons.ids:
                self._persons = _known(database, self._persons.ids | named)
        return self._persons


def without_erased(
    database: MoodleDatabase,
    table: pa.Table,
    change: Callable[[pa.Table, Persons], pa.Table] = without_persons,
) -> pa.Table:
    """Rows that were read from Moodle, without the persons who were erased.

    Args:
        database: knows the tombstones of its site, or none.
        table: the rows.
        change: `without_persons` or `lifecycle_without`, by the kind of the rows.
    """
    if database.erased is None or not table.num_rows:
        return table
    persons = database.erased.of(database, table)
    return change(table, persons) if persons else table


def _known(database: MoodleDatabase, users: frozenset[int]) -> Persons:
    return Persons(users, accounts(database, users) if users else frozenset())
