"""What a finder of objects gets: one log row's references, and where to look them up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.lookups.people import Site

SAME_ACT = 60
"""Seconds that may lie between a log row and the record that the same request wrote before it."""

WRITTEN_LATER = 10
"""Seconds that may lie between a log row and what the same request wrote after it."""

_LARGEST = 2**63


class Row(NamedTuple):
    """One log row, as far as its object is found by it.

    Attributes:
        event: name of the event.
        table: ``objecttable``, empty where the row has none.
        id: ``objectid``; 0 where it names nothing.
        log_id: id of the log row.
        time: Unix time of the row.
        user: ``userid``, 0 in anonymous rows: nothing is looked up by their users (rule R1).
        related: ``relateduserid``, 0 where there is none and in anonymous rows.
        anonymous: whether the row is.
        other: decoded event data; empty where it is not a map.
        module: the row's course module as in the column ``module``; empty where there is none.
    """

    event: str
    table: str
    id: int
    log_id: int
    time: int
    user: int
    related: int
    anonymous: bool
    other: dict[str, Any]
    module: Record

    @property
    def learner(self) -> int:
        """Whom the row is about, else who acted."""
        return self.related or self.user

    @property
    def instance(self) -> int:
        """Id of the activity (not of its course module), 0 where it is not known."""
        return int(self.module.get("instance") or 0)


@dataclass(frozen=True, slots=True)
class Source:
    """Where objects are looked up."""

    database: MoodleDatabase
    site: Site

    def by_id(
        self, table: str, columns: Iterable[str], ids: Iterable[int], key: str = "id"
    ) -> dict[int, Record]:
        """Records by one of their columns, which must be among those read."""
        found = self.database.records(table, columns, {key: ids})
        return {record[key]: record for record in found}


Found = Sequence[Record | None]
Finder = Callable[[Source, Sequence[Row]], Found]
Records = Callable[[Source, Iterable[int]], Mapping[int, Record]]
Latest = Callable[[int, int, int], Record | None]
"""Newest attempt of (instance of the activity, user) at a time."""


def by_objectid(row: Row) -> int:
    """The key that most rows name."""
    return row.id


@dataclass(frozen=True, slots=True)
class KindById:
    """One kind of object whose records are found by ``objectid`` and nothing else.

    Attributes:
        table: what its records call themselves.
        records: gives records by id.
    """

    table: str
    records: Records


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object.

    Attributes:
        table: what its records call themselves.
        find: gives the record of each row, None where there is none. The same object for rows that
            share a record; it is neither copied nor changed afterwards.
        key: id that the row names; 0 where it names none, which is then nothing unresolved.
        reference: table of that id, where it is not ``table``.
    """

    table: str
    find: Finder
    key: Callable[[Row], int] = by_objectid
    reference: str = ""

    def unresolved(self, row: Row) -> str | None:
        """What a row names when nothing was found, as ``table:id``."""
        key = self.key(row)
        return f"{self.reference or self.table}:{key}" if key else None


def number(value: object) -> int:
    """An id out of event data, where it may be text, or anything; 0 where it is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value) if len(value) < 20 else 0
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST:
        return value
    return 0


def from_other(*names: str) -> Callable[[Row], int]:
    """A key that is the first of these members of the event data which holds an id."""

    def key(row: Row) -> int:
        return next((found for name in names if (found := number(row.other.get(name)))), 0)

    return key
