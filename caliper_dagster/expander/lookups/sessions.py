"""Sessions: Moodle's log has none, so they are reconstructed from log-ins and log-outs.

A web row belongs to the last log-in of the same user from the same address, unless that user has
logged out there since. Rows of web services and scripts have no session. Rows of the guest account
have none either, because many people share it: no session is better than a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.record_columns import NO_ID, Flags, Integers, RecordColumn

LOGGED_IN = r"\core\event\user_loggedin"
LOGGED_OUT = r"\core\event\user_loggedout"

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
        users: the users who really acted, behind "logged in as".
        ips: addresses; None where unknown.
        names: event names.
    """

    eligible: Flags
    ids: Integers
    times: Integers
    users: Integers
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
                "ip": self.ips[selected].astype(object),
                "eventname": self.names[selected],
                "row": np.flatnonzero(selected),
            }
        )


def fill(
    database: MoodleDatabase,
    column: RecordColumn,
    actions: UserActions,
    already_expanded: UserActions,
) -> None:
    """Fill the session column: ``id`` and ``timecreated`` of the log-in's log row, and ``user``.

    Args:
        database: an open Moodle database, from which log-ins and log-outs before the first of all
            these rows are read.
        column: the column ``session``, as long as ``actions``.
        actions: the rows that get a session.
        already_expanded: the other rows of the same hours, for their log-ins and log-outs.
    """
    rows = actions.frame()
    if rows.empty:
        return
    others = already_expanded.frame().assign(row=-1)
    others = others[others["eventname"].isin([LOGGED_IN, LOGGED_OUT])]
    start = min(int(frame["timecreated"].min()) for frame in (rows, others) if not frame.empty)
    before = database.records(
        "logstore_standard_log",
        ("id", "timecreated", "userid", "ip", "eventname"),
        {"userid": rows["userid"].unique()},
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
    earlier = [pd.DataFrame(before).assign(row=-1)] if before else []
    everything = pd.concat([*earlier, *(frame for frame in (others, rows) if not frame.empty)])
    everything = everything.sort_values(["timecreated", "id"], kind="stable", ignore_index=True)
    # A log-out belongs to the session that it ends: it takes effect after its own row.
    everything["order"] = np.arange(len(everything)) * 2
    changes = everything[everything["eventname"].isin([LOGGED_IN, LOGGED_OUT])]
    changes = changes.assign(order=changes["order"] + (changes["eventname"] == LOGGED_OUT))
    matches = pd.merge_asof(
        everything[everything["row"] >= 0],
        changes[["order", "userid", "ip", "id", "timecreated", "eventname"]],
        on="order",
        by=["userid", "ip"],
        suffixes=("", "_change"),
    )
    matches = matches[
        (matches["eventname_change"] == LOGGED_IN)
        & (matches["timecreated"] - matches["timecreated_change"] < MAX_SESSION_SECONDS)
    ]
    keys = np.full(len(actions.ids), NO_ID, dtype=np.int64)
    keys[matches["row"].to_numpy()] = matches["id_change"].to_numpy(dtype=np.int64)
    column.assign(
        keys != NO_ID,
        keys,
        {
            int(login): {"id": int(login), "timecreated": int(time), "user": int(user)}
            for login, time, user in matches[["id_change", "timecreated_change", "userid"]]
            .drop_duplicates("id_change")
            .itertuples(index=False)
        },
    )
