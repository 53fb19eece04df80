"""Tombstones in the ledger: who was erased, and which requests of Moodle were answered.

No row names a person: each is a keyed hash (``core.tombstones``). The key is a row of its own, made
when the first person of a site is erased. It never changes, for the hashes depend on it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from caliper_dagster.core.tombstones import KEY_BYTES, NOBODY, Tombstones, mark

Transaction = Callable[[str], AbstractContextManager[sa.Connection]]

_KEY = "key"
_USER = "user"


def tombstones_table(tables: sa.MetaData) -> sa.Table:
    """The table: one row for each erased person and answered request, and one for the key."""
    return sa.Table(
        "caliper_tombstone",
        tables,
        sa.Column("site", sa.Text, primary_key=True, comment="site id, as in the other tables"),
        sa.Column("kind", sa.Text, primary_key=True, comment="user, a kind of request, or key"),
        sa.Column("mark", sa.Text, primary_key=True, comment="keyed hash of the id; the key"),
        sa.Column(
            "finished_at",
            sa.BigInteger,
            comment="when nothing was left, milliseconds since 1970, UTC",
        ),
    )


class LedgerTombstones:
    """The tombstones of one site.

    Raises:
        StorageError: (all methods) the database failed.
    """

    def __init__(self, transaction: Transaction, table: sa.Table, site: str) -> None:
        self._transaction, self._table, self._site = transaction, table, site

    def read(self) -> Tombstones:
        """The erased persons, also those whose erasure is not complete."""
        with self._transaction("could not be read") as connection:
            rows = self._rows(connection, _KEY, _USER)
        key = next((row.mark for row in rows if row.kind == _KEY), None)
        if key is None:
            return NOBODY
        marks = frozenset(row.mark for row in rows if row.kind == _USER)
        return Tombstones(bytes.fromhex(key), marks)

    def add(self, users: Iterable[int]) -> Tombstones:
        """Make tombstones of persons. From now on nothing about them is written.

        Returns:
            the tombstones of the site.
        """
        self._insert((_USER, user) for user in users)
        return self.read()

    def finish(self, users: Iterable[int]) -> None:
        """Record that nothing about these persons is stored any more."""
        table, now = self._table, time.time_ns() // 1_000_000
        with self._transaction("could not be written") as connection:
            key = self._key(connection)
            for user in users:
                condition = self._is(_USER) & (table.c.mark == mark(key, _USER, user))
                connection.execute(table.update().where(condition).values(finished_at=now))

    def unfinished(self, users: Iterable[int]) -> set[int]:
        """Those of some users who were not erased, or not completely."""
        users = set(users)
        if not users:
            return users
        with self._transaction("could not be read") as connection:
            rows = self._rows(connection, _KEY, _USER)
        key = next((row.mark for row in rows if row.kind == _KEY), None)
        if key is None:
            return users
        finished = {row.mark for row in rows if row.kind == _USER and row.finished_at is not None}
        hashed = bytes.fromhex(key)
        return {user for user in users if mark(hashed, _USER, user) not in finished}

    def unanswered(self, kind: str, requests: Iterable[int]) -> set[int]:
        """Those of some requests of Moodle that were not answered.

        Args:
            kind: of the requests.
            requests: their ids in Moodle.
        """
        requests = set(requests)
        if not requests:
            return requests
        with self._transaction("could not be read") as connection:
            rows = self._rows(connection, _KEY, kind)
        key = next((row.mark for row in rows if row.kind == _KEY), None)
        if key is None:
            return requests
        answered = {row.mark for row in rows if row.kind == kind}
        return {it for it in requests if mark(bytes.fromhex(key), kind, it) not in answered}

    def answer(self, kind: str, requests: Iterable[int]) -> None:
        """Record that requests of Moodle were answered; for the arguments see `unanswered`."""
        self._insert((kind, request) for request in requests)

    def _insert(self, ids: Iterable[tuple[str, int]]) -> None:
        ids = list(ids)
        if not ids:
            return
        with self._transaction("could not be written") as connection:
            key = self._key(connection)
            rows = [{"site": self._site, "kind": k, "mark": mark(key, k, id_)} for k, id_ in ids]
            connection.execute(self._new(connection), rows)

    def _key(self, connection: sa.Connection) -> bytes:
        """The key of the site; the first call makes it, whoever calls at the same time."""
        query = sa.select(self._table.c.mark).where(self._is(_KEY))
        if connection.dialect.name == "postgresql":
            lock = sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"{_KEY}\n{self._site}"))
            connection.execute(sa.select(lock))
        elif connection.execute(query).first() is None:
            # A transaction that only reads so far would let two processes make a key each.
            connection.execute(self._table.delete().where(sa.false()))
        held = connection.execute(query).scalar()
        if held is None:
            held = secrets.token_hex(KEY_BYTES)
            row = {"site": self._site, "kind": _KEY, "mark": held}
            connection.execute(self._table.insert(), row)
        return bytes.fromhex(held)

    def _new(self, connection: sa.Connection) -> sa.sql.dml.Insert:
        """An INSERT that leaves rows that are there as they are."""
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        return insert(self._table).on_conflict_do_nothing()

    def _rows(self, connection: sa.Connection, *kinds: str) -> list[sa.Row[Any]]:
        condition = (self._table.c.site == self._site) & self._table.c.kind.in_(kinds)
        return list(connection.execute(sa.select(self._table).where(condition)))

    def _is(self, kind: str) -> sa.ColumnElement[bool]:
        return (self._table.c.site == self._site) & (self._table.c.kind == kind)
