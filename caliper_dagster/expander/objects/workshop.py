"""Workshops: submissions, and their assessments by peers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.objects.loader import (
    FindGradedAttempt,
    Lookup,
    ObjectByIdLoader,
)

_SUBMISSION = (
    "id", "workshopid", "authorid", "title", "grade", "gradeover", "timecreated", "timemodified",
)  # fmt: skip


def submissions(lookup: Lookup, ids: Iterable[int]) -> Mapping[int, Record]:
    """Submissions: ``workshop_submissions`` without what was submitted."""
    return lookup.by_id("workshop_submissions", _SUBMISSION, ids)


def assessments(lookup: Lookup, ids: Iterable[int]) -> Mapping[int, Record]:
    """Assessments: ``workshop_assessments`` with the ``authorid`` of the submission.

    The grades are today's, as percentages, whatever the workshop's maximum is.
    """
    records = lookup.by_id(
        "workshop_assessments",
        (
            "id", "submissionid", "reviewerid", "grade", "gradinggrade", "timecreated",
            "timemodified",
        ),
        ids,
    )  # fmt: skip
    submitted = lookup.by_id(
        "workshop_submissions",
        ("id", "authorid"),
        {assessment["submissionid"] for assessment in records.values()},
    )
    for assessment in records.values():
        author = submitted.get(assessment["submissionid"], {}).get("authorid")
        assessment["authorid"] = author
    return records


def graded(lookup: Lookup, pairs: Iterable[tuple[int, int]]) -> FindGradedAttempt:
    """Finds an author's newest submission made by a time; example submissions do not count."""
    pairs = list(pairs)
    by_pair: dict[tuple[int, int], list[Record]] = {}
    for record in sorted(
        lookup.database.records(
            "workshop_submissions",
            _SUBMISSION,
            {
                "authorid": {user for _, user in pairs},
                "workshopid": {workshop for workshop, _ in pairs},
            },
            "example = 0",
            ("example", "timecreated"),
        ),
        key=lambda row: (row["timecreated"], row["id"]),
    ):
        by_pair.setdefault((record["workshopid"], record["authorid"]), []).append(record)

    def find(workshop: int, user: int, time: int, _: object) -> Record | None:
        made = [row for row in by_pair.get((workshop, user), []) if row["timecreated"] <= time]
        return {"table": "workshop_submissions", **made[-1]} if made else None

    return find


LOADERS: Mapping[str, ObjectByIdLoader] = {
    "workshop_submissions": ObjectByIdLoader("workshop_submissions", submissions),
    "workshop_assessments": ObjectByIdLoader(
        "workshop_assessments", assessments, ("workshop_submissions",)
    ),
}
