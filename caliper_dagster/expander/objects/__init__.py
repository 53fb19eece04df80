"""The objects of rows: what each row was done to, as it was at the time of the row.

Tables hold the present. Where a row is older than the last change of its object, what came later
is taken back (an attempt that was not finished yet) or looked up in the history (a grade that was
changed since); where Moodle keeps no history, today's value is given.

Most objects are one record of one table (``tables``). Those that need more have a module by their
subject. Which kind a row has is decided by its event, where ``objecttable`` and ``objectid`` do not
say what the row is about, else by ``objecttable``. Activities have no kind: they are in the column
``module``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from caliper_dagster.expander.columns import RecordColumn
from caliper_dagster.expander.objects import (
    assign,
    competencies,
    grades,
    h5p,
    lesson,
    quiz,
    scorm,
    social,
    surveys,
    tables,
    workshop,
)
from caliper_dagster.expander.objects.rows import Kind, Row, Source

__all__ = ["Row", "Source", "kind_of", "place"]

_SUBJECTS = (assign, competencies, grades, lesson, quiz, scorm, social, surveys, tables, workshop)

KINDS: Mapping[str, Kind] = {
    table: kind for subject in _SUBJECTS for table, kind in subject.KINDS.items()
}
EVENT_KINDS: Mapping[str, Kind] = {
    event: kind
    for kinds in (
        h5p.EVENT_KINDS,
        lesson.EVENT_KINDS,
        quiz.EVENT_KINDS,
        scorm.EVENT_KINDS,
        social.EVENT_KINDS,
        surveys.EVENT_KINDS,
        tables.EVENT_KINDS,
    )
    for event, kind in kinds.items()
}


def kind_of(event: str, table: str) -> Kind | None:
    """The kind of object of rows with this event and ``objecttable``; None where they have none."""
    return EVENT_KINDS.get(event) or KINDS.get(table)


def place(
    source: Source, column: RecordColumn, rows: Iterable[tuple[int, Row]]
) -> list[tuple[int, str]]:
    """Fill the column ``object``.

    Args:
        source: where objects are looked up.
        column: the column.
        rows: position and references of each row that may have an object.

    Returns:
        Position and ``table:id`` of each row that names an object which was not found.
    """
    by_kind: dict[int, tuple[Kind, list[tuple[int, Row]]]] = {}
    for position, row in rows:
        kind = kind_of(row.event, row.table)
        if kind is not None:
            by_kind.setdefault(id(kind), (kind, []))[1].append((position, row))
    missing = []
    for kind, members in by_kind.values():
        found = kind.find(source, [row for _, row in members])
        codes: dict[int, int] = {}
        positions: list[int] = []
        placed: list[int] = []
        for (position, row), record in zip(members, found, strict=True):
            if record is not None:
                code = codes.get(id(record))
                if code is None:
                    code = codes[id(record)] = column.add({"table": kind.table, **record})
                positions.append(position)
                placed.append(code)
            elif not row.anonymous and (reference := kind.unresolved(row)):
                missing.append((position, reference))
        column.put(positions, placed)
    return missing
