"""Competencies of users: what was rated, and the words of the scale that it was rated with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.objects.rows import Found, Kind, Row, Source, number

_STANDINGS: Mapping[str, tuple[str, ...]] = {
    "competency_usercomp": ("status", "proficiency", "grade"),
    "competency_usercompcourse": ("courseid", "proficiency", "grade"),
    "competency_usercompplan": ("planid", "proficiency", "grade"),
}


def standings(table: str, source: Source, rows: Sequence[Row]) -> Found:
    """Where users stand in a competency: the record of the table with its ``name``.

    Rows that rate also have ``scale_item``, the word of the scale that ``other.grade`` stands for;
    null where the scale does not reach so far.
    """
    found = source.by_id(
        table, ("id", "userid", "competencyid", *_STANDINGS[table]), [row.id for row in rows]
    )
    competencies = source.by_id(
        "competency",
        ("id", "shortname", "competencyframeworkid", "scaleid"),
        {record["competencyid"] for record in found.values()},
    )
    scales = _Scales(source, competencies.values()) if any(map(_rating, rows)) else None
    records: list[Record | None] = []
    for row in rows:
        record = found.get(row.id)
        competency = competencies.get(record["competencyid"], {}) if record else {}
        named = record and {**record, "name": competency.get("shortname")}
        if named and scales and (grade := _rating(row)):
            named["scale_item"] = scales.item(competency, grade)
        records.append(named)
    return records


def _rating(row: Row) -> int:
    return number(row.other.get("grade"))


class _Scales:
    """Scales of competencies: their own, or that of the framework."""

    def __init__(self, source: Source, competencies: Iterable[Record]) -> None:
        competencies = list(competencies)
        self._frameworks = source.by_id(
            "competency_framework",
            ("id", "scaleid"),
            {competency["competencyframeworkid"] for competency in competencies},
        )
        scales = source.by_id(
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
        """The word for a grade, which counts from 1."""
        items = self._items.get(self._scale(competency), [])
        return items[grade - 1] if grade <= len(items) else None


def _kind(table: str) -> Kind:
    def find(source: Source, rows: Sequence[Row]) -> Found:
        return standings(table, source, rows)

    return Kind(table, find)


KINDS: Mapping[str, Kind] = {table: _kind(table) for table in _STANDINGS}
