"""Workshops: submissions, and what peers said they are worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander.database import Record
from caliper_dagster.expander.objects.rows import Found, Kind, Latest, Row, Source

_SUBMISSION = (
    "id", "workshopid", "authorid", "title", "grade", "gradeover", "timecreated", "timemodified",
)  # fmt: skip


def submissions(source: Source, rows: Sequence[Row]) -> Found:
    """Submissions: ``workshop_submissions`` without what was submitted."""
    found = source.by_id("workshop_submissions", _SUBMISSION, [row.id for row in rows])
    return [found.get(row.id) for row in rows]


def assessments(source: Source, rows: Sequence[Row]) -> Found:
    """Assessments: ``workshop_assessments`` with the ``authorid`` of the submission.

    The grades are today's: of 100, whatever the workshop counts in.
    """
    found = source.by_id(
        "workshop_assessments",
        (
            "id", "submissionid", "reviewerid", "grade", "gradinggrade", "timecreated",
            "timemodified",
        ),
        [row.id for row in rows],
    )  # fmt: skip
    submitted = source.by_id(
        "workshop_submissions",
        ("id", "authorid"),
        {assessment["submissionid"] for assessment in found.values()},
    )
    for assessment in found.values():
        author = submitted.get(assessment["submissionid"], {}).get("authorid")
        assessment["authorid"] = author
    return [found.get(row.id) for row in rows]


def latest(source: Source, wanted: Iterable[tuple[int, int]]) -> Latest:
    """The newest submission of an author that had been made at a time; examples are none."""
    wanted = list(wanted)
    found: dict[tuple[int, int], list[Record]] = {}
    for record in sorted(
        source.database.records(
            "workshop_submissions",
            _SUBMISSION,
            {
                "authorid": {user for _, user in wanted},
                "workshopid": {workshop for workshop, _ in wanted},
            },
            "example = 0",
            ("example", "timecreated"),
        ),
        key=lambda row: (row["timecreated"], row["id"]),
    ):
        found.setdefault((record["workshopid"], record["authorid"]), []).append(record)

    def find(workshop: int, user: int, time: int) -> Record | None:
        made = [row for row in found.get((workshop, user), []) if row["timecreated"] <= time]
        return {"table": "workshop_submissions", **made[-1]} if made else None

    return find


KINDS: Mapping[str, Kind] = {
    "workshop_submissions": Kind("workshop_submissions", submissions),
    "workshop_assessments": Kind("workshop_assessments", assessments),
}
