"""A field that the leak check was allowed to leave out: the verdict holds while it is allowed."""

from __future__ import annotations

from caliper_dagster.config.connections import open_store
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hour_verdict import Reason, searched_without, was_searched
from caliper_dagster.emitter import Send
from caliper_dagster.operations.doctor.withheld import withheld
from caliper_dagster_tests.end_to_end.test_privacy_of_hours import (
    HOURS,
    Chain,
    chain,
    url,
)
from caliper_dagster_tests.harness.environment import environment

__all__ = ["chain", "url"]

ALLOWED = {"CALIPER_ALLOWED_FIELDS": "object.name, group.name"}
FEWER = {"CALIPER_ALLOWED_FIELDS": "group.name"}
SENT_AS_THEY_ARE = {"CALIPER_WITHHOLD_INVALID": "false"}


def test_an_hour_is_sent_to_nobody_once_the_field_is_not_allowed_any_more(chain: Chain) -> None:
    chain.render(**ALLOWED)
    for variables in (FEWER, {}, SENT_AS_THEY_ARE):
        chain.variables = variables
        for send in Send:
            found = chain.send(send)
            assert {*found} == {*HOURS}
            assert all(it.withheld.keys() == {Reason.ALLOWED_FIELDS} for it in found.values())
    assert chain.arrived() == []
    chain.render(**FEWER)
    assert all(counts.sent for counts in chain.send().values())


def test_an_hour_is_sent_while_no_fewer_fields_are_allowed(chain: Chain) -> None:
    chain.render(**FEWER)
    chain.variables = dict(ALLOWED)
    assert all(counts.sent for counts in chain.send().values())


def test_where_everything_may_leave_no_field_matters(chain: Chain) -> None:
    chain.render(CALIPER_PRIVACY="full", **ALLOWED)
    chain.variables = {"CALIPER_PRIVACY": "full"}
    assert all(counts.sent for counts in chain.send().values())


def test_doctor_tells_which_hours_wait(chain: Chain) -> None:
    chain.render(**ALLOWED)
    chain.variables = dict(SENT_AS_THEY_ARE)
    with environment(chain.environment()):
        (finding,) = withheld(Settings.from_environment())
    assert f"all of {len(HOURS)} hours" in finding.text
    assert finding.text.endswith("are not sent")
    assert finding.cure == (
        "Materialize these hours again with `caliper-dagster backfill`; they were searched while "
        "CALIPER_ALLOWED_FIELDS named more fields."
    )


def test_the_footer_names_fields_only_if_there_are_some(chain: Chain) -> None:
    chain.render()
    with environment(chain.environment()):
        storage = open_store(Settings.from_environment())
    stats = storage.footer_stats(CALIPER_EVENTS, HOURS.start)
    assert "personal_data_allowed" not in stats
    assert was_searched(stats, ())
    # What a newer release may write there is not understood.
    assert not was_searched({**searched_without(["object.name"]), "personal_data_allowed": 1}, ())
