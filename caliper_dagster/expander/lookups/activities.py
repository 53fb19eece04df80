"""Courses, and course modules with the activity behind them, its dates and its grade item.

Which columns each activity table has to give is a table here; the same code reads them all. A
module that is not in it (a plugin's) gives its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from caliper_dagster.expander.columns import group_by
from caliper_dagster.expander.connection import MoodleDatabase, Record

_ACTIVITY = ("id", "course", "name")

ACTIVITY_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "assign": (
        "allowsubmissionsfromdate", "duedate", "cutoffdate", "grade", "maxattempts",
        "teamsubmission", "blindmarking",
    ),
    "bigbluebuttonbn": ("type", "openingtime", "closingtime"),
    "chat": ("chattime",),
    "choice": ("timeopen", "timeclose", "allowmultiple"),
    "data": (
        "timeavailablefrom", "timeavailableto", "timeviewfrom", "timeviewto", "requiredentries",
        "maxentries",
    ),
    "feedback": ("anonymous", "timeopen", "timeclose"),
    "forum": ("type", "duedate", "cutoffdate"),
    "glossary": ("mainglossary",),
    "h5pactivity": ("grade",),
    "imscp": ("revision",),
    "lesson": ("available", "deadline", "grade", "maxattempts", "timelimit", "retake"),
    "lti": ("typeid", "toolurl", "grade"),
    "quiz": ("timeopen", "timeclose", "timelimit", "grade", "sumgrades", "attempts"),
    "scorm": ("timeopen", "timeclose", "maxgrade", "maxattempt", "version"),
    "survey": ("template",),
    "url": ("externalurl",),
    "wiki": ("firstpagetitle", "wikimode"),
    "workshop": ("submissionstart", "submissionend", "grade", "gradinggrade", "phase"),
}  # fmt: skip

_TOOL = ("id", "name", "baseurl", "tooldomain", "ltiversion", "clientid")

SUBPLUGINS: Mapping[str, str] = {
    "assignfeedback": "assign",
    "assignsubmission": "assign",
    "booktool": "book",
    "forumreport": "forum",
    "ltiservice": "lti",
    "mod": "",
    "quiz": "quiz",
    "quizaccess": "quiz",
    "scormreport": "scorm",
}
"""Modules by the type of a plugin's component; empty where the rest of the name is the module."""

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
        of items of the scale that it is graded with), ``section_name`` (where it was given one) and
        ``mimetype`` (of a single-file resource). The activity of an external tool has its ``type``.
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
    _add_tools(database, found.values())
    _add_grading(database, list(found.values()))
    _add_sections(database, found.values())
    _add_mimetypes(database, found, contexts)
    return found


def module_of_component(component: str) -> str | None:
    """The module that a component is or belongs to: ``quiz`` of ``mod_quiz``, ``quiz_grading``."""
    kind, _, name = component.partition("_")
    return (SUBPLUGINS[kind] or name or None) if kind in SUBPLUGINS else None


def find_modules(
    database: MoodleDatabase, activities: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """Course module ids of activities, by (name of the module, id of the activity)."""
    wanted = set(activities)
    if not wanted:
        return {}
    names = {module["id"]: module["name"] for module in database.records("modules", ("id", "name"))}
    modules = {id_ for id_, name in names.items() if name in {name for name, _ in wanted}}
    found = {
        (names[record["module"]], record["instance"]): record["id"]
        for record in database.records(
            "course_modules",
            ("id", "module", "instance"),
            {"instance": {instance for _, instance in wanted}, "module": modules},
        )
    }
    return {activity: found[activity] for activity in wanted & found.keys()}


def modules_of(
    database: MoodleDatabase, activities: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], Record]:
    """Course modules, as :func:`course_modules` gives them, by activity."""
    ids = find_modules(database, activities)
    # Only the type of a file is found by context, and files are not graded.
    modules = course_modules(database, dict.fromkeys(ids.values())) if ids else {}
    return {activity: modules[id_] for activity, id_ in ids.items()}


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


def _add_tools(database: MoodleDatabase, modules: Iterable[Record]) -> None:
    """Type of each external tool: name, addresses, version of LTI, client id; never its secret."""
    tools = [module["activity"] for module in modules if module.get("activity", {}).get("typeid")]
    types = {
        record["id"]: record
        for record in database.records(
            "lti_types", _TOOL, {"id": {tool["typeid"] for tool in tools}}
        )
    }
    for tool in tools:
        if tool["typeid"] in types:
            tool["type"] = types[tool["typeid"]]


def _add_sections(database: MoodleDatabase, modules: Iterable[Record]) -> None:
    modules = list(modules)
    names = {
        section["id"]: section["name"]
        for section in database.records(
            "course_sections", ("id", "name"), {"id": {module["section"] for module in modules}}
        )
    }
    for module in modules:
        if names.get(module["section"]):
            module["section_name"] = names[module["section"]]


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
