"""Which log rows an event store gets events of: a filter that holds before events are made.

A row that a rule filters has no event at this event store: its outcome is ``filtered``, with the
rule as the reason. The rules are in ``delivery.row_filter``; what they need of Moodle's database is
read by ``expander.audience``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from caliper_dagster.config.declaration import Model
from caliper_dagster.config.patterns import IdsAndPatterns, Patterns, Selection

_DIGEST_CHARACTERS = 16
_SEMANTICS = 1
"""Raise it in a release in which the same settings filter other rows."""

_FOOTER_KEY = "row_filter"

WEB_SERVICE = "webservice"
"""In a list of service accounts: those that Moodle has for web services only."""

Origin = Literal["web", "ws", "cli", "restore"]


def _absolute(path: str) -> str:
    if not Path(path).is_absolute():
        raise ValueError("must be an absolute path")
    return path


class PersonSet(Model):
    """Some persons: the members of cohorts, and the users in a file.

    Attributes:
        cohorts: ids (numbers) and ID numbers (texts) of Moodle's cohorts.
        users_file: path of a file with one user id in each line.
    """

    cohorts: IdsAndPatterns = ()
    users_file: Annotated[str, AfterValidator(_absolute)] | None = None

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if not self.cohorts and self.users_file is None:
            raise ValueError("must name cohorts or users_file")
        return self


def _service_accounts(value: object) -> object:
    entries = value if isinstance(value, list | tuple) else [None]
    if any(type(entry) is not int and entry != WEB_SERVICE for entry in entries):
        raise ValueError(f"must be a list of user ids and {WEB_SERVICE}")
    return tuple(entries)


class ServiceAccounts(Model):
    """Accounts of programs: user ids, and `WEB_SERVICE`."""

    exclude: Annotated[tuple[int | str, ...], BeforeValidator(_service_accounts)] = ()


class Origins(Model):
    """How a request came in; a row without an origin was restored from a backup."""

    include: tuple[Origin, ...] = ()
    exclude: tuple[Origin, ...] = ()


class RowFilter(Model):
    """The rules of rows of one event store; without any rule all rows pass.

    The rules are asked in this order, and a row counts under the first one that filters it.

    Attributes:
        opt_out: persons of whom nothing is sent: a row that names one of them is filtered.
        opt_in: persons of whom anything may be sent: a row that names another one is filtered.
        guests: whether rows of guests pass.
        login_as: whether rows of somebody who is logged in as another user pass.
        service_accounts: accounts whose rows are filtered.
        origins: web, ws, cli, restore.
        courses: by id, ID number or short name.
        categories: by id or ID number; a category has the courses of its subcategories, too.
        roles: by short name: the roles of the acting user in the course at the time of the row.
        minimum_learners: learners that a course must have.
    """

    opt_out: PersonSet | None = None
    opt_in: PersonSet | None = None
    guests: bool = True
    login_as: bool = True
    service_accounts: ServiceAccounts = ServiceAccounts()
    origins: Origins = Origins()
    courses: Selection = Selection()
    categories: Selection = Selection()
    roles: Patterns = Patterns()
    minimum_learners: int = Field(default=0, ge=0)

    @property
    def digest(self) -> str | None:
        """What distinguishes the rules from others; None without a rule.

        It is made of the settings alone, not of the persons to whom they lead at some time.
        """
        if self == RowFilter():
            return None
        rules = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps([_SEMANTICS, rules], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]

    @property
    def reads_moodle(self) -> bool:
        """Whether a rule needs more of Moodle than the rows tell."""
        has_cohorts = any(it is not None and it.cohorts for it in (self.opt_out, self.opt_in))
        has_categories = self.categories != Selection()
        has_accounts = WEB_SERVICE in self.service_accounts.exclude
        return has_cohorts or has_categories or has_accounts or self.minimum_learners > 0

    def footer_stats(self) -> dict[str, object]:
        """What the footer of an hour of events records when it is made under these rules."""
        return {_FOOTER_KEY: self.digest} if self.digest else {}

    def made(self, stats: Mapping[str, object]) -> bool:
        """Whether an hour of events was made under these rules, by its footer."""
        return stats.get(_FOOTER_KEY) == self.digest

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules that hold, as the settings have them."""
        return tuple(self.model_dump(exclude_defaults=True))
