"""Loaders of objects: the types that the modules of this package define their loaders with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.event_data import as_id
from caliper_dagster.expander.lookups.grade_items import GradeItems
from caliper_dagster.expander.lookups.log_lifecycle import LogLifecycle
from caliper_dagster.expander.lookups.people import Site

SECONDS_BEFORE_LOG_ROW = 60
"""A request may write a record so many seconds before its log row."""

SECONDS_AFTER_LOG_ROW = 10
"""A request may write a record so many seconds after its log row."""


class LogReference(NamedTuple):
    """The columns of one log row by which its object is found.

    Attributes:
        event: name of the event.
        table: ``objecttable``; empty where the row has none.
        id: ``objectid``; 0 where it names no object.
        log_id: id of the log row.
        time: Unix time of the row.
        user: ``userid``; 0 in anonymous rows: nothing is looked up by their users (rule R1).
        related: ``relateduserid``; 0 where there is none, and in anonymous rows.
        anonymous: whether the row is anonymous.
        other: decoded event data; empty where it is not a map.
        module: the row's record of the column ``module``; empty where there is none.
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
        """The user whom the row is about: the related user, else the acting user."""
        return self.related or self.user

    @property
    def instance(self) -> int:
        """Id of the activity (not of its course module); 0 where it is unknown."""
        return int(self.module.get("instance") or 0)


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where objects are looked up.

    Attributes:
        database: the open Moodle database.
        site: what the site's configuration says.
        lifecycle: what the whole log says about deleted things.
        modules: the records of the column ``module`` of modules that exist, by id.
        grade_items: the grade items that were looked up.
    """

    database: MoodleDatabase
    site: Site
    lifecycle: LogLifecycle
    modules: dict[int, Record] = field(default_factory=dict)
    grade_items: GradeItems = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "grade_items", GradeItems(self.database))

    def by_id(
        self, table: str, columns: Iterable[str], ids: Iterable[int], key: str = "id"
    ) -> dict[int, Record]:
        """Records by one of their columns, which must be one of ``columns``."""
        return {record[key]: record for record in self.database.records(table, columns, {key: ids})}


LoadedRecords = Sequence[Record | None]
"""The record of each row, None where there is none."""
Load = Callable[[Lookup, Sequence[LogReference]], LoadedRecords]
LoadById = Callable[[Lookup, Iterable[int]], Mapping[int, Record]]
FindGradedAttempt = Callable[[int, int, int, Any], Record | None]
"""The attempt that a grade comes from: of (activity's id, user's id, Unix time, the grade as the
event data has it). None where it comes from none, or from one that is not known."""


def by_objectid(row: LogReference) -> int:
    """The id that most rows refer to their object by."""
    return row.id


@dataclass(frozen=True, slots=True)
class ObjectByIdLoader:
    """Loads objects that are found by ``objectid`` alone.

    Attributes:
        table: value of ``table`` in the records.
        load: returns records by id.
        reads: the tables that it reads besides ``table``.
    """

    table: str
    load: LoadById
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectLoader:
    """Loads objects that are found by several columns of the log row.

    Attributes:
        table: value of ``table`` in the records.
        load: returns the record of each row, None where there is none. Rows that share a record get
            the same Python object, which nobody copies or changes afterwards.
        id_of: the id that a row refers to; 0 where it refers to none, which is then not reported as
            unresolved.
        id_table: table of that id, where it is not ``table``.
        reads: the tables that it reads besides ``table``.
    """

    table: str
    load: Load
    id_of: Callable[[LogReference], int] = by_objectid
    id_table: str = ""
    reads: tuple[str, ...] = ()

    def unresolved(self, row: LogReference) -> str | None:
        """The reference of a row whose object was not found, as ``table:id``."""
        id_ = self.id_of(row)
        return f"{self.id_table or self.table}:{id_}" if id_ else None


def id_from_other(*names: str) -> Callable[[LogReference], int]:
    """A function that returns the first id among these members of a row's event data, else 0."""

    def id_of(row: LogReference) -> int:
        return next((id_ for name in names if (id_ := as_id(row.other.get(name)))), 0)

    return id_of
