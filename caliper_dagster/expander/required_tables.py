"""The tables that a Moodle must have: a missing grant is not a missing table.

Tables that a Moodle version or an uninstalled plugin lacks read as empty (``connection``). A table
that the account may not read looks the same, and its events would leave without names, roles or
scores. So what must be readable is derived from what Moodle says about itself: its version
(``config``), its plugins (``config_plugins``) and its activities (``modules``).

A database whose ``config`` has no ``version`` is no installed Moodle but an extract of one, and
nothing is known about what it must have. The same holds for a file of SQLite, on which Moodle does
not run, and which knows no accounts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.wording import plural
from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.lookups.activities import ACTIVITY_COLUMNS
from caliper_dagster.expander.objects import (
    EVENT_LOADERS,
    LOADERS,
    ObjectByIdLoader,
    ObjectLoader,
    loader_for,
)

Loader = ObjectLoader | ObjectByIdLoader

_SELF_DESCRIPTION = ("config", "config_plugins", "modules")
_READ_FOR_ANY_ROW = (
    "user", "course", "course_categories", "course_modules", "course_sections", "context", "role",
    "role_assignments", "enrol", "user_enrolments", "groups", "groups_members", "grade_items",
    "grade_items_history", "grade_grades", "grade_grades_history", "scale", "competency",
    "competency_coursecomp", "competency_modulecomp",
)  # fmt: skip
_BEHIND_ACTIVITIES: Mapping[str, tuple[str, ...]] = {"lti": ("lti_types",), "resource": ("files",)}
"""Tables that are read with an activity and that no loader of objects reads."""

_ACTIVITIES = frozenset({*ACTIVITY_COLUMNS, "book"})
"""The activities that have tables besides their own, or own columns to read."""
_PLUGINS = (
    "assignsubmission_file", "assignsubmission_onlinetext", "quizaccess_seb", "tool_monitor",
    "tool_policy", "tool_recyclebin", "tool_usertours",
)  # fmt: skip
"""The plugins that are no activities and have tables that are read."""

OLDEST = 2015051100
"""Moodle 2.9, the first version whose tables are known."""

_2_9, _3_3, _4_1, _4_5 = OLDEST, 2017051500, 2022112800, 2024100700
_SINCE: Mapping[str, int] = {
    **dict.fromkeys(
        (
            "assign_overrides", "competency", "competency_coursecomp", "competency_evidence",
            "competency_framework", "competency_modulecomp", "competency_plan",
            "competency_template", "competency_usercomp", "competency_usercompcourse",
            "competency_usercompplan", "competency_userevidence", "lesson_overrides",
            "quiz_sections", "tag_coll",
        ),
        _3_3,
    ),
    **dict.fromkeys(
        (
            "adminpresets", "analytics_predictions", "contentbank_content", "customfield_category",
            "customfield_field", "h5p", "message_user_actions", "message_users_blocked", "messages",
            "notifications", "payment_accounts", "question_versions", "reportbuilder_audience",
            "reportbuilder_report", "reportbuilder_schedule",
        ),
        _4_1,
    ),
    **dict.fromkeys(
        ("quiz_grade_items", "scorm_attempt", "scorm_element", "scorm_scoes_value"), _4_5
    ),
}  # fmt: skip
"""The version from which on a table must exist: at the latest the one that brought it. Other tables
have been there since 2.9, the first version with this log."""
_DROPPED = frozenset(
    {"lesson_high_scores", "message", "message_read", "mnet_sso_access_control"}
    | {"scorm_scoes_track"}
)
"""Tables that later versions lack."""
KNOWN_BELOW = 2026010100
"""Versions from this one on may have dropped tables that this release does not know of."""


@dataclass(frozen=True, slots=True)
class MissingTables:
    """The tables that the account cannot read; names without prefix.

    Attributes:
        denied: this Moodle must have them; they may not be read, or are hidden from the account.
        absent: this Moodle must have them, and they are certainly not in the database.
        of_objects: log rows refer to their records, and no row depends on them: without them only
            the names of these records are lost. They are hidden from the account.
    """

    denied: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    of_objects: tuple[str, ...] = ()


def missing_tables(database: MoodleDatabase, loaders: Collection[Loader] = ()) -> MissingTables:
    """The tables that ought to be readable and are not.

    Args:
        database: an open Moodle database.
        loaders: those of the log rows that are looked at, for ``of_objects``.

    Raises:
        SourceError: the database cannot be read.
    """
    installed = None if database.dialect == "sqlite" else _Installed.read(database, loaders)
    if installed is None:
        return MissingTables()
    required = _unreadable(database, installed.required())
    of_objects = _unreadable(database, installed.of_objects(loaders)) - required
    absent = database.absent(required | of_objects)
    if installed.version >= KNOWN_BELOW:
        lasting = {*_SELF_DESCRIPTION, *_READ_FOR_ANY_ROW, *installed.activities}
        required -= absent - lasting
    return MissingTables(
        tuple(sorted(required - absent)),
        tuple(sorted(required & absent)),
        tuple(sorted(of_objects - absent)),
    )


def _unreadable(database: MoodleDatabase, tables: frozenset[str]) -> frozenset[str]:
    return frozenset(table for table in tables - database.without if not database.has_table(table))


def require(database: MoodleDatabase) -> None:
    """Refuse to expand log rows with less than what this Moodle has.

    Raises:
        ConfigurationError: a required table cannot be read, see :func:`missing_tables`.
        SourceError: the database cannot be read.
    """
    missing = missing_tables(database)
    tables = sorted((*missing.denied, *missing.absent))
    if not tables:
        return
    raise ConfigurationError(
        Sentence(
            SettingName("MOODLE_DB_URL"),
            f": this account cannot read {_named(database, tables)}, so events would lack names, "
            "roles or scores; `caliper-dagster doctor` prints the GRANT that is missing. Tables "
            "that a replica leaves out on purpose are named in ",
            SettingName("MOODLE_DB_WITHOUT"),
            ".",
        )
    )


def _named(database: MoodleDatabase, tables: Sequence[str], most: int = 5) -> str:
    names = [database.prefix + table for table in tables]
    if len(names) > most:
        return f"{', '.join(names[:most])} and {plural(len(names) - most, 'more table')}"
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def loaders_of(events_and_tables: Iterable[tuple[str, str]]) -> set[Loader]:
    """The loaders of log rows.

    Args:
        events_and_tables: ``eventname`` and ``objecttable`` of the rows; an empty text for none.
    """
    found = (loader_for(event, table) for event, table in events_and_tables)
    return {loader for loader in found if loader is not None}


@dataclass(frozen=True, slots=True)
class _Installed:
    """What Moodle says about itself."""

    version: int
    activities: frozenset[str]
    plugins: frozenset[str]

    @classmethod
    def read(cls, database: MoodleDatabase, loaders: Iterable[Loader]) -> _Installed | None:
        """Read it; None where the database is no installed Moodle."""
        version = 0
        if "config" not in database.without and database.has_table("config"):
            of_moodle = database.small_table(
                "config", ("value",), "name = 'version'", "name", "value"
            )
            if not of_moodle:
                return None
            version = int(float(of_moodle[0]["value"] or 0))
        plugins = database.small_table("config_plugins", ("plugin",), "name = 'version'", "name")
        if database.has_table("modules"):
            activities = {
                module["name"] for module in database.small_table("modules", ("id", "name"))
            }
        else:
            activities = {_owner(table) for loader in loaders for table in _tables(loader)}
        return cls(
            version,
            frozenset(name for name in activities if name),
            frozenset(str(plugin["plugin"]) for plugin in plugins),
        )

    def required(self) -> frozenset[str]:
        """The tables that must be readable."""
        tables = {*_SELF_DESCRIPTION, *_READ_FOR_ANY_ROW, *self.activities}
        for activity in self.activities:
            tables.update(_BEHIND_ACTIVITIES.get(activity, ()))
        for loader in (*LOADERS.values(), *EVENT_LOADERS.values()):
            if _owner(loader.table) in self.activities:
                tables.update(_tables(loader))
        return frozenset(table for table in tables if self._must_have(table))

    def of_objects(self, loaders: Iterable[Loader]) -> frozenset[str]:
        """The tables of the objects of log rows."""
        tables = {table for loader in loaders for table in _tables(loader)}
        return frozenset(table for table in tables if self._must_have(table))

    def _must_have(self, table: str) -> bool:
        owner = _owner(table)
        if owner in _PLUGINS:
            is_installed = owner in self.plugins
        else:
            is_installed = not owner or owner in self.activities
        # A version that is unknown is 2.9 at least.
        old_enough = max(self.version, _2_9) >= _SINCE.get(table, _2_9)
        return is_installed and old_enough and table not in _DROPPED


def _owner(table: str) -> str:
    """The activity or plugin that a table belongs to; empty for one of Moodle's core."""
    for plugin in _PLUGINS:
        if table == plugin or table.startswith(f"{plugin}_"):
            return plugin
    first = table.partition("_")[0]
    return first if first in _ACTIVITIES else ""


def _tables(loader: Loader) -> tuple[str, ...]:
    return (loader.table, *loader.reads)
