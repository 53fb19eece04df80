"""The filter of rows: which log rows an event store gets no event of, and by which rule.

Rules are asked about whole tables of expanded rows, before events are made. A row that one of them
filters is not translated; its outcome is ``filtered``, with the rule as the reason, so that the
account of its hour closes. What a rule needs and the row does not tell is read from Moodle once for
all rows (``expander.audience``). What is not known is not sent: a course without a name might be
one that is excluded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.config.event_stores import FILTER_FILE, EventStoreDefinition
from caliper_dagster.config.patterns import Patterns
from caliper_dagster.config.row_filter import WEB_SERVICE, PersonSet, RowFilter
from caliper_dagster.core.errors import ConfigurationError, RowFilterError
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.user_keys import USER_ID_KEYS
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.expander.audience import (
    Audience,
    AudienceQuery,
    unreadable_tables,
)
from caliper_dagster.translator import Translator
from caliper_dagster.translator.personal_values import PersonalValues
from caliper_dagster.translator.translate import Searched

Flags: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]
Codes: TypeAlias = npt.NDArray[np.int64]

_FRONT_PAGE = 1
_USER_LEVEL = 30
_RESTORED = "restore"
_USER_COLUMNS = {"userid": "user", "relateduserid": "relateduser", "realuserid": "realuser"}
"""Columns of ids, and those of the records, which may know a user whose id the log lacks."""

_RECORDS_OF_PERSONS = ("object", "other")
_USER_ID = re.compile(rf'"(?:{USER_ID_KEYS})": ?"?(\d+)')
"""Ids of users in the text of a record. (A quotation mark within a text has a backslash.)"""

_USER_IDS = re.compile(r'"(?:members|participants|users?(?:ids)?|userslist)": ?\[([\d", ]+)\]')
"""Lists of them, such as the members of the group that handed in."""

_ITEM_IS_USER = re.compile(r'"itemtype": ?"user"')
_ITEM_ID = re.compile(r'"itemid": ?"?(\d+)')

_LONGEST_FILE = 50_000_000
"""Bytes of a file of users, at most."""

_ID_DIGITS = 19
"""Digits that no user id has."""


class RowRules:
    """The rules of rows of one event store, with what they need of Moodle.

    Args:
        filter_: the rules.
        audience: the answers to `audience_query`.

    Raises:
        RowFilterError: a file of users cannot be read, or names none.
    """

    def __init__(self, filter_: RowFilter, audience: Audience) -> None:
        self.filter = filter_
        self._audience = audience
        self.opted_out = _users(filter_.opt_out, audience, "opt_out")
        self.opted_in = _users(filter_.opt_in, audience, "opt_in")
        accounts = {it for it in filter_.service_accounts.exclude if isinstance(it, int)}
        self._service_accounts = np.array(sorted(accounts | audience.web_service_accounts))

    @classmethod
    def read(
        cls,
        store: EventStoreDefinition,
        open_moodle: Callable[[], AbstractContextManager[MoodleDatabase]],
    ) -> RowRules | None:
        """The rules of an event store with what they need; None without any.

        Args:
            store: the event store.
            open_moodle: opens the database; called only if a rule needs it.

        Raises:
            ConfigurationError: a file of users cannot be read or names none; a table cannot be
                read; there is no such cohort or category.
            SourceError: the database did not answer.
        """
        filter_ = store.filter.rows
        if filter_.digest is None:
            return None
        query, audience = audience_query(filter_), Audience()
        try:
            if query:
                with open_moodle() as database:
                    audience = Audience.read(database, query)
            return cls(filter_, audience)
        except RowFilterError as error:
            place = f"Event store {store.name}: filter." if store.name else f"{FILTER_FILE}: "
            raise ConfigurationError(f"{place}{error}") from None

    def apply(self, expanded: pa.Table) -> pa.DictionaryArray:
        """The rule that filters each row, or null.

        Args:
            expanded: ``EXPANDED_LOG`` rows.
        """
        rows = _Rows(expanded)
        reasons, codes = [""], np.zeros(expanded.num_rows, dtype=np.int64)
        for reason, filtered in self._rules(rows):
            codes[(codes == 0) & filtered] = len(reasons)
            reasons.append(reason)
        indices = pa.array(codes.astype(np.int32), mask=codes == 0)
        return pa.DictionaryArray.from_arrays(indices, pa.array(reasons, pa.string()))

    def translate(self, translate: Callable[[pa.Table], pa.Table], expanded: pa.Table) -> pa.Table:
        """Translate the rows that pass.

        Args:
            translate: makes ``CALIPER_EVENTS`` of rows.
            expanded: the rows.

        Returns:
            ``CALIPER_EVENTS`` in the order of the rows; of a row that is filtered the only outcome
            is ``filtered``.
        """
        reasons = self.apply(expanded)
        passes = np.asarray(reasons.is_null())
        if passes.all():
            return translate(expanded)
        events = translate(expanded.filter(pa.array(passes)))
        filtered = _filtered(expanded.filter(pa.array(~passes)), reasons.drop_null())
        # A row's derived events follow its own outcome.
        is_own = pc.not_equal(events["outcome"].cast(pa.string()), "derived").to_numpy()
        places = [np.flatnonzero(passes)[np.cumsum(is_own) - 1], np.flatnonzero(~passes)]
        order = np.argsort(np.concatenate(places), kind="stable")
        return pa.concat_tables([events, filtered]).unify_dictionaries().take(pa.array(order))

    def _rules(self, rows: _Rows) -> Iterator[tuple[str, Flags]]:
        """The reasons, and which rows each filters, in the order in which they are asked."""
        if self.opted_out is not None:
            yield "opt_out", rows.name_one_of(self.opted_out)
        if self.opted_in is not None:
            yield "opt_in", rows.name_another_than(self.opted_in)
        if not self.filter.guests:
            yield "guests", rows.of_guests()
        if not self.filter.login_as:
            yield "login_as", np.logical_or(*(ids > 0 for ids in rows.users("realuserid")))
        if len(self._service_accounts):
            acting = (ids for name in ("userid", "realuserid") for ids in rows.users(name))
            yield (
                "service_accounts",
                np.logical_or.reduce([np.isin(ids, self._service_accounts) for ids in acting]),
            )
        for name, rules, codes in self._of_values(rows):
            distinct = [*dict.fromkeys(rule for rule in rules if rule)]
            for rule in distinct:
                yield f"{name}: {rule}", np.array([it == rule for it in rules], dtype=bool)[codes]
        if self.filter.minimum_learners:
            yield "minimum_learners", self._of_small_courses(rows.integers("courseid"))

    def _of_values(self, rows: _Rows) -> Iterator[tuple[str, Sequence[str | None], Codes]]:
        """For each rule about a value of the row: its name, the reason of each value, the codes."""
        filter_ = self.filter
        if filter_.origins.include or filter_.origins.exclude:
            yield "origins", *rows.distinct(self._rule_of_origin, (), ("origin",))
        if filter_.courses.include or filter_.courses.exclude:
            yield "courses", *rows.distinct(self._rule_of_course, ("courseid",), ("course",))
        if filter_.categories.include or filter_.categories.exclude:
            yield "categories", *rows.distinct(self._rule_of_category, ("courseid",), ("course",))
        if filter_.roles.include or filter_.roles.exclude:
            yield (
                "roles",
                *rows.distinct(self._rule_of_roles, ("userid", "courseid"), ("user_membership",)),
            )

    def _rule_of_origin(self, origin: str | None) -> str | None:
        origins = self.filter.origins
        patterns = Patterns(include=origins.include, exclude=origins.exclude)
        return patterns.rule(origin or _RESTORED)

    def _rule_of_course(self, course: int, record: str | None) -> str | None:
        if course <= _FRONT_PAGE:
            return self.filter.courses.rule((), ())
        found = _record(record)
        words = [found[key] for key in ("idnumber", "shortname") if found.get(key)]
        return self.filter.courses.rule({course}, words if found else None)

    def _rule_of_category(self, course: int, record: str | None) -> str | None:
        if course <= _FRONT_PAGE:
            return self.filter.categories.rule((), ())
        held = _record(record).get("category")
        category = self._audience.categories.get(held["id"]) if isinstance(held, dict) else None
        if category is None:
            # Also an excluded id might be that of a category that is not known.
            return "not known"
        return self.filter.categories.rule(category.ids, category.idnumbers)

    def _rule_of_roles(self, user: int, course: int, record: str | None) -> str | None:
        has_none = user <= 0 or course <= _FRONT_PAGE
        roles = () if has_none else _record(record).get("roles")
        words = None if roles is None else [role["shortname"] for role in roles]
        return self.filter.roles.rule_of_all(words)

    def _of_small_courses(self, courses: Integers) -> Flags:
        distinct, codes = np.unique(courses, return_inverse=True)
        learners = self._audience.learners
        small = [
            course > _FRONT_PAGE and learners.get(course, 0) < self.filter.minimum_learners
            for course in distinct.tolist()
        ]
        return np.array(small, dtype=bool)[codes]


def searched(
    translator: Translator,
    rules: RowRules | None,
    expanded: pa.Table,
    persons: PersonalValues | None = None,
    around: pa.Table | None = None,
) -> Searched:
    """The ``CALIPER_EVENTS`` of some expanded rows, searched for values of persons.

    Args:
        translator: makes the events.
        rules: which rows become events; None for all of them.
        expanded: the rows.
        persons: those of the whole hour, if the rows are a part of one.
        around: all rows of their hours with what identifies persons, if the rows have not all of
            it. Also one that is filtered names a person who may stand in another's text.
    """
    around = expanded if around is None else around
    found: list[Searched] = []

    def translate(rows: pa.Table) -> pa.Table:
        found.append(translator.translate_and_search(rows, persons, around))
        return found[0].events

    events = rules.translate(translate, expanded) if rules else translate(expanded)
    return found[0]._replace(events=events)


class _Rows:
    """Expanded rows by columns."""

    def __init__(self, expanded: pa.Table) -> None:
        self._table = expanded

    def integers(self, name: str) -> Integers:
        """A column of numbers; 0 for null."""
        column = pc.fill_null(self._table[name], 0)
        return np.asarray(column.combine_chunks(), dtype=np.int64)

    def users(self, name: str) -> tuple[Integers, Integers]:
        """A user of each row: its id in the log, and that of its record; 0 for none.

        Of the row of a log-out after a log-in-as only the record has the real user.
        """
        records, codes = self.texts(_USER_COLUMNS[name])
        ids = [int(_record(record).get("id") or 0) for record in records]
        return self.integers(name), np.array(ids, dtype=np.int64)[codes]

    def texts(self, name: str) -> tuple[list[str | None], Codes]:
        """The distinct values of a column of texts, null among them, and the code of each row."""
        column = self._table[name]
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        encoded = column.combine_chunks()
        indices = np.asarray(pc.fill_null(encoded.indices, -1), dtype=np.int64)
        used, codes = np.unique(indices, return_inverse=True)
        taken = encoded.dictionary.take(pa.array(used, mask=used < 0))
        return taken.to_pylist(), codes

    def distinct(
        self,
        function: Callable[..., str | None],
        numbers: Sequence[str],
        texts: Sequence[str],
    ) -> tuple[list[str | None], Codes]:
        """A function of some columns: its result for each distinct row, and the code of each row.

        Args:
            function: of the values of the columns.
            numbers: columns of numbers.
            texts: columns of texts.
        """
        values: list[list[Any]] = []
        keys = []
        for name in numbers:
            found, codes = np.unique(self.integers(name), return_inverse=True)
            values.append(found.tolist())
            keys.append(codes)
        for name in texts:
            held, codes = self.texts(name)
            values.append(held)
            keys.append(codes)
        joined = np.zeros(self._table.num_rows, dtype=np.int64)
        for held, codes in zip(values, keys, strict=True):
            joined = joined * len(held) + codes
        _, firsts, inverse = np.unique(joined, return_index=True, return_inverse=True)
        results = [
            function(*(held[codes[row]] for held, codes in zip(values, keys, strict=True)))
            for row in firsts.tolist()
        ]
        return results, inverse

    def of_guests(self) -> Flags:
        """The rows of the guest account, and of guests in a course."""
        flags = np.zeros(self._table.num_rows, dtype=bool)
        for name in ("user", "user_membership"):
            records, codes = self.texts(name)
            is_guest = [bool(_record(record).get("guest")) for record in records]
            flags |= np.array(is_guest, dtype=bool)[codes]
        return flags

    def name_one_of(self, users: Integers) -> Flags:
        """The rows that name one of some users."""
        return self._any_person(lambda ids: np.isin(ids, users))

    def name_another_than(self, users: Integers) -> Flags:
        """The rows that name somebody who is none of some users; no person is named by 0."""
        return self._any_person(lambda ids: (ids > 0) & ~np.isin(ids, users))

    def _any_person(self, test: Callable[[Integers], Flags]) -> Flags:
        """The rows that name a person for whom a test holds.

        The persons of a row are its three users and those that its object and its data name.
        """
        flags = np.zeros(self._table.num_rows, dtype=bool)
        for name in _USER_COLUMNS:
            for ids in self.users(name):
                flags |= test(ids)
        of_users = np.isin(self._table["objecttable"].cast(pa.string()).to_numpy(), ["user"])
        flags |= of_users & test(self.integers("objectid"))
        in_user = self.integers("contextlevel") == _USER_LEVEL
        flags |= in_user & test(self.integers("contextinstanceid"))
        for name in _RECORDS_OF_PERSONS:
            records, codes = self.texts(name)
            named = [_user_ids(record) if record else () for record in records]
            owners = np.repeat(np.arange(len(named)), [len(ids) for ids in named])
            ids = np.array([id_ for found in named for id_ in found], dtype=np.int64)
            holds = np.zeros(len(named), dtype=bool)
            holds[owners[test(ids)]] = True
            flags |= holds[codes]
        return flags


def audience_query(filter_: RowFilter) -> AudienceQuery:
    """What the rules need of Moodle; false if they need nothing."""
    persons = [it for it in (filter_.opt_out, filter_.opt_in) if it is not None]
    categories = filter_.categories
    return AudienceQuery(
        cohorts=frozenset(cohort for it in persons for cohort in it.cohorts),
        categories=bool(categories.include or categories.exclude),
        required_categories=frozenset(categories.exact),
        learners=filter_.minimum_learners > 0,
        web_service_accounts=WEB_SERVICE in filter_.service_accounts.exclude,
    )


def grants_missing(filter_: RowFilter, database: MoodleDatabase) -> tuple[str, ...]:
    """The tables that the rules need and that cannot be read; names without prefix."""
    return unreadable_tables(database, audience_query(filter_))


def _user_ids(record: str) -> list[int]:
    """The ids of users that a record names; those that no user has are left out."""
    found = _USER_ID.findall(record)
    for listed in _USER_IDS.findall(record):
        found.extend(re.findall(r"\d+", listed))
    if _ITEM_IS_USER.search(record):
        found.extend(_ITEM_ID.findall(record))
    return [int(id_) for id_ in found if len(id_) < _ID_DIGITS]


def _record(text: str | None) -> dict[str, Any]:
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def _users(persons: PersonSet | None, audience: Audience, rule: str) -> Integers | None:
    """The ids of some persons, sorted; None without a rule about them."""
    if persons is None:
        return None
    ids = [audience.members[cohort] for cohort in persons.cohorts]
    if persons.users_file is not None:
        ids.append(np.array(_read_users(persons.users_file, rule), dtype=np.int64))
    return np.unique(np.concatenate(ids))


def _read_users(path: str, rule: str) -> Collection[int]:
    """The user ids in a file: one in each line; the rest of a line after ``#`` does not count.

    Raises:
        RowFilterError: it cannot be read, has no id, or a line is no id.
    """

    def wrong(problem: str) -> RowFilterError:
        return RowFilterError(f"rows.{rule}.users_file: the file {path} {problem}.")

    try:
        file = Path(path)
        if file.exists() and not file.is_file():
            raise wrong("is not a regular file")
        with file.open("rb") as opened:
            content = opened.read(_LONGEST_FILE + 1)
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise wrong(f"cannot be read ({reason})") from None
    if len(content) > _LONGEST_FILE:
        raise wrong("is too long")
    users = []
    for number, line in enumerate(lines, 1):
        word = line.partition("#")[0].strip()
        if word and not (word.isascii() and word.isdigit() and len(word) < _ID_DIGITS):
            raise wrong(f"has no user id in line {number}")
        if word:
            users.append(int(word))
    if not users:
        raise wrong("is empty: write one user id into each line")
    return users


def _filtered(expanded: pa.Table, reasons: pa.DictionaryArray) -> pa.Table:
    """``CALIPER_EVENTS`` of rows that are filtered."""
    known = {
        "log_id": expanded["id"],
        "timecreated": expanded["timecreated"],
        "event_name": expanded["eventname"],
        "outcome": pa.array(["filtered"] * expanded.num_rows).dictionary_encode(),
        "reason": reasons,
    }
    return CALIPER_EVENTS.conform(
        pa.table(
            {
                column.name: known.get(column.name, pa.nulls(expanded.num_rows, column.type))
                for column in CALIPER_EVENTS.columns
            }
        )
    )
