"""An hour whose events hold values of persons that must not leave: it is not sent on any path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from caliper_dagster.config.event_stores import EventFilter
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hour_verdict import HourVerdict
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery.gate import withheld_events, withheld_hours, withheld_sentence
from caliper_dagster.delivery.materialize import write_events
from caliper_dagster.emitter import Send
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.hostile_store import OK, HostileStore
from caliper_dagster_tests.unit.delivery.test_gate import BAD, OTHERS, WEEK, Week
from caliper_dagster_tests.unit.translator.support import W, expanded
from caliper_dagster_tests.unit.translator.test_leak_search import LOVELACE, group, of

PERSONAL = HourVerdict({"personal_data": 3}, {"object.name (email)": 3})
HOUR = Hour.from_key("2026-01-31-14:00")


@pytest.fixture
def week(tmp_path: Path) -> Iterator[Week]:
    with HostileStore(OK) as store, environment({"CALIPER_EVENT_STORE_URL": store.url}):
        week = Week(tmp_path, store)
        for hour in WEEK:
            week.write(hour)
        week.write(BAD, stats=PERSONAL.as_footer_stats())
        yield week


@pytest.mark.parametrize("withhold", [True, False])
@pytest.mark.parametrize("send", list(Send))
def test_no_way_of_sending_takes_it_and_the_other_hours_leave(
    week: Week, send: Send, withhold: bool
) -> None:
    """Not even ``CALIPER_WITHHOLD_INVALID=false`` does."""
    sent = week.deliver(send, withhold=withhold)
    assert set(week.arrived()) <= set(OTHERS)
    assert sent[BAD].is_withheld
    assert sent[BAD].sent == 0
    if send is not Send.REJECTED:
        week.deliver(withhold=withhold)
        assert set(week.arrived()) == set(OTHERS)


def test_the_message_says_what_to_do(week: Week) -> None:
    assert withheld_sentence(withheld_hours(week.deliver())) == (
        f"Not sent: 1 withheld hour, {BAD} (values of persons that the privacy profile forbids). "
        "The check no_personal_data of the events names the fields: correct the recipe or the text "
        "in Moodle, or name a field that is in order in CALIPER_ALLOWED_FIELDS. Materialize these "
        "hours again."
    )
    assert withheld_events(week.storage, CALIPER_EVENTS, BAD, EventFilter()).is_withheld


def stored(folder: Path, *, group_name: str) -> PartitionStore:
    """Two hours of which the first has a group of this name; the person acts in both."""
    store = PartitionStore(str(folder))
    for number, row in enumerate((group(group_name), group("Group 1"))):
        hour = HOUR + number
        rows = [
            {**of(LOVELACE, one), "id": 10 * number + id_, "timecreated": hour.start + id_}
            for id_, one in enumerate(({}, {}, {}, row), 1)
        ]
        table = expanded(*rows)
        log = MOODLE_LOG.conform(table.drop(["other"]).append_column("other", [[None] * 4]))
        store.write(MOODLE_LOG, hour, log, {"counted": 4})
        store.write(EXPANDED_LOG, hour, table, {})
    return store


@pytest.mark.parametrize("chunk_rows", [1, 2, 1_000], ids=["by row", "in parts", "whole"])
def test_the_verdict_is_stored_with_the_hour(tmp_path: Path, chunk_rows: int) -> None:
    """The person of a large hour may act in another part of it than the text stands in."""
    store = stored(tmp_path, group_name="number S-1815-12")
    hours = HourRange(HOUR, HOUR + 2)
    translator = Translator(W)
    found, _ = write_events(translator, store, CALIPER_EVENTS, hours, chunk_rows=chunk_rows)
    verdicts = [
        HourVerdict.from_footer_stats(store.footer_stats(CALIPER_EVENTS, hour)) for hour in hours
    ]
    assert verdicts == [hour.verdict for hour in found]
    assert [verdict and dict(verdict.fields) for verdict in verdicts] == [
        {"object.name (idnumber)": 1}, {}
    ]  # fmt: skip
    assert [verdict and verdict.always for verdict in verdicts] == ["personal_data", None]
    assert "S-1815-12" not in str(store.footer_stats(CALIPER_EVENTS, HOUR))


def test_a_corrected_text_opens_the_gate(tmp_path: Path) -> None:
    store = stored(tmp_path, group_name="Ada Lovelace")
    hours = HourRange(HOUR, HOUR + 1)
    (bad,), _ = write_events(Translator(W), store, CALIPER_EVENTS, hours)
    allowed = Translator(W, allowed_fields=("object.name",))
    (good,), _ = write_events(allowed, store, CALIPER_EVENTS, hours)
    assert (bad.verdict.hour_reason, good.verdict.hour_reason) == ("personal_data", None)
