"""The actor of each row (rules R1 and R2): a person, an anonymous person, or the site.

The acting person is an integer column: a user id, 0 for the site as SoftwareApplication, or null
for the anonymous Person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caliper_dagster.translator.recipes import Recipe
from caliper_dagster.translator.rows import NOTHING, Codes, Flags, Indices, Rows

APPLICATION = 0
USER_LEVEL = 30
"""Level of a user's context."""

LOGGED_OUT = r"\core\event\user_loggedout"
LOGGED_IN_AS = r"\core\event\user_loggedinas"

USER_IDS = ("userid", "realuserid", "relateduserid")


@dataclass(frozen=True, slots=True)
class Actors:
    """The actor of each row.

    Attributes:
        actor: the actor of the event.
        trigger: who triggered the row by rule R1, before a recipe makes the learner the actor.
        guest: rows of the site's guest account, whose actor is anonymous.
        acting_as: the user whom a person was logged in as; ``NOTHING`` in all other rows.
        run_as: rows that a script wrote under the account of a user.
    """

    actor: Codes
    trigger: Codes
    guest: Flags
    acting_as: Codes
    run_as: Flags

    @classmethod
    def of(cls, rows: Rows, recipes: Sequence[Recipe], recipe: Codes) -> Actors:
        """Apply R1, then the actors of the recipes.

        Args:
            rows: expanded rows.
            recipes: the recipes in use.
            recipe: code of each row's recipe.
        """

        def recipe_has_actor(kind: str) -> Flags:
            flags: Flags = np.array([one.actor == kind for one in recipes], dtype=bool)
            return flags[recipe]

        anonymous = rows.integers("anonymous") == 1
        users, real, related = (
            np.where(anonymous, NOTHING, rows.integers(name)) for name in USER_IDS
        )
        script = rows.holding("origin", "cli")
        acting_as = (real > 0) & ~anonymous
        automatic = ~acting_as & ~anonymous & (script | ((users < 0) & (users != NOTHING)))
        trigger = np.where(acting_as, real, users)
        trigger = np.where(automatic, APPLICATION, np.where(trigger > 0, trigger, NOTHING))
        guests = _guests(rows)
        guest = np.isin(trigger, guests) & (trigger > 0)
        trigger = np.where(guest, NOTHING, trigger)
        unattended = ~acting_as & ~anonymous & (users <= 0)
        alone = unattended | (~acting_as & ~anonymous & ((users == related) | script))
        by_site = (
            recipe_has_actor("site")
            | (recipe_has_actor("user_or_site") & unattended)
            | (recipe_has_actor("grader") & alone)
        )
        actor = np.where(by_site, APPLICATION, trigger)
        # If somebody was logged in as the learner, that person is the actor.
        learner = np.where(np.isin(related, guests), NOTHING, related)
        actor = np.where(recipe_has_actor("learner") & (related > 0) & ~acting_as, learner, actor)
        begins = rows.holding("eventname", LOGGED_IN_AS) & ~anonymous
        other_user = np.where(begins, related, np.where(acting_as, users, NOTHING))
        run_as = automatic & (users > 0)
        return cls(actor, trigger, guest & (actor == NOTHING), other_user, run_as)

    def person_rows(self, rows: Rows) -> list[tuple[str, Indices]]:
        """The columns that hold the record of the acting person, each with its rows."""
        remaining = self.actor > 0
        result = []
        for name in ("user", "realuser", "relateduser"):
            matching = remaining & (rows.integers(f"{name}id") == self.actor)
            remaining &= ~matching
            result.append((name, np.flatnonzero(matching)))
        return result


def real_users(rows: Rows) -> Codes:
    """Who was logged in as the user of each row, else :data:`NOTHING`.

    Moodle leaves ``realuserid`` of the log-out empty; there the record of the user tells it.
    """
    codes, records = rows.column("realuser")
    told = np.array(
        [_id_of(record) for record in records],
        dtype=np.int64,
    )[codes]
    real = rows.integers("realuserid")
    known: Codes = np.where(rows.holding("eventname", LOGGED_OUT) & (real == NOTHING), told, real)
    return known


def owners(rows: Rows) -> dict[str, Codes]:
    """The users to whom the object of a row may belong, for an object that does not tell its own.

    :data:`NOTHING` where a script wrote the row under the account of somebody else than the related
    user, and the record of the object is gone: nothing confirms then whose it was, and made-up rows
    contradict what the learner's own rows tell.

    Returns:
        ``learner``, the related user, and ``submitter``, the acting one.
    """
    codes, records = rows.column("object")
    gone = np.array([record is None for record in records])[codes]
    users, related = rows.integers("userid"), rows.integers("relateduserid")
    of_others = (related != NOTHING) & (related != users)
    unconfirmed = gone & of_others & rows.holding("origin", "cli")
    return {
        name: np.where(unconfirmed, NOTHING, ids)
        for name, ids in (("learner", related), ("submitter", users))
    }


def _id_of(record: object) -> int:
    id_ = record.get("id") if isinstance(record, dict) else None
    return id_ if type(id_) is int and 0 < id_ < 2**63 else int(NOTHING)


def _guests(rows: Rows) -> list[int]:
    return [
        record["id"]
        for name in ("user", "realuser", "relateduser")
        for record in rows.column(name)[1]
        if isinstance(record, dict) and record.get("guest") and isinstance(record.get("id"), int)
    ]
