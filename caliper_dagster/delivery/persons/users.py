"""The user of Moodle whom an operator names, by id or by user name."""

from __future__ import annotations

import sqlalchemy as sa

from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.expander import MoodleDatabase


def user_id(settings: Settings, user: str) -> int:
    """The id of a user. An id is not looked up, for it may be that of a deleted account.

    Args:
        settings: of the site.
        user: digits are an id; everything else is a user name, which Moodle keeps in lower case.

    Raises:
        ConfigurationError: no account, or more than one, has this user name.
        SourceError: the database cannot be read.
    """
    if user.isascii() and user.isdigit():
        return int(user)
    with open_moodle(settings) as database:
        return _id_of_name(database, user)


def require_person(settings: Settings, user: str) -> int:
    """The id of a user who is a person; see `user_id`.

    Raises:
        ConfigurationError: see `user_id`; or it is the site's guest account, which is no person.
    """
    from caliper_dagster.expander.lookups.people import Site

    found = user_id(settings, user)
    with open_moodle(settings) as database:
        guest = Site.read(database).guest
    if found < 1 or found == guest:
        raise ConfigurationError("USER must be a person: the guest account is none.")
    return found


def _id_of_name(database: MoodleDatabase, name: str) -> int:
    statement = sa.text(f"SELECT id FROM {database.quoted('user')} WHERE username = :name")
    rows = database.execute(statement, name=name.lower())
    if len(rows) == 1:
        return int(rows[0][0])
    number = "no account" if not rows else "several accounts"
    raise ConfigurationError(
        f"USER is unknown: Moodle has {number} of this user name: give the user id, also of a "
        "deleted account."
    )
