"""Every row of a real site under rules of rows: no event names a person who did not opt in."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from caliper_dagster.config.row_filter import RowFilter
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.delivery.row_filter import RowRules
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.expander.audience import Audience
from caliper_dagster.translator import Translator
from caliper_dagster_tests.real_site.site import WWWROOT

USERS = re.compile(
    r"user/(?:profile|view)\.php\?id=(\d+)|[?&]userid=(\d+)|user-(\d+)|member-(\d+)"
    r'|#assessments-of-(\d+)|"identifierType":"SystemId","identifier":"(\d+)"'
)
"""Where ids of users stand in events."""


def persons(json: str | None) -> set[int]:
    return {int(id_) for found in USERS.findall(json or "") for id_ in found if id_}


def test_no_event_names_a_person_who_did_not_opt_in(
    expanded: pa.Table, moodle_dump_mariadb: str
) -> None:
    with MoodleDatabase.open(moodle_dump_mariadb) as database:
        users = sorted(user["id"] for user in database.records("user", ("id",)))
    translator = Translator(WWWROOT)
    # Each half alone: neither may be found with a person of the other.
    for opted_in in (users[::2], users[1::2]):
        members = {5: np.array(opted_in)}
        rules = RowRules(
            RowFilter.model_validate({"opt_in": {"cohorts": [5]}}), Audience(members=members)
        )
        events = rules.translate(translator.translate, expanded)
        named = [persons(json) for json in events["json"].to_pylist()]
        others = set(users) - set(opted_in)
        leaks = {
            (events["event_name"][row].as_py(), id_)
            for row, ids in enumerate(named)
            for id_ in ids & others
        }
        assert leaks == set()
        assert set().union(*named) & set(opted_in)

        account = Account.of(expanded.num_rows, expanded["id"], events)
        assert account.unexplained == 0
        assert account.rows == account.events + account.filtered["opt_in"]
        assert account.events > 1000
