"""Who acted (rules R1 and R2): a person, nobody who may be named, or the site itself.

The acting person is an integer column: a user id, 0 for the site as SoftwareApplication, or nothing
for the anonymous Person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caliper_dagster.translator.rows import NOTHING, Codes, Flags, Rows

APPLICATION = 0

USER_IDS = ("userid", "realuserid", "relateduserid")


@dataclass(frozen=True, slots=True)
class Actors:
    """Who acted in each row.

    Attributes:
        actor: the actor of the event.
        trigger: who triggered the row by rule R1, before a recipe gives it to the learner.
        guest: rows of the site's guest account, which is nobody in particular.
        acting_as: rows in which a person was logged in as another.
        run_as: rows that a script made under some account.
    """

    actor: Codes
    trigger: Codes
    guest: Flags
    acting_as: Flags
    run_as: Flags

    @classmethod
    def of(cls, rows: Rows, learner: Flags, grader: Flags) -> Actors:
        """Apply R1, then what the recipes say.

        Args:
            rows: expanded rows, with the user ids of anonymous rows hidden.
            learner: rows whose recipe says that the related user acts, unless somebody else was
                logged in as that user.
            grader: rows whose recipe says that a grade without a grader is the site's.
        """
        anonymous = rows.integers("anonymous") == 1
        users, real, related = (
            np.where(anonymous, NOTHING, rows.integers(name)) for name in USER_IDS
        )
        codes, origins = rows.column("origin")
        script = np.array([origin == "cli" for origin in origins])[codes]
        acting_as = (real > 0) & ~anonymous
        automatic = ~acting_as & ~anonymous & (script | ((users < 0) & (users != NOTHING)))
        trigger = np.where(acting_as, real, users)
        trigger = np.where(automatic, APPLICATION, np.where(trigger > 0, trigger, NOTHING))
        guest = np.isin(trigger, _guests(rows)) & (trigger > 0)
        trigger = np.where(guest, NOTHING, trigger)
        alone = ~acting_as & ~anonymous & ((users <= 0) | (users == related) | script)
        actor = np.where(grader & alone, APPLICATION, trigger)
        actor = np.where(learner & (related > 0) & ~acting_as, related, actor)
        return cls(actor, trigger, guest & (actor == NOTHING), acting_as, automatic & (users > 0))


def _guests(rows: Rows) -> list[int]:
    return [
        record["id"]
        for name in ("user", "realuser")
        for record in rows.column(name)[1]
        if isinstance(record, dict) and record.get("guest") and isinstance(record.get("id"), int)
    ]
