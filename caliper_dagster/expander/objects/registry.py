"""Which loader the objects of a log row have, by the row's event or ``objecttable``.

The event decides where ``objecttable`` and ``objectid`` do not say what the row is about; all other
rows have the loader of their ``objecttable``. Activities have none: they are in the column
``module``.
"""

from __future__ import annotations

from collections.abc import Mapping

from caliper_dagster.expander.objects import (
    assign,
    competencies,
    grades,
    h5p,
    lesson,
    quiz,
    scorm,
    social,
    surveys,
    tables,
    workshop,
)
from caliper_dagster.expander.objects.loader import ObjectByIdLoader, ObjectLoader

_SUBJECTS = (assign, competencies, grades, lesson, quiz, scorm, social, surveys, tables, workshop)

LOADERS: Mapping[str, ObjectLoader | ObjectByIdLoader] = {
    table: loader for subject in _SUBJECTS for table, loader in subject.LOADERS.items()
}
"""Loaders by ``objecttable``."""

EVENT_LOADERS: Mapping[str, ObjectLoader] = {
    event: loader
    for loaders in (
        assign.EVENT_LOADERS,
        h5p.EVENT_LOADERS,
        lesson.EVENT_LOADERS,
        quiz.EVENT_LOADERS,
        scorm.EVENT_LOADERS,
        social.EVENT_LOADERS,
        surveys.EVENT_LOADERS,
        tables.EVENT_LOADERS,
    )
    for event, loader in loaders.items()
}
"""Loaders by event name; they take precedence over those by ``objecttable``."""


def loader_for(event: str, table: str) -> ObjectLoader | ObjectByIdLoader | None:
    """The loader of rows with this event and ``objecttable``; None where rows have no object."""
    return EVENT_LOADERS.get(event) or LOADERS.get(table)
