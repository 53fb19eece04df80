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

from collections.abc import Mapping, Sequence

import numpy as np

from caliper_dagster.expander.columns import Flags, Integers, RecordColumn
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
from caliper_dagster.expander.objects.rows import Kind, KindById, Row, Source

__all__ = ["Kind", "KindById", "Row", "Source", "kind_of", "place", "place_by_id"]

_SUBJECTS = (assign, competencies, grades, lesson, quiz, scorm, social, surveys, tables, workshop)

KINDS: Mapping[str, Kind | KindById] = {
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


def kind_of(event: str, table: str) -> Kind | KindById | None:
    """The kind of object of rows with this event and ``objecttable``; None where they have none."""
    return EVENT_KINDS.get(event) or KINDS.get(table)


def place(
    source: Source, column: RecordColumn, kind: Kind, positions: Integers, rows: Sequence[Row]
) -> list[tuple[int, str]]:
    """Put objects of one kind into the column ``object``.

    Args:
        source: where objects are looked up.
        column: the column.
        kind: the kind.
        positions: where in the column each row is.
        rows: references of each row.

    Returns:
        Position and ``table:id`` of each row that names an object which was not found.
    """
    codes: dict[int, int] = {}
    placed: list[int] = []
    missing = []
    found = kind.find(source, rows)
    for position, row, record in zip(positions.tolist(), rows, found, strict=True):
        code = -1
        if record is not None:
            code = codes.get(id(record), -1)
            if code < 0:
                code = codes[id(record)] = column.add({"table": kind.table, **record})
        elif not row.anonymous and (reference := kind.unresolved(row)):
            missing.append((position, reference))
        placed.append(code)
    column.put(positions, placed)
    return missing


def place_by_id(
    source: Source, column: RecordColumn, kind: KindById, positions: Integers, ids: Integers
) -> Flags:
    """Like :func:`place`, by the ``objectid`` of each row.

    Returns:
        The rows for which there is no record.
    """
    wanted, places = np.unique(ids, return_inverse=True)
    records = kind.records(source, wanted[wanted > 0].tolist())
    codes = np.array(
        [
            column.add({"table": kind.table, **records[id_]}) if id_ in records else -1
            for id_ in wanted.tolist()
        ]
    )[places]
    column.put(positions, codes)
    return codes < 0
