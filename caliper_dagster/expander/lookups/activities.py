"""Courses, and course modules with their activity, its dates and its grade item.

``ACTIVITY_COLUMNS`` lists the columns that are read of each activity table; the same code reads
them all. Of an activity that is not in it (a plugin's), only the name is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.record_columns import group_by

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
"""Module by type of plugin; empty where the rest of the component's name is the module."""

_GRADE_ITEM = (
    "id", "courseid", "itemmodule", "iteminstance", "gradetype", "grademax", "gradepass", "scaleid",
    "idnumber",
)  # fmt: skip


def courses(database: MoodleDatabase, ids: Iterable[int]) -> dict[int, Record]:
    """Courses by id, each with the name and id number of its ``category``.

    A course with learning objectives has ``competencies``: ``id`` and ``name`` of each.
    """
    ids = set(ids)
    records = database.records(
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
            {"id": {course["category"] for course in records}},
        )
    }
    found = {
        course["id"]: {**course, "category": categories.get(course["category"])}
        for course in records
    }
    _add_competencies(database, "competency_coursecomp", "courseid", found)
    return found


def course_modules(
    database: MoodleDatabase, contexts: Mapping[int, int | None]
) -> dict[int, Record]:
    """Course modules by id.

    Args:
        database: an open Moodle database.
        contexts: course module id → id of its context, None where it is unknown.

    Returns:
        Records with ``id``, ``modname``, ``instance``, ``course``, ``section``, ``idnumber``,
        ``added``, and where the database has them ``activity``, ``grade_item``, ``scale_items``
        (number of items of the scale that it is graded with), ``section_name`` (where the section
        has a name of its own), ``mimetype`` (of a single-file resource) and ``competencies`` (see
        :func:`courses`). The activity of an external tool has its ``type``. Deleted modules have no
        record.
    """
    names = _module_names(database)
    records = {}
    for module in database.records(
        "course_modules",
        ("id", "course", "module", "instance", "section", "idnumber", "added"),
        {"id": contexts},
    ):
        module["modname"] = names.get(module.pop("module"))
        records[module["id"]] = module
    for modname, modules in _by_modname(records.values()).items():
        _add_activities(database, modname, modules)
    _add_tool_types(database, records.values())
    _add_grading(database, list(records.values()))
    _add_sections(database, records.values())
    _add_mimetypes(database, records, contexts)
    _add_competencies(database, "competency_modulecomp", "cmid", records)
    return records


def module_of_component(component: str) -> str | None:
    """The module of a component: ``quiz`` for ``mod_quiz`` and for its report ``quiz_grading``."""
    plugin_type, _, name = component.partition("_")
    if plugin_type not in SUBPLUGINS:
        return None
    return SUBPLUGINS[plugin_type] or name or None


def _module_names(database: MoodleDatabase) -> dict[int, str]:
    """The names of modules by the ids that ``course_modules`` has for them."""
    return {
        module["id"]: module["name"] for module in database.small_table("modules", ("id", "name"))
    }


def find_modules(
    database: MoodleDatabase, activities: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """Course module ids by activity, which is (name of the module, id of the activity)."""
    activities = set(activities)
    if not activities:
        return {}
    names = _module_names(database)
    modules = {id_ for id_, name in names.items() if name in {name for name, _ in activities}}
    ids = {
        (names[record["module"]], record["instance"]): record["id"]
        for record in database.records(
            "course_modules",
            ("id", "module", "instance"),
            {"instance": {instance for _, instance in activities}, "module": modules},
        )
    }
    return {activity: ids[activity] for activity in activities & ids.keys()}


def modules_of(
    database: MoodleDatabase,
    activities: Iterable[tuple[str, int]],
    known: Mapping[int, Record],
) -> dict[tuple[str, int], Record]:
    """Records of :func:`course_modules`, by activity.

    Args:
        database: an open Moodle database.
        activities: (name of the module, id of the activity).
        known: such records that were read before, by the id of the module.
    """
    ids = find_modules(database, activities)
    # The context is needed for the type of a file only, and files are not graded.
    modules = {
        id_: known[id_]
        for id_ in ids.values()
        if id_ in known and known[id_]["modname"] != "resource"
    }
    others = set(ids.values()) - modules.keys()
    if others:
        modules.update(course_modules(database, dict.fromkeys(others)))
    return {activity: modules[id_] for activity, id_ in ids.items()}


def _by_modname(modules: Iterable[Record]) -> dict[str, list[Record]]:
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


def _add_tool_types(database: MoodleDatabase, modules: Iterable[Record]) -> None:
    """Add the type of each external tool: name, addresses, LTI version, client id; no secret."""
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


def _add_competencies(
    database: MoodleDatabase, table: str, key: str, records: Mapping[int, Record]
) -> None:
    """Add ``competencies`` to the courses or modules whose learning objectives they are.

    Args:
        database: an open Moodle database.
        table: the table that links competencies.
        key: its column with the id of the course or module.
        records: courses or modules by id.
    """
    links = database.records(table, (key, "competencyid", "sortorder"), {key: records})
    names = {
        competency["id"]: competency["shortname"]
        for competency in database.records(
            "competency", ("id", "shortname"), {"id": {link["competencyid"] for link in links}}
        )
    }
    for id_, own in group_by(links, key).items():
        records[id_]["competencies"] = [
            {"id": link["competencyid"], "name": names.get(link["competencyid"])}
            for link in sorted(own, key=lambda link: (link["sortorder"] or 0, link["competencyid"]))
        ]


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
    """Add the grade item of each activity (``itemnumber`` 0) and the size of its scale."""
    items = database.records(
        "grade_items",
        _GRADE_ITEM,
        {"iteminstance": {module["instance"] for module in modules}},
        "itemtype = 'mod' AND itemnumber = 0",
        ("itemtype", "itemnumber"),
    )
    by_activity = {(item["itemmodule"], item["iteminstance"]): item for item in items}
    scale_ids: dict[int, int] = {}
    for module in modules:
        item = by_activity.get((module["modname"], module["instance"]))
        if item:
            module["grade_item"] = {
                key: item[key]
                for key in ("id", "gradetype", "grademax", "gradepass", "scaleid", "idnumber")
            }
        # A negative grade of an activity is the id of the scale that it is graded with.
        grade = module.get("activity", {}).get("grade") or 0
        scale = -int(grade) if grade < 0 else (item or {}).get("scaleid")
        if scale:
            scale_ids[module["id"]] = scale
    scales = {
        scale["id"]: len(scale["scale"].split(","))
        for scale in database.records("scale", ("id", "scale"), {"id": scale_ids.values()})
        if scale["scale"]
    }
    for module in modules:
        if scale_ids.get(module["id"]) in scales:
            module["scale_items"] = scales[scale_ids[module["id"]]]


def _add_mimetypes(
    database: MoodleDatabase, modules: Mapping[int, Record], contexts: Mapping[int, int | None]
) -> None:
    """Add the type of the main file of each resource: highest ``sortorder``, then lowest ``id``."""
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
    for context, own_files in group_by(files, "contextid").items():
        main = min(own_files, key=lambda file: (-(file["sortorder"] or 0), file["id"]))
        resources[context]["mimetype"] = main["mimetype"]
