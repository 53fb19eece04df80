"""What the settings of a site lead to, opened: Moodle's database, the ledger, the partitions.

The parts are imported when they are needed: a command that reads the log does not load the HTTP
client, and Dagster's web server loads neither.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from caliper_dagster.config.settings import Settings
from caliper_dagster.config.stored_fields import storage_keys, stored_fields
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.recent_hours import RecentHours
from caliper_dagster.core.site_identity import SiteIdentity
from caliper_dagster.core.site_record import check_storage
from caliper_dagster.core.tombstones import NOBODY, Tombstones

if TYPE_CHECKING:
    from caliper_dagster.emitter import Ledger
    from caliper_dagster.expander import MoodleDatabase


def open_moodle(settings: Settings) -> MoodleDatabase:
    """Connect to the site's database, and to that of its log; read-only. A context manager.

    Nothing that is read from the log tells of a person who was erased.

    Raises:
        ConfigurationError: the URL is not set, no database answers, it refuses the account, or it
            has no Moodle log with the prefix.
    """
    from caliper_dagster.expander import LogPlace, MoodleDatabase
    from caliper_dagster.expander.erasure import ErasedPersons

    database = MoodleDatabase.open(
        settings.require("moodle_db_url"),
        settings.moodle_db_prefix,
        settings.moodle_db_timeout,
        settings.moodle_db_without or (),
        LogPlace(settings.log_db_url(), settings.moodle_log_table, settings.moodle_replica_wait),
    )
    database.erased = ErasedPersons(partial(tombstones, settings))
    return database


def tombstones(settings: Settings) -> Tombstones:
    """The persons of the site who were erased.

    Raises:
        ConfigurationError: there is a ledger, and it cannot be opened.
        StorageError: it cannot be read.
    """
    if not settings.moodle_wwwroot or not settings.has_ledger():
        return NOBODY
    ledger = open_ledger(settings)
    if not ledger.exists():
        return NOBODY
    with ledger:
        return ledger.tombstones(settings.identity().site_id).read()


def open_ledger(settings: Settings) -> Ledger:
    """The ledger of the site. A context manager.

    Raises:
        ConfigurationError: it needs a URL and none is set, it cannot be opened, or (when it is
            entered) it has the site at another address.
    """
    from caliper_dagster.emitter import Ledger

    identity = settings.identity() if settings.moodle_wwwroot else None
    return Ledger(settings.ledger(), identity, timeout=settings.ledger_timeout)


def open_store(settings: Settings, recent: RecentHours | None = None) -> PartitionStore:
    """The partition store of the site, which was made for the site or for none yet.

    Args:
        settings: of the site.
        recent: see `PartitionStore`.

    Raises:
        ConfigurationError: neither ``CALIPER_STORAGE`` nor ``DAGSTER_HOME`` is set, no such kind of
            storage is known, it cannot be read, it was made for another site, its key is wrong, or
            an event store is to get what is not stored.
    """
    url = settings.storage_url()
    store = PartitionStore(url, storage_keys(settings), stored_fields(settings), recent)
    identity = settings.identity() if settings.moodle_wwwroot else None
    if identity is not None and (url, identity) not in _CHECKED and check_storage(store, identity):
        _CHECKED.add((url, identity))
    return store


_CHECKED: set[tuple[str, SiteIdentity]] = set()
"""Storages that were found to be those of their sites: a sensor opens one every few seconds."""
