"""Sessions: Moodle's log has none, so they are reconstructed from log-ins and log-outs.

A web row belongs to the last log-in of the same user from the same address, unless that user has
logged out there since. Rows of web services and scripts have no session. Rows of the guest account
have none either, because many people share it: no session is better than a wrong one.

Who is logged in as another user acts in his own session, and ends it when he logs out as the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.expander.connection import LOG, MoodleDatabase, Record
from caliper_dagster.expander.lookups.log_lifecycle import LogLifecycle
from caliper_dagster.expander.record_columns import (
    NO_ID,
    Flags,
    Integers,
    RecordColumn,
    distinct_codes,
    integers,
    last_before,
)

LOGGED_IN = r"\core\event\user_loggedin"
LOGGED_OUT = r"\core\event\user_loggedout"
SESSION_CHANGES = (LOGGED_IN, LOGGED_OUT)
_LOG_IN, _LOG_OUT = 1, 2
"""What a row changes, its place in :data:`SESSION_CHANGES` counted from 1; 0 where it changes
nothing."""

MAX_SESSION_SECONDS = 24 * 3600
"""Seconds after which a session ends without a log-out. It also bounds how far the log is read
back, so that an hour gets the same sessions whether it is expanded alone or with a whole year."""


@dataclass(frozen=True, slots=True)
class UserActions:
    """Log rows that may have a session (web, not anonymous, a person at an address), by column.

    Attributes:
        positions: position of each row in its table; -1 of a row that gets no session here.
        ids: log ids.
        times: Unix times.
        users: ``userid``.
        real_users: ``realuserid``; 0 where nobody was logged in as the user.
        changes: :data:`_LOG_IN` and :data:`_LOG_OUT`; 0 for other rows.
        ips: addresses.
    """

    positions: Integers
    ids: Integers
    times: Integers
    users: Integers
    real_users: Integers
    changes: Integers
    ips: pa.StringArray

    @classmethod
    def of(cls, log: pa.Table, guest: int | None) -> UserActions:
        """The rows of a log that may have a session.

        Args:
            log: the columns of ``MOODLE_LOG``.
            guest: id of the guest account; None without one.
        """
        users, real_users = integers(log["userid"]), integers(log["realuserid"]).clip(min=0)
        actors = np.where(real_users > 0, real_users, users)
        web = pc.equal(log["origin"].cast(pa.string()), "web").fill_null(False).to_numpy()
        chosen = web & log["ip"].is_valid().to_numpy() & (integers(log["anonymous"]) != 1)
        positions = np.flatnonzero(chosen & (actors > 0) & (actors != (guest or 0)))
        names = log["eventname"].cast(pa.string())
        changes = pc.index_in(names, pa.array(SESSION_CHANGES)).fill_null(-1)
        return cls(
            positions,
            integers(log["id"])[positions],
            integers(log["timecreated"])[positions],
            users[positions],
            real_users[positions],
            1 + changes.to_numpy()[positions].astype(np.int64),
            log["ip"].take(pa.array(positions)).combine_chunks(),
        )

    @classmethod
    def earlier(cls, changes: Sequence[Record]) -> UserActions:
        """Earlier log-ins and log-outs, with the columns of :func:`_earlier_changes`."""
        ids, times, users = (
            np.array([change[name] for change in changes], dtype=np.int64)
            for name in ("id", "timecreated", "userid")
        )
        nothing = np.zeros(len(changes), dtype=np.int64)
        kinds = [1 + SESSION_CHANGES.index(change["eventname"]) for change in changes]
        ips = pa.array([change["ip"] for change in changes], pa.string())
        return cls(nothing - 1, ids, times, users, nothing, np.array(kinds, dtype=np.int64), ips)

    @property
    def actors(self) -> Integers:
        """The users who acted."""
        return np.where(self.real_users > 0, self.real_users, self.users)

    def taken(self, chosen: Flags | Integers) -> UserActions:
        """The chosen rows."""
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        columns = [getattr(self, name)[chosen] for name in self.__slots__[:-1]]
        columns.append(self.ips.take(pa.array(chosen)))
        return UserActions(*columns)


def _in_order(parts: Sequence[UserActions]) -> UserActions:
    """All rows of all parts by time, then id: the order of the log."""
    *names, _ = UserActions.__slots__
    columns: list[Any] = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
    columns.append(pa.concat_arrays([part.ips for part in parts]))
    together = UserActions(*columns)
    return together.taken(np.lexsort((together.ids, together.times)))


class Sessions:
    """The sessions of log rows, and who logged out in them.

    Moodle writes the log-out of a user who is logged in as another with the other's ``userid`` and
    without ``realuserid``. It is the real user's where the last thing before it, from the same
    address, is a row of somebody logged in as the other, and not a log-in or log-out of the other.

    Args:
        database: an open Moodle database, from which earlier log-ins and log-outs are read.
        lifecycle: the rows of the log in which a user is logged in as another.
        log: the rows that get a session.
        already_expanded: the other rows of the same hours, for their log-ins and log-outs.
        guest: id of the guest account; None without one.
        since: Unix time of the first row of these hours, where it is in neither.
    """

    def __init__(
        self,
        database: MoodleDatabase,
        lifecycle: LogLifecycle,
        log: pa.Table,
        already_expanded: pa.Table,
        guest: int | None,
        since: int | None = None,
    ) -> None:
        self.real_users: Integers = np.full(log.num_rows, NO_ID, dtype=np.int64)
        """For the log-out of somebody logged in as another, the real user; else :data:`NO_ID`."""
        self._log_ins: Integers = np.full(log.num_rows, NO_ID, dtype=np.int64)
        self._records: dict[int, Record] = {}
        rows, others = UserActions.of(log, guest), UserActions.of(already_expanded, guest)
        if not rows.ids.size:
            return
        others = others.taken(others.changes > 0)
        others.positions[:] = -1
        start = min(int(part.times.min()) for part in (rows, others) if part.ids.size)
        start = start if since is None else min(start, since)
        as_others = [
            row
            for row in lifecycle.logged_in_as(start - MAX_SESSION_SECONDS, int(rows.times.max()))
            if row["ip"]
        ]
        users = {*np.unique(rows.users).tolist(), *np.unique(rows.real_users).tolist()} - {0}
        users |= {row["realuserid"] for row in as_others if row["userid"] in users}
        users |= {row["userid"] for row in as_others if row["realuserid"] in users}
        earlier = UserActions.earlier(_earlier_changes(database, users, start))
        self._find(_in_order([earlier, others, rows]), as_others)

    def _find(self, actions: UserActions, as_others: list[Record]) -> None:
        """Find the sessions of actions, which are in the order of the log."""
        actors = actions.actors
        # Logging in as another user begins no session.
        is_change = (actions.changes > 0) & (actions.real_users == 0)
        taken = _log_outs_of_real_users(actions.taken(is_change), as_others)
        for index in np.flatnonzero(np.isin(actions.ids, list(taken))).tolist():
            actors[index] = taken[int(actions.ids[index])][0]
            if actions.positions[index] >= 0:
                self.real_users[actions.positions[index]] = actors[index]
        ips = actions.ips.dictionary_encode()
        keys = distinct_codes(actors)[1] * len(ips.dictionary) + ips.indices
        # A log-out belongs to the session that it ends: it takes effect after its own row.
        places = 2 * np.arange(len(keys)) + (is_change & (actions.changes == _LOG_OUT))
        changes = np.flatnonzero(is_change)
        changes = changes[~np.isin(changes, _ending_no_session(actions, keys, changes, taken))]
        own = np.flatnonzero(actions.positions >= 0)
        last = last_before(keys[changes], places[changes], keys[own], 2 * own)
        own, last = own[last >= 0], changes[last[last >= 0]]
        age = actions.times[own] - actions.times[last]
        within = (actions.changes[last] == _LOG_IN) & (age < MAX_SESSION_SECONDS)
        own, last = own[within], last[within]
        self._log_ins[actions.positions[own]] = actions.ids[last]
        last = np.unique(last)
        columns = (actions.ids[last], actions.times[last], actors[last])
        for id_, time, actor in zip(*(column.tolist() for column in columns), strict=True):
            self._records[id_] = {"id": id_, "timecreated": time, "user": actor}

    def column(self) -> RecordColumn:
        """The column ``session``: ``id`` and ``timecreated`` of the log-in's row, and ``user``."""
        column = RecordColumn(len(self._log_ins))
        column.assign(self._log_ins != NO_ID, self._log_ins, self._records)
        return column


def _earlier_changes(database: MoodleDatabase, users: set[int], start: int) -> list[Record]:
    """Log-ins and log-outs of users in the time before ``start`` in which a session may begin."""
    return database.log.records(
        LOG,
        ("id", "timecreated", "userid", "ip", "eventname"),
        {"userid": users},
        # The index (userid, contextlevel, …, timecreated) covers the first five columns.
        "contextlevel = 10 AND contextinstanceid = 0 AND crud = 'r' AND edulevel = 0 "
        "AND timecreated >= :earliest AND timecreated < :start "
        "AND eventname IN (:login, :logout) AND origin = 'web' AND anonymous = 0 "
        "AND realuserid IS NULL AND ip IS NOT NULL",
        earliest=start - MAX_SESSION_SECONDS,
        start=start,
        login=LOGGED_IN,
        logout=LOGGED_OUT,
    )


def _log_outs_of_real_users(
    changes: UserActions, as_others: list[Record]
) -> Mapping[int, tuple[int, int]]:
    """The log-outs of people who were logged in as another user.

    Args:
        changes: log-ins and log-outs.
        as_others: rows of people who were logged in as another user.

    Returns:
        Id of the log-out → the real user, and the time of the last row of his as the other user.
    """
    rows = [
        (row["timecreated"], row["id"], 0, (row["userid"], row["ip"]), row["realuserid"])
        for row in as_others
    ]
    of_users = changes.taken(np.isin(changes.users, [row["userid"] or 0 for row in as_others]))
    columns = (of_users.times, of_users.ids, of_users.changes, of_users.users)
    rows.extend(
        (time, id_, change, (user, ip), 0)
        for time, id_, change, user, ip in zip(
            *(column.tolist() for column in columns), of_users.ips.to_pylist(), strict=True
        )
    )
    taken: dict[int, tuple[int, int]] = {}
    last: dict[tuple[int, str], tuple[int, int]] = {}
    for time, id_, change, place, real_user in sorted(rows):
        if not change:
            last[place] = (real_user, time)
            continue
        real = last.pop(place, None)
        if change == _LOG_OUT and real and time - real[1] < MAX_SESSION_SECONDS:
            taken[id_] = real
    return taken


def _ending_no_session(
    actions: UserActions,
    keys: Integers,
    changes: Integers,
    taken: Mapping[int, tuple[int, int]],
) -> Integers:
    """Those log-outs after which the real user's session goes on, because it began later.

    Args:
        actions: the actions in the order of the log.
        keys: a key for the user and the address of each of them.
        changes: the indices of the log-ins and log-outs.
        taken: see :func:`_log_outs_of_real_users`.

    Returns:
        Their indices.
    """
    log_outs = changes[np.isin(actions.ids[changes], list(taken))]
    began = changes[actions.changes[changes] == _LOG_IN]
    last = last_before(keys[began], began, keys[log_outs], log_outs)
    log_outs, began = log_outs[last >= 0], began[last[last >= 0]]
    ends = np.array([taken[id_][1] for id_ in actions.ids[log_outs].tolist()], dtype=np.int64)
    going_on: Integers = log_outs[actions.times[began] > ends]
    return going_on
