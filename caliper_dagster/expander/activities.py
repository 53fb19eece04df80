"""Courses, and course modules with the activity behind them, its dates and its grade item.

Which columns each activity table has to give is a table here; the same code reads them all. A
module that is not in it (a plugin's) gives its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from caliper_dagster.expander.columns import group_by
from caliper_dagster.expander.database import MoodleDatabase, Record

_ACTIVITY = ("id", "course", "name")

ACTIVITY_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "assign": (
        "allowsubmissionsfromdate", "duedate", "cutoffdate", "grade", "maxattempts",
        "teamsubmission", "blindmarking",
    ),
    "choice": ("timeopen", "timeclose", "allowmultiple"),
    "feedback": ("anonymous", "timeopen", "timeclose"),
    "forum": ("type", "duedate", "cutoffdate"),
    "lesson": ("available", "deadline", "grade"),
    "lti": ("typeid", "toolurl", "grade"),
    "quiz": ("timeopen", "timeclose", "timelimit", "grade", "sumgrades", "attempts"),
    "scorm": ("timeopen", "timeclose", "maxgrade", "maxattempt"),
    "url": ("externalurl",),
    "workshop": ("submissionstart", "submissionend", "grade", "gradinggrade"),
}  # fmt: skip

_GRADE_ITEM = (
    "id", "courseid", "itemmodule", "iteminstance", "gradetype", "grademax", "gradepass", "scaleid"
)  # fmt: skip


def courses(database: MoodleDatabase, ids: Iterable[int]) -> dict[int, Record]:
    """Courses by id, each with the name and id number of its ``category``."""
    found = database.records(
        "course",
        (
            "id", "category", "fullname", "shortname", "idnumber", "startdate", "enddate",
            "timecreated", "visible",
        ),
        {"id": ids},
    )  # fmt: skip
    categories = {
        category["id"]: category
        for category in database.records(
            "course_categories",
            ("id", "name", "idnumber", "path"),
            {"id": {course["category"] for course in found}},
        )
    }
    return {
        course["id"]: {**course, "category": categories.get(course["category"])} for course in found
    }


def course_modules(
    database: MoodleDatabase, contexts: Mapping[int, int | None]
) -> dict[int, Record]:
    """Course modules by id.

    Args:
        database: where to look.
        contexts: course module id → id of its context.

    Returns:
        Records with ``id``, ``modname``, ``instance``, ``course``, ``section``, ``idnumber``,
        ``added``, and what could be found of ``activity``, ``grade_item``, ``scale_items`` (number
        of items of the scale that it is graded with) and ``mimetype`` (of a single-file resource).
        A module that is gone is not among them.
    """
    names = {module["id"]: module["name"] for module in database.records("modules", ("id", "name"))}
    found = {}
    for module in database.records(
        "course_modules",
        ("id", "course", "module", "instance", "section", "idnumber", "added"),
        {"id": contexts},
    ):
        module["modname"] = names.get(module.pop("module"))
        found[module["id"]] = module
    for modname, modules in _by_name(found.values()).items():
        _add_activities(database, modname, modules)
    _add_grading(database, list(found.values()))
    _add_mimetypes(database, found, contexts)
    return found


def _by_name(modules: Iterable[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for module in modules:
        if module["modname"]:
            groups.setdefault(module["modname"], []).append(module)
    return dict(sorted(groups.items()))


def _add_activities(database: MoodleDatabase, modname: str, modules: list[Record]) -> None:
    activities = {
        activity["id"]: activity
        for activity in database.records(
            modname,
            _ACTIVITY + ACTIVITY_COLUMNS.get(modname, ()),
            {"id": {module["instance"] for module in modules}},
        )
    }
    for module in modules:
        if module["instance"] in activities:
            module["activity"] = activities[module["instance"]]


def _add_grading(database: MoodleDatabase, modules: list[Record]) -> None:
    """The grade item of each activity (``itemnumber`` 0) and the size of the scale in use."""
    items = database.records(
        "grade_items",
        _GRADE_ITEM,
        {"iteminstance": {module["instance"] for module in modules}},
        "itemtype = 'mod' AND itemnumber = 0",
        ("itemtype", "itemnumber"),
    )
    by_activity = {(item["itemmodule"], item["iteminstance"]): item for item in items}
    wanted: dict[int, int] = {}
    for module in modules:
        item = by_activity.get((module["modname"], module["instance"]))
        if item:
            module["grade_item"] = {
                key: item[key] for key in ("id", "gradetype", "grademax", "gradepass", "scaleid")
            }
        # A negative grade of an activity is the id of the scale that it is graded with.
        grade = module.get("activity", {}).get("grade") or 0
        scale = -int(grade) if grade < 0 else (item or {}).get("scaleid")
        if scale:
            wanted[module["id"]] = scale
    scales = {
        scale["id"]: len(scale["scale"].split(","))
        for scale in database.records("scale", ("id", "scale"), {"id": wanted.values()})
        if scale["scale"]
    }
    for module in modules:
        if wanted.get(module["id"]) in scales:
            module["scale_items"] = scales[wanted[module["id"]]]


def _add_mimetypes(
    database: MoodleDatabase, modules: Mapping[int, Record], contexts: Mapping[int, int | None]
) -> None:
    """Type of the main file of each ``mod_resource``: the first by ``sortorder``, then ``id``."""
    resources = {
        contexts[module["id"]]: module
        for module in modules.values()
        if module["modname"] == "resource"
    }
    files = database.records(
        "files",
        ("id", "contextid", "mimetype", "sortorder"),
        {"contextid": resources},
        "component = 'mod_resource' AND filearea = 'content' AND filename <> '.'",
        ("component", "filearea", "filename"),
    )
    for context, found in group_by(files, "contextid").items():
        main = min(found, key=lambda file: (-(file["sortorder"] or 0), file["id"]))
        resources[context]["mimetype"] = main["mimetype"]
