"""Erase a person on request, while runs may be under way."""

from __future__ import annotations

from collections.abc import Callable

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.persons import RunsUnderWayError, after_runs_under_way
from caliper_dagster.delivery.persons.erase import Erased, erase
from caliper_dagster.delivery.persons.requests import delete_exports
from caliper_dagster.delivery.persons.users import require_person


def erase_person(
    settings: Settings, user: str, *, plan: bool, tell: Callable[[str], None]
) -> Erased:
    """Erase a person.

    Args:
        settings: of the site.
        user: user id or user name.
        plan: change nothing, only find out what would be changed.
        tell: told what is waited for.

    Raises:
        CaliperDagsterError: a run that began before does not end; or see ``delivery.persons``.
    """
    person = require_person(settings, user)
    if plan:
        return erase(settings, [person], plan=True)
    with open_instance(tell) as instance:
        try:
            erased = after_runs_under_way(instance, lambda: erase(settings, [person]), tell)
        except RunsUnderWayError:
            raise CaliperDagsterError(
                "The erasure is not complete: runs that began before it do not end. End them in "
                "the web UI, and erase the person again."
            ) from None
    delete_exports(settings, [person])
    return erased
