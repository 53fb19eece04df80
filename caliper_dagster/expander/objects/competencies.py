"""Competencies of users, and the item of the scale that a user was rated with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.event_data import as_id
from caliper_dagster.expander.objects.loader import (
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectLoader,
)

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "competency_usercomp": ("status", "proficiency", "grade"),
    "competency_usercompcourse": ("courseid", "proficiency", "grade"),
    "competency_usercompplan": ("planid", "proficiency", "grade"),
}


def user_competencies(table: str, lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Competencies of users: the record of the table with the competency's ``name``.

    Rows with a rating also have ``scale_item``, the item of the scale that ``other.grade`` counts
    to from 1; None where the scale has fewer items.
    """
    by_id = lookup.by_id(
        table, ("id", "userid", "competencyid", *_COLUMNS[table]), [row.id for row in rows]
    )
    competencies = lookup.by_id(
        "competency",
        ("id", "shortname", "competencyframeworkid", "scaleid"),
        {record["competencyid"] for record in by_id.values()},
    )
    scales = _Scales(lookup, competencies.values()) if any(map(_rating, rows)) else None
    records: list[Record | None] = []
    for row in rows:
        record = by_id.get(row.id)
        competency = competencies.get(record["competencyid"], {}) if record else {}
        with_name = record and {**record, "name": competency.get("shortname")}
        if with_name and scales and (grade := _rating(row)):
            with_name["scale_item"] = scales.item(competency, grade)
        records.append(with_name)
    return records


def _rating(row: LogReference) -> int:
    return as_id(row.other.get("grade"))


class _Scales:
    """Scales of competencies: the competency's own, else the framework's."""

    def __init__(self, lookup: Lookup, competencies: Iterable[Record]) -> None:
        competencies = list(competencies)
        self._frameworks = lookup.by_id(
            "competency_framework",
            ("id", "scaleid"),
            {competency["competencyframeworkid"] for competency in competencies},
        )
        scales = lookup.by_id(
            "scale", ("id", "scale"), {self._scale(competency) for competency in competencies}
        )
        self._items = {
            id_: [item.strip() for item in (scale["scale"] or "").split(",")]
            for id_, scale in scales.items()
        }

    def _scale(self, competency: Record) -> int:
        framework = self._frameworks.get(competency.get("competencyframeworkid") or 0, {})
        return competency.get("scaleid") or framework.get("scaleid") or 0

    def item(self, competency: Record, grade: int) -> str | None:
        """The item for a grade; grades count from 1."""
        items = self._items.get(self._scale(competency), [])
        return items[grade - 1] if grade <= len(items) else None


def _loader(table: str) -> ObjectLoader:
    def load(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
        return user_competencies(table, lookup, rows)

    return ObjectLoader(table, load, reads=("competency", "competency_framework", "scale"))


LOADERS: Mapping[str, ObjectLoader] = {table: _loader(table) for table in _COLUMNS}
