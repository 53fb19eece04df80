"""Sessions: Moodle's log has none, so they are reconstructed from log-ins and log-outs.

A web row belongs to the last log-in of the same user from the same address, unless that user has
logged out there since. Rows of web services and scripts have no session. Rows of the guest account
have none either, because many people share it: no session is better than a wrong one.

Who is logged in as another user acts in his own session, and ends it when he logs out as the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from caliper_dagster.expander.connection import LOG, MoodleDatabase, Record
from caliper_dagster.expander.lookups.log_lifecycle import LogLifecycle
from caliper_dagster.expander.record_columns import NO_ID, Flags, Integers, RecordColumn

LOGGED_IN = r"\core\event\user_loggedin"
LOGGED_OUT = r"\core\event\user_loggedout"
SESSION_CHANGES = (LOGGED_IN, LOGGED_OUT)

MAX_SESSION_SECONDS = 24 * 3600
"""Seconds after which a session ends without a log-out. It also bounds how far the log is read
back, so that an hour gets the same sessions whether it is expanded alone or with a whole year."""


@dataclass(frozen=True, slots=True)
class UserActions:
    """The columns by which the session of a log row is found, one entry per row.

    Attributes:
        eligible: rows that may have a session (web, not anonymous, a person).
        ids: log ids.
        times: Unix times.
        users: ``userid``.
        real_users: ``realuserid``; not above 0 where nobody was logged in as the user.
        ips: addresses; None where unknown.
        names: event names.
    """

    eligible: Flags
    ids: Integers
    times: Integers
    users: Integers
    real_users: Integers
    ips: npt.NDArray[np.object_]
    names: npt.NDArray[np.object_]

    def frame(self) -> pd.DataFrame:
        """The eligible rows."""
        selected = self.eligible & pd.notna(self.ips)
        return pd.DataFrame(
            {
                "id": self.ids[selected],
                "timecreated": self.times[selected],
                "userid": self.users[selected],
                "realuserid": self.real_users[selected].clip(min=0),
                "ip": self.ips[selected].astype(object),
                "eventname": self.names[selected],
                "row": np.flatnonzero(selected),
            }
        )


class Sessions:
    """The sessions of log rows, and who logged out in them.

    Moodle writes the log-out of a user who is logged in as another with the other's ``userid`` and
    without ``realuserid``. It is the real user's where the last thing before it, from the same
    address, is a row of somebody logged in as the other, and not a log-in or log-out of the other.

    Args:
        database: an open Moodle database, from which earlier log-ins and log-outs are read.
        lifecycle: the rows of the log in which a user is logged in as another.
        actions: the rows that get a session.
        already_expanded: the other rows of the same hours, for their log-ins and log-outs.
        since: Unix time of the first row of these hours, where it is in neither.
    """

    def __init__(
        self,
        database: MoodleDatabase,
        lifecycle: LogLifecycle,
        actions: UserActions,
        already_expanded: UserActions,
        since: int | None = None,
    ) -> None:
        self._row_count = len(actions.ids)
        self.real_users: Integers = np.full(self._row_count, NO_ID, dtype=np.int64)
        """For the log-out of somebody logged in as another, the real user; else :data:`NO_ID`."""
        self._rows = self._changes = pd.DataFrame()
        rows = actions.frame()
        if rows.empty:
            return
        others = already_expanded.frame().assign(row=-1)
        others = others[others["eventname"].isin(SESSION_CHANGES)]
        starts = [int(frame["timecreated"].min()) for frame in (rows, others) if not frame.empty]
        start = min(starts if since is None else [*starts, since])
        as_others = [
            row
            for row in lifecycle.logged_in_as(
                start - MAX_SESSION_SECONDS, int(rows["timecreated"].max())
            )
            if row["ip"]
        ]
        users = {*rows["userid"].unique(), *rows["realuserid"].unique()} - {0}
        users |= {row["realuserid"] for row in as_others if row["userid"] in users}
        users |= {row["userid"] for row in as_others if row["realuserid"] in users}
        records = _earlier_changes(database, users, start)
        earlier = [pd.DataFrame(records).assign(realuserid=0, row=-1)] if records else []
        everything = pd.concat(
            [*earlier, *(frame for frame in (others, rows) if not frame.empty)]
        ).sort_values(["timecreated", "id"], kind="stable", ignore_index=True)
        everything["actor"] = everything["realuserid"].where(
            everything["realuserid"] > 0, everything["userid"]
        )
        # Logging in as another user begins no session.
        is_change = everything["eventname"].isin(SESSION_CHANGES) & (everything["realuserid"] == 0)
        everything["change"] = everything["eventname"].where(is_change, "")
        taken = _log_outs_of_real_users(everything[everything["change"] != ""], as_others)
        of_real_users = everything["id"].map({id_: user for id_, (user, _) in taken.items()})
        everything["actor"] = of_real_users.fillna(everything["actor"]).astype(np.int64)
        own = of_real_users.notna() & (everything["row"] >= 0)
        self.real_users[everything.loc[own, "row"]] = of_real_users[own]
        # A log-out belongs to the session that it ends: it takes effect after its own row.
        everything["order"] = np.arange(len(everything)) * 2
        changes = everything[everything["change"] != ""]
        changes = changes.assign(order=changes["order"] + (changes["change"] == LOGGED_OUT))
        self._changes = changes[~changes["id"].isin(_ends_no_session(changes, taken))]
        self._rows = everything[everything["row"] >= 0]

    def column(self) -> RecordColumn:
        """The column ``session``: ``id`` and ``timecreated`` of the log-in's row, and ``user``."""
        column = RecordColumn(self._row_count)
        if self._rows.empty or self._changes.empty:
            return column
        matches = pd.merge_asof(
            self._rows,
            self._changes[["order", "actor", "ip", "id", "timecreated", "change"]],
            on="order",
            by=["actor", "ip"],
            suffixes=("", "_change"),
        )
        matches = matches[
            (matches["change_change"] == LOGGED_IN)
            & (matches["timecreated"] - matches["timecreated_change"] < MAX_SESSION_SECONDS)
        ]
        keys = np.full(self._row_count, NO_ID, dtype=np.int64)
        keys[matches["row"].to_numpy()] = matches["id_change"].to_numpy(dtype=np.int64)
        column.assign(
            keys != NO_ID,
            keys,
            {
                int(login): {"id": int(login), "timecreated": int(time), "user": int(user)}
                for login, time, user in matches[["id_change", "timecreated_change", "actor"]]
                .drop_duplicates("id_change")
                .itertuples(index=False)
            },
        )
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
    changes: pd.DataFrame, as_others: list[Record]
) -> dict[int, tuple[int, int]]:
    """The log-outs of people who were logged in as another user.

    Args:
        changes: log-ins and log-outs.
        as_others: rows of people who were logged in as another user.

    Returns:
        Id of the log-out → the real user, and the time of the last row of his as the other user.
    """
    places = {(row["userid"], row["ip"]) for row in as_others}
    rows = [
        (row["timecreated"], row["id"], "", (row["userid"], row["ip"]), row["realuserid"])
        for row in as_others
    ]
    of_places = changes[changes["userid"].isin({user for user, _ in places})]
    names = ("timecreated", "id", "change", "userid", "ip")
    columns = (of_places[name].tolist() for name in names)
    rows.extend(
        (time, id_, change, (user, ip), 0)
        for time, id_, change, user, ip in zip(*columns, strict=True)
    )
    taken: dict[int, tuple[int, int]] = {}
    last: dict[tuple[int, str], tuple[int, int]] = {}
    for time, id_, change, place, real_user in sorted(rows):
        if not change:
            last[place] = (real_user, time)
            continue
        real = last.pop(place, None)
        if change == LOGGED_OUT and real and time - real[1] < MAX_SESSION_SECONDS:
            taken[int(id_)] = real
    return taken


def _ends_no_session(changes: pd.DataFrame, taken: Mapping[int, tuple[int, int]]) -> set[int]:
    """Those log-outs after which the real user's session goes on, because it began later."""
    began = changes[changes["change"] == LOGGED_IN]
    log_outs = changes[changes["id"].isin(taken)]
    latest = pd.merge_asof(
        log_outs[["order", "actor", "ip", "id"]],
        began[["order", "actor", "ip", "timecreated"]],
        on="order",
        by=["actor", "ip"],
    )
    last_as_other = latest["id"].map({id_: time for id_, (_, time) in taken.items()})
    return set(latest.loc[latest["timecreated"] > last_as_other, "id"].tolist())
