"""Grade items as of the time of a log row, also deleted ones.

Several objects have a grade item, and the rows of one table often the same ones. What was read once
is not read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.event_data import as_id
from caliper_dagster.expander.record_columns import (
    Integers,
    distinct_codes,
    distinct_pairs,
    last_before,
)

_COLUMNS = (
    "itemtype", "itemmodule", "iteminstance", "itemnumber", "itemname", "gradetype", "grademax",
    "scaleid", "idnumber",
)  # fmt: skip
_TODAY = 0
"""In place of the id of a version: the item as it is today."""


class GradeItem(NamedTuple):
    """A grade item as of a time.

    Attributes:
        record: ``id``, ``itemtype``, ``itemmodule``, ``iteminstance``, ``itemnumber``,
            ``itemname``, ``gradetype``, ``grademax``, ``scaleid``, ``idnumber``, ``scale_items``
            (number of items of the scale).
        activity: module and id of the graded activity; None for an item of no activity.
    """

    record: Record
    activity: tuple[str, int] | None


class _ReadOnce:
    """Records of a table by id, each read when it is first asked for."""

    def __init__(self, database: MoodleDatabase, table: str, columns: Sequence[str]) -> None:
        self._database, self._table, self._columns = database, table, columns
        self._asked: set[int] = set()
        self._records: dict[int, Record] = {}

    def including(self, ids: Iterable[int]) -> Mapping[int, Record]:
        """All records that were read, with those of these ids."""
        new = set(ids) - self._asked
        self._asked |= new
        for record in self._database.records(self._table, ("id", *self._columns), {"id": new}):
            self._records[record["id"]] = record
        return self._records


class GradeItems:
    """The grade items of a site.

    Args:
        database: an open Moodle database.
    """

    def __init__(self, database: MoodleDatabase) -> None:
        self._database = database
        self._today = _ReadOnce(database, "grade_items", _COLUMNS)
        self._past = _ReadOnce(database, "grade_items_history", _COLUMNS)
        self._scales = _ReadOnce(database, "scale", ("scale",))
        self._with_history: set[int] = set()
        self._history: Integers = np.zeros((3, 0), dtype=np.int64)
        self._by_content: dict[tuple[Any, ...], GradeItem] = {}

    def as_of(self, ids: Sequence[int], times: Sequence[int]) -> list[GradeItem | None]:
        """Grade items as of times: from ``grade_items_history``, else as they are today.

        A site has the history, also of deleted items, unless it turned it off or cleared it. The
        table has many versions of an item and few are needed: all columns are read of those only.

        Args:
            ids: ids of grade items.
            times: a Unix time for each of them.

        Returns:
            The item of each; equal items are the same Python object. None where there is none.
        """
        pairs, codes = distinct_pairs(
            np.array(ids, dtype=np.int64), np.array(times, dtype=np.int64)
        )
        today = self._today.including(id_ for id_, _ in pairs)
        versions = self._versions(pairs, today)
        past = self._past.including(version for version in versions if version != _TODAY)
        records = {
            key: past.get(key[1]) if key[1] != _TODAY else today.get(key[0])
            for key in {(id_, version) for (id_, _), version in zip(pairs, versions, strict=True)}
        }
        scales = self._scales.including(
            record["scaleid"] for record in records.values() if record and record["scaleid"]
        )
        items = {
            key: self._item(key[0], record, scales) if record else None
            for key, record in records.items()
        }
        found = [items[id_, version] for (id_, _), version in zip(pairs, versions, strict=True)]
        return list(map(found.__getitem__, codes.tolist()))

    def _versions(self, pairs: Sequence[tuple[int, int]], today: Mapping[int, Record]) -> list[int]:
        """The id in ``grade_items_history`` of each item's version that was valid at a time.

        It is the last version written by that time. Without one it is today's item; for a deleted
        item it is the first version.

        Args:
            pairs: ids of grade items, each with a Unix time.
            today: the items that still exist, by id.
        """
        item_ids, times = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        item, since, version = self._history_of(distinct_codes(item_ids)[0].tolist())
        if not len(item):
            return [_TODAY] * len(pairs)
        valid = last_before(item, since.clip(min=0), item_ids, times)
        items, first = np.unique(item, return_index=True)
        place = np.searchsorted(items, item_ids).clip(max=len(items) - 1)
        exists_today = np.fromiter((id_ in today for id_, _ in pairs), np.bool_, len(pairs))
        is_deleted = (items[place] == item_ids) & ~exists_today
        first_version = np.where(is_deleted, version[first[place]], _TODAY)
        versions: list[int] = np.where(valid >= 0, version[valid], first_version).tolist()
        return versions

    def _history_of(self, ids: Sequence[int]) -> Integers:
        """Item, Unix time and id of the versions, by time; with those of these items."""
        new = set(ids) - self._with_history
        if new:
            self._with_history |= new
            read = self._database.integers(
                "grade_items_history", ("oldid", "timemodified", "id"), {"oldid": new}
            )
            columns = [column.fill_null(0).to_numpy() for column in read.columns]
            history = np.concatenate([self._history, np.array(columns)], axis=1)
            self._history = history[:, np.lexsort(history[::-1])]
        return self._history

    def _item(self, id_: int, version: Record, scales: Mapping[int, Record]) -> GradeItem:
        content = (id_, *map(version.__getitem__, _COLUMNS))
        if content not in self._by_content:
            record: Record = {"id": id_, **{name: version[name] for name in _COLUMNS}}
            if version["scaleid"] in scales:
                names = scales[version["scaleid"]]["scale"] or ""
                record["scale_items"] = len(names.split(","))
            activity = None
            if version["itemtype"] == "mod" and version["itemmodule"]:
                activity = version["itemmodule"], as_id(version["iteminstance"])
            self._by_content[content] = GradeItem(record, activity)
        return self._by_content[content]
