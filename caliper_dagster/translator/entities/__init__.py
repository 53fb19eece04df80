"""One plain function per Caliper entity: from Moodle records to a Struct of ``caliper.entities``.

Each is called once for each distinct combination of the columns that its parameters name: columns
of ``EXPANDED_LOG``, and columns that the translator derives:

* ``actor``: id of the acting person, 0 for the site; None for the anonymous Person;
* ``cmid``: id of the row's course module;
* ``learner``, ``submitter``: the related and the acting user, one of whom the object of the row
  belongs to; None where nothing confirms it (:func:`actors.owners`);
* ``log``: id of the log row;
* ``log_mark``: a mark that the JSON holds in place of the id of the log row, so that entities which
  differ only by this id are made once;
* ``stand_in``: the same in rows without ``objectid``, None in all others (:func:`registry.id_or`).

A parameter is None where its column is null, and ids of users are null in anonymous rows. Values
that are None or empty are omitted from the JSON. ``registry`` registers functions for recipes.
"""

from caliper_dagster.translator.entities import (
    activities,
    assign,
    communication,
    generic,
    grades,
    lesson,
    organisation,
    people,
    quiz,
    surveys,
    tools,
)
from caliper_dagster.translator.entities.registry import ENTITY_FUNCTIONS, EntityFunction, Render

__all__ = [
    "ENTITY_FUNCTIONS",
    "EntityFunction",
    "Render",
    "activities",
    "assign",
    "communication",
    "generic",
    "grades",
    "lesson",
    "organisation",
    "people",
    "quiz",
    "surveys",
    "tools",
]
