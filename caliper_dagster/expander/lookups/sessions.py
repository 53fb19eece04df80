"""Sessions: Moodle's log holds none, so they are rebuilt from log-ins and log-outs.

A web row belongs to the last log-in of the same user from the same address, unless that user has
logged out there since. Rows of web services and of scripts have no session, and neither have rows
of the guest account, which many share: no session is better than a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from caliper_dagster.expander.columns import NOTHING, Flags, Integers, RecordColumn
from caliper_dagster.expander.connection import MoodleDatabase

LOGGED_IN = r"\core\event\user_loggedin"
LOGGED_OUT = r"\core\event\user_loggedout"

LONGEST = 24 * 3600
"""Seconds for which a log-in is believed. It also bounds the look-back, so that an hour gets the
same sessions whether it is expanded alone or in a year."""


@dataclass(frozen=True, slots=True)
class Clicks:
    """What a session is found by, one entry per log row.

    Attributes:
        eligible: rows that may have a session (web, not anonymous, a person).
        ids: log ids.
        times: Unix times.
        users: who really acted.
        ips: addresses, None where unknown.
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
        chosen = self.eligible & pd.notna(self.ips)
        return pd.DataFrame(
            {
                "id": self.ids[chosen],
                "timecreated": self.times[chosen],
                "userid": self.users[chosen],
                "ip": self.ips[chosen].astype(object),
                "eventname": self.names[chosen],
                "row": np.flatnonzero(chosen),
            }
        )


def place(database: MoodleDatabase, column: RecordColumn, clicks: Clicks, beside: Clicks) -> None:
    """Fill the session column: ``id`` and ``timecreated`` of the log-in's log row, and ``user``.

    Args:
        database: is asked for log-ins and log-outs before the first of all these rows.
        column: as long as ``clicks``.
        clicks: the rows that get a session.
        beside: other rows of the same hours, which may hold log-ins and log-outs.
    """
    rows = clicks.frame()
    if rows.empty:
        return
    others = beside.frame().assign(row=-1)
    others = others[others["eventname"].isin([LOGGED_IN, LOGGED_OUT])]
    start = min(int(frame["timecreated"].min()) for frame in (rows, others) if not frame.empty)
    before = database.records(
        "logstore_standard_log",
        ("id", "timecreated", "userid", "ip", "eventname"),
        {"userid": rows["userid"].unique()},
        # The first five are the columns of the index (userid, contextlevel, …, timecreated).
        "contextlevel = 10 AND contextinstanceid = 0 AND crud = 'r' AND edulevel = 0 "
        "AND timecreated >= :earliest AND timecreated < :start "
        "AND eventname IN (:login, :logout) AND origin = 'web' AND anonymous = 0 "
        "AND realuserid IS NULL AND ip IS NOT NULL",
        earliest=start - LONGEST,
        start=start,
        login=LOGGED_IN,
        logout=LOGGED_OUT,
    )
    earlier = [pd.DataFrame(before).assign(row=-1)] if before else []
    everything = pd.concat([*earlier, *(frame for frame in (others, rows) if not frame.empty)])
    everything = everything.sort_values(["timecreated", "id"], kind="stable", ignore_index=True)
    # A log-out still belongs to the session that it ends: it counts from just after its own row.
    everything["order"] = np.arange(len(everything)) * 2
    changes = everything[everything["eventname"].isin([LOGGED_IN, LOGGED_OUT])]
    changes = changes.assign(order=changes["order"] + (changes["eventname"] == LOGGED_OUT))
    found = pd.merge_asof(
        everything[everything["row"] >= 0],
        changes[["order", "userid", "ip", "id", "timecreated", "eventname"]],
        on="order",
        by=["userid", "ip"],
        suffixes=("", "_change"),
    )
    held = found[
        (found["eventname_change"] == LOGGED_IN)
        & (found["timecreated"] - found["timecreated_change"] < LONGEST)
    ]
    keys = np.full(len(clicks.ids), NOTHING, dtype=np.int64)
    keys[held["row"].to_numpy()] = held["id_change"].to_numpy(dtype=np.int64)
    column.place(
        keys != NOTHING,
        keys,
        {
            int(login): {"id": int(login), "timecreated": int(time), "user": int(user)}
            for login, time, user in held[["id_change", "timecreated_change", "userid"]]
            .drop_duplicates("id_change")
            .itertuples(index=False)
        },
    )
