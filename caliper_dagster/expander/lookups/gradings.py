"""Gradings that the log tells twice: by the activity, and by the gradebook in the same request.

The later of the two rows can always know the earlier, also over the boundary of an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from caliper_dagster.core.hours import SECONDS
from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.event_data import as_id, decode
from caliper_dagster.expander.log_rows import MODULE_LEVEL, LogRows
from caliper_dagster.expander.lookups.activities import find_modules
from caliper_dagster.expander.record_columns import integers

_GRADEBOOK = r"\core\event\user_graded"
_OF_ACTIVITIES = (
    r"\mod_assign\event\submission_graded",
    r"\mod_h5pactivity\event\statement_received",
    r"\mod_quiz\event\attempt_graded",
    r"\mod_quiz\event\attempt_manual_grading_completed",
    r"\mod_quiz\event\attempt_regraded",
    r"\mod_scorm\event\scoreraw_submitted",
)
_EVENTS = (_GRADEBOOK, *_OF_ACTIVITIES)
_MAX_SECONDS = 60
"""Seconds within which two rows tell the same grading."""

_COLUMNS = (
    "id", "timecreated", "eventname", "userid", "relateduserid", "contextlevel",
    "contextinstanceid", "other",
)  # fmt: skip


class _Grading(NamedTuple):
    """A log row that tells a grading.

    Attributes:
        position: position of the row; -1 of a row that is not among them.
        module: id of the course module; 0 where it is unknown.
        item: id of the grade item, of rows of the gradebook.
    """

    id: int
    time: int
    position: int
    event: str
    learner: int
    module: int
    item: int


def told_before(
    database: MoodleDatabase, rows: LogRows, already_expanded: pa.Table | None
) -> Iterator[tuple[int, dict[str, object]]]:
    """The earlier row of each row whose grading was told before.

    Args:
        database: an open Moodle database.
        rows: log rows of whole hours.
        already_expanded: the other log rows of these hours.

    Yields:
        Position of the row and the earlier row: its ``id``, ``timecreated`` and ``eventname``. Both
        have the same learner and activity, and at most 60 seconds lie between them. Each row is the
        earlier one of at most one other, and the later one of at most one.
    """
    own = list(_among(rows))
    if not own:
        return
    gradings = [*own, *_elsewhere(database, rows, own, already_expanded)]
    waiting: dict[tuple[int, int, bool], list[_Grading]] = {}
    for grading in sorted(_with_modules(database, gradings)):
        is_gradebook = grading.event == _GRADEBOOK
        others = waiting.get((grading.learner, grading.module, not is_gradebook), [])
        if others and abs(grading.time - others[-1].time) <= _MAX_SECONDS:
            earlier = others.pop()
            if grading.position >= 0:
                yield (
                    grading.position,
                    {
                        "id": earlier.id,
                        "timecreated": earlier.time,
                        "eventname": earlier.event,
                    },
                )
        else:
            key = (grading.learner, grading.module, is_gradebook)
            waiting.setdefault(key, []).append(grading)


def _among(rows: LogRows) -> Iterator[_Grading]:
    names, codes = rows.texts("eventname")
    wanted = [code for code, name in enumerate(names) if name in _EVENTS]
    if not wanted:
        return
    positions = np.flatnonzero(np.isin(codes, wanted) & rows.identified)
    columns = zip(
        positions.tolist(),
        rows.ids[positions].tolist(),
        rows.times[positions].tolist(),
        codes[positions].tolist(),
        rows.users["user"][positions].tolist(),
        rows.users["relateduser"][positions].tolist(),
        rows.modules[positions].tolist(),
        rows.others(positions),
        strict=True,
    )
    for position, id_, time, code, user, related, module, other in columns:
        yield _grading(id_, time, position, names[code], user, related, module, other)


def _grading(
    id_: int,
    time: int,
    position: int,
    event: str,
    user: int,
    related: int,
    module: int,
    other: object,
) -> _Grading:
    data = other if isinstance(other, dict) else {}
    item = as_id(data.get("itemid")) if event == _GRADEBOOK else 0
    learner = max(related, 0) or max(user, 0)
    return _Grading(id_, time, position, event, learner, 0 if item else max(module, 0), item)


def _elsewhere(
    database: MoodleDatabase,
    rows: LogRows,
    own: Iterable[_Grading],
    already_expanded: pa.Table | None,
) -> Iterator[_Grading]:
    """The gradings of the seconds before these hours, and those that are expanded already."""
    hours = set(np.unique(rows.times // SECONDS).tolist())
    before = sorted(hour * SECONDS for hour in hours if hour - 1 not in hours)
    starts = {grading.time - _MAX_SECONDS for grading in own}
    before = [start for start in before if any(time < start <= time + 60 for time in starts)]
    if already_expanded is not None and already_expanded.num_rows:
        yield from _in_table(already_expanded)
    for start in before:
        yield from _in_log(database, start - _MAX_SECONDS, start)


def _in_table(table: pa.Table) -> Iterator[_Grading]:
    names = table["eventname"].cast(pa.string())
    chosen = table.filter(
        pc.and_(
            pc.is_in(names, pa.array(_EVENTS, pa.string())),
            pa.array(integers(table["anonymous"]) != 1),
        )
    ).select(_COLUMNS)
    yield from map(_of_record, chosen.to_pylist())


def _in_log(database: MoodleDatabase, start: int, end: int) -> Iterator[_Grading]:
    log = database.quoted("logstore_standard_log")
    names = {f"name{number}": name for number, name in enumerate(_EVENTS)}
    found = database.execute(
        sa.text(
            f"SELECT {', '.join(_COLUMNS)} FROM {log} WHERE timecreated >= :start AND "
            "timecreated < :end AND anonymous = 0 "
            f"AND eventname IN ({', '.join(f':{name}' for name in names)})"
        ),
        start=start,
        end=end,
        **names,
    )
    for row in found:
        yield _of_record(dict(zip(_COLUMNS, row, strict=True)))


def _of_record(row: dict[str, object]) -> _Grading:
    in_module = row["contextlevel"] == MODULE_LEVEL
    numbers = {
        name: value if isinstance(value, int) else 0
        for name, value in row.items()
        if name not in {"eventname", "other"}
    }
    return _grading(
        numbers["id"],
        numbers["timecreated"],
        -1,
        str(row["eventname"]),
        numbers["userid"],
        numbers["relateduserid"],
        numbers["contextinstanceid"] if in_module else 0,
        decode(str(row["other"] or "")),
    )


def _with_modules(database: MoodleDatabase, gradings: list[_Grading]) -> Iterator[_Grading]:
    """The gradings whose learner and activity are known."""
    items = {
        item["id"]: (item["itemmodule"], item["iteminstance"])
        for item in database.records(
            "grade_items",
            ("id", "itemmodule", "iteminstance"),
            {"id": {grading.item for grading in gradings if grading.item}},
            "itemtype = 'mod' AND itemnumber = 0",
            ("itemtype", "itemnumber"),
        )
    }
    modules = find_modules(database, set(items.values()))
    for grading in gradings:
        module = modules.get(items.get(grading.item, ("", 0)), 0) or grading.module
        if module and grading.learner:
            yield grading._replace(module=module)
