"""Of whom and of what an event store gets events: what filters of rows need of Moodle's database.

Each question is one query for all rows of a run, and its answer is that of today: whoever leaves a
cohort is not in it for the rows of last year either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from caliper_dagster.core.errors import (
    ConfigurationError,
    RowFilterError,
    Sentence,
    SettingName,
)
from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.lookups.membership_history import COURSE_LEVEL

_LEARNER = "student"
"""Moodle's archetype of the roles of learners."""

_COUNTED = pa.schema([("course_id", pa.int64()), ("learners", pa.int64())])


@dataclass(frozen=True, slots=True)
class AudienceQuery:
    """What is asked.

    Attributes:
        cohorts: ids (numbers) and ID numbers (texts) of cohorts.
        categories: whether the tree of course categories is asked for.
        required_categories: ids and ID numbers of categories that there must be.
        learners: whether the number of learners of each course is asked for.
        web_service_accounts: whether the accounts for web services are asked for.
    """

    cohorts: frozenset[int | str] = frozenset()
    categories: bool = False
    required_categories: frozenset[int | str] = frozenset()
    learners: bool = False
    web_service_accounts: bool = False

    def __bool__(self) -> bool:
        return self != AudienceQuery()

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """The columns that are read, by table."""
        tables: dict[str, tuple[str, ...]] = {}
        if self.cohorts:
            tables |= {"cohort": ("id", "idnumber"), "cohort_members": ("cohortid", "userid")}
        if self.categories:
            tables["course_categories"] = ("id", "idnumber", "path")
        if self.learners:
            tables |= {
                "role_assignments": ("roleid", "contextid", "userid"),
                "role": ("id", "archetype"),
                "context": ("id", "contextlevel", "instanceid"),
                "user": ("id", "deleted"),
            }
        if self.web_service_accounts:
            tables["external_services_users"] = ("userid",)
            tables["user"] = ("id", "deleted", "auth")
        return tables


@dataclass(frozen=True, slots=True)
class Category:
    """A course category, and those that contain it.

    Attributes:
        ids: of all of them.
        idnumbers: of those that have one.
    """

    ids: frozenset[int]
    idnumbers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Audience:
    """What Moodle answers.

    Attributes:
        members: ids of the members of each cohort that is asked about, as a sorted array.
        categories: by id.
        learners: number of learners of each course that has any.
        web_service_accounts: their ids.
    """

    members: Mapping[int | str, np.ndarray[tuple[int], np.dtype[np.int64]]] = field(
        default_factory=dict
    )
    categories: Mapping[int, Category] = field(default_factory=dict)
    learners: Mapping[int, int] = field(default_factory=dict)
    web_service_accounts: frozenset[int] = frozenset()

    @classmethod
    def read(cls, database: MoodleDatabase, query: AudienceQuery) -> Audience:
        """Ask Moodle.

        Raises:
            RowFilterError: there is no such cohort or category.
            ConfigurationError: a table or a column cannot be read.
            SourceError: the database did not answer.
        """
        _require(database, query)
        categories = _categories(database) if query.categories else {}
        _require_categories(categories, query.required_categories)
        return cls(
            _members(database, query.cohorts) if query.cohorts else {},
            categories,
            _learners(database) if query.learners else {},
            _web_service_accounts(database) if query.web_service_accounts else frozenset(),
        )


def unreadable_tables(database: MoodleDatabase, query: AudienceQuery) -> tuple[str, ...]:
    """The tables that the query needs and that cannot be read; names without prefix."""
    return tuple(
        sorted(
            table
            for table, columns in query.columns.items()
            if table in database.without or not database.columns(table).issuperset(columns)
        )
    )


def _require(database: MoodleDatabase, query: AudienceQuery) -> None:
    tables = unreadable_tables(database, query)
    if not tables:
        return
    names = ", ".join(database.prefix + table for table in tables)
    raise ConfigurationError(
        Sentence(
            SettingName("MOODLE_DB_URL"),
            f": this account cannot read {names}, which a filter of rows needs; "
            "`caliper-dagster doctor` prints the GRANT that is missing. Tables of ",
            SettingName("MOODLE_DB_WITHOUT"),
            " are not read.",
        )
    )


def _members(
    database: MoodleDatabase, wanted: Collection[int | str]
) -> dict[int | str, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    cohorts: dict[int | str, set[int]] = {entry: set() for entry in wanted}
    for cohort in database.records("cohort", ("id", "idnumber")):
        for name in (cohort["id"], cohort["idnumber"]):
            if name in cohorts:
                cohorts[name].add(cohort["id"])
    for name, ids in cohorts.items():
        if not ids:
            raise _none("cohort", "cohorts", name)
    all_ids = {id_ for ids in cohorts.values() for id_ in ids}
    rows = database.integers("cohort_members", ("cohortid", "userid"), {"cohortid": all_ids})
    cohort_ids, users = (rows[name].to_numpy() for name in ("cohortid", "userid"))
    return {
        name: np.unique(users[np.isin(cohort_ids, list(ids))]).astype(np.int64)
        for name, ids in cohorts.items()
    }


def _categories(database: MoodleDatabase) -> dict[int, Category]:
    rows = database.records("course_categories", ("id", "idnumber", "path"))
    idnumbers = {row["id"]: row["idnumber"] for row in rows}
    categories = {}
    for row in rows:
        ids = {row["id"], *(int(step) for step in (row["path"] or "").split("/") if step)}
        named = (idnumbers.get(id_) for id_ in ids)
        categories[row["id"]] = Category(frozenset(ids), frozenset(filter(None, named)))
    return categories


def _require_categories(categories: Mapping[int, Category], required: Iterable[int | str]) -> None:
    known: set[int | str] = set(categories)
    for category in categories.values():
        known |= category.idnumbers
    for name in required:
        if name not in known:
            raise _none("course category", "categories", name)


def _none(subject: str, rule: str, name: int | str) -> RowFilterError:
    what = f"the id {name}" if isinstance(name, int) else f"the ID number {name}"
    return RowFilterError(
        f"rows: Moodle has no {subject} with {what}. Correct {rule}, or create it in Moodle."
    )


def _learners(database: MoodleDatabase) -> dict[int, int]:
    """The number of users with a role of learners in each course; deleted users do not count."""
    assignments, contexts, roles, users = (
        database.quoted(table) for table in ("role_assignments", "context", "role", "user")
    )
    counted = database.table(
        _COUNTED,
        "FROM (SELECT place.instanceid AS course_id, COUNT(DISTINCT held.userid) AS learners "
        f"FROM {assignments} held JOIN {contexts} place ON place.id = held.contextid "
        f"JOIN {roles} kind ON kind.id = held.roleid "
        f"JOIN {users} person ON person.id = held.userid "
        f"WHERE place.contextlevel = {COURSE_LEVEL} AND kind.archetype = '{_LEARNER}' "
        "AND person.deleted = 0 GROUP BY place.instanceid) AS counted",
    )
    numbers = (counted[name].to_pylist() for name in ("course_id", "learners"))
    return dict(zip(*numbers, strict=True))


def _web_service_accounts(database: MoodleDatabase) -> frozenset[int]:
    """Accounts that cannot log in but for web services, and the users of restricted services."""
    accounts = database.records(
        "user", ("id",), condition="auth = 'webservice'", condition_columns=("auth",)
    )
    users = database.records("external_services_users", ("userid",))
    return frozenset(row["id"] for row in accounts) | {row["userid"] for row in users}
