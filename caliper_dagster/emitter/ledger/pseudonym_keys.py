"""The keys under which an event store was sent events: which key held from which hour on.

Ids under a keyed privacy profile are made with a key. With another one, or without it, the hours
that were sent would be sent again under other ids. So a run that would do that is refused; only
`LedgerKeys.replace` accepts other keys for hours that were sent. The table holds fingerprints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.key_schedule import KeySchedule
from caliper_dagster.emitter.ledger.fingerprints import event_ids, unpacked
from caliper_dagster.emitter.ledger.records import ACKNOWLEDGED

Transaction = Callable[[str], AbstractContextManager[sa.Connection]]

_SETTING = SettingName("CALIPER_PSEUDONYM_KEY")


def pseudonym_keys_table(tables: sa.MetaData) -> sa.Table:
    """The table: one row for each key of an event store."""
    return sa.Table(
        "caliper_pseudonym_key",
        tables,
        sa.Column("site", sa.Text, primary_key=True, comment="site whose events they are"),
        sa.Column("event_store", sa.Text, primary_key=True, comment="name of the event store"),
        sa.Column(
            "since",
            sa.Integer,
            primary_key=True,
            autoincrement=False,
            comment="hour from which the key holds, in hours since 1970, UTC",
        ),
        sa.Column("fingerprint", sa.Text, nullable=False, comment="of the key (HMAC-SHA-256)"),
    )


class LedgerKeys:
    """The keys of the event stores of one site.

    Raises:
        StorageError: (all methods) the database failed.
    """

    def __init__(
        self, transaction: Transaction, table: sa.Table, batches: sa.Table, site: str
    ) -> None:
        self._transaction, self._table, self._batches = transaction, table, batches
        self._site = site

    def recorded(self, event_store: str) -> KeySchedule:
        """The keys that are recorded; none if no keyed profile has been used."""
        with self._transaction("could not be read") as connection:
            return self._recorded(connection, event_store)

    def claim(self, event_store: str, keys: KeySchedule) -> None:
        """Record the keys that are used from now on.

        Raises:
            ConfigurationError: an hour of which events were acknowledged had another key.
        """
        with self._transaction("could not be written") as connection:
            recorded = self._recorded(connection, event_store)
            if recorded == keys:
                return
            changed = recorded.first_difference(keys) if recorded.keys else None
            last = self._last_hour(connection, event_store)
            if changed is not None and last is not None and changed <= last:
                raise _other_key(last)
            self._write(connection, event_store, keys)

    def replace(self, event_store: str, keys: KeySchedule) -> None:
        """Record other keys, also for hours that were sent under the former ones."""
        with self._transaction("could not be written") as connection:
            self._write(connection, event_store, keys)

    def acknowledged_events(self, event_store: str, since: Hour, until: Hour | None = None) -> int:
        """How many events of an hour and the hours after it were acknowledged, about.

        An event that was sent twice counts twice.

        Args:
            event_store: name of the event store.
            since: the first hour.
            until: the hour before which they end; None for all.
        """
        columns = self._batches.c
        number = sa.func.coalesce(sa.func.sum(columns.events), 0)
        query = sa.select(number).where(*self._acknowledged(event_store, since))
        if until is not None:
            query = query.where(columns.hour < until.number)
        with self._transaction("could not be read") as connection:
            return int(connection.execute(query).scalar_one())

    def acknowledged_ids(self, event_store: str, since: Hour) -> Iterator[str]:
        """The ids of these events, each once in its hour, in the order of the hours."""
        columns = self._batches.c
        hours = sa.select(columns.hour).where(*self._acknowledged(event_store, since))
        with self._transaction("could not be read") as connection:
            numbers = connection.execute(hours.distinct().order_by(columns.hour)).scalars().all()
        for number in numbers:
            query = sa.select(columns.fingerprints).where(
                *self._acknowledged(event_store, since), columns.hour == number
            )
            with self._transaction("could not be read") as connection:
                packed = connection.execute(query).scalars().all()
            yield from dict.fromkeys(
                event_id
                for fingerprints in packed
                for event_id in event_ids(unpacked(fingerprints)).to_pylist()
            )

    def _acknowledged(self, event_store: str, since: Hour) -> list[sa.ColumnElement[bool]]:
        columns = self._batches.c
        return [
            columns.site == self._site,
            columns.event_store == event_store,
            columns.outcome == ACKNOWLEDGED,
            columns.hour >= since.number,
        ]

    def _recorded(self, connection: sa.Connection, event_store: str) -> KeySchedule:
        columns = self._table.c
        query = (
            sa.select(columns.since, columns.fingerprint)
            .where(columns.site == self._site, columns.event_store == event_store)
            .order_by(columns.since)
        )
        rows = connection.execute(query)
        return KeySchedule(tuple((Hour(row.since), row.fingerprint) for row in rows))

    def _last_hour(self, connection: sa.Connection, event_store: str) -> Hour | None:
        query = sa.select(sa.func.max(self._batches.c.hour)).where(
            *self._acknowledged(event_store, Hour(0))
        )
        number = connection.execute(query).scalar_one()
        return None if number is None else Hour(number)

    def _write(self, connection: sa.Connection, event_store: str, keys: KeySchedule) -> None:
        columns = self._table.c
        connection.execute(
            self._table.delete().where(
                columns.site == self._site, columns.event_store == event_store
            )
        )
        rows = [
            {
                "site": self._site,
                "event_store": event_store,
                "since": since.number,
                "fingerprint": fingerprint,
            }
            for since, fingerprint in keys.keys
        ]
        if rows:
            connection.execute(self._table.insert(), rows)


def _other_key(last: Hour) -> ConfigurationError:
    return ConfigurationError(
        Sentence(
            _SETTING,
            " is not the key under which events were sent before: the same persons and events "
            "would get other ids, and all would be sent again. Put the former key back. To use a "
            f"new key from an hour after {last} on, add it in a second line, such as "
            f"`{last + 24} NEWKEY`. To send history again under other ids, run `caliper-dagster "
            "person replace-key` first.",
        )
    )
