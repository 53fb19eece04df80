"""Workshops: submissions, and what peers said they are worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.objects.rows import KindById, Latest, Source

_SUBMISSION = (
    "id", "workshopid", "authorid", "title", "grade", "gradeover", "timecreated", "timemodified",
)  # fmt: skip


def submissions(source: Source, ids: Iterable[int]) -> Mapping[int, Record]:
    """Submissions: ``workshop_submissions`` without what was submitted."""
    return source.by_id("workshop_submissions", _SUBMISSION, ids)


def assessments(source: Source, ids: Iterable[int]) -> Mapping[int, Record]:
    """Assessments: ``workshop_assessments`` with the ``authorid`` of the submission.

    The grades are today's: of 100, whatever the workshop counts in.
    """
    found = source.by_id(
        "workshop_assessments",
        (
            "id", "submissionid", "reviewerid", "grade", "gradinggrade", "timecreated",
            "timemodified",
        ),
        ids,
    )  # fmt: skip
    submitted = source.by_id(
        "workshop_submissions",
        ("id", "authorid"),
        {assessment["submissionid"] for assessment in found.values()},
    )
    for assessment in found.values():
        author = submitted.get(assessment["submissionid"], {}).get("authorid")
        assessment["authorid"] = author
    return found


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


KINDS: Mapping[str, KindById] = {
    "workshop_submissions": KindById("workshop_submissions", submissions),
    "workshop_assessments": KindById("workshop_assessments", assessments),
}
