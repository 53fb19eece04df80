"""The gate of an hour: a bad hour amid a week is not sent, and all the others are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from caliper_dagster.config.event_stores import EventFilter, require_event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS
from caliper_dagster.core.hour_verdict import HourVerdict, Reason, mark_invalid
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import Account, DeliveryCounts
from caliper_dagster.delivery.fan_out import DeliveryRequest
from caliper_dagster.delivery.gate import withheld_events, withheld_hours, withheld_sentence
from caliper_dagster.emitter import Ledger, Send
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.hostile_store import HOUR, OK, SENSOR, SITE, HostileStore
from caliper_dagster_tests.unit.caliper.documents import VIEW
from caliper_dagster_tests.unit.translator.test_sampling import row, table

WEEK = [HOUR + number for number in range(5)]
BAD = WEEK[3]
OF_EACH = 4
NO_ACTOR = {key: value for key, value in VIEW.items() if key != "actor"}
INVALID = 2
"""Which event of an hour is not valid, where one is not."""

Stats = Mapping[str, object]
NO_VERDICT: Stats = {}
GOOD = HourVerdict().as_footer_stats()
UNEXPLAINED = HourVerdict({"unexplained": 2}).as_footer_stats()
BEFORE_VERDICTS = Account(rows=OF_EACH, events=OF_EACH, unexplained=2).as_footer_stats()


def number_of(hour: Hour, number: int) -> int:
    return (hour.number - HOUR.number) * 100 + number


def events(hour: Hour, *, invalid: bool = False) -> pa.Table:
    """Four events of the hour, of which one may not be valid."""
    return table(
        *(
            row(
                number_of(hour, number),
                NO_ACTOR if invalid and number == INVALID else VIEW,
                timecreated=hour.start,
            )
            for number in range(OF_EACH)
        )
    )


@dataclass
class Week:
    """Five stored hours, an event store and a ledger."""

    folder: Path
    store: HostileStore
    chunk_rows: int = 1_000

    @property
    def storage(self) -> PartitionStore:
        return PartitionStore(str(self.folder))

    def write(self, hour: Hour, table: pa.Table | None = None, stats: Stats = GOOD) -> None:
        self.storage.write(CALIPER_EVENTS, hour, events(hour) if table is None else table, stats)

    def open_ledger(self) -> Ledger:
        return Ledger(f"sqlite:///{self.folder / 'ledger.sqlite'}")

    def deliver(
        self, send: Send = Send.UNACKNOWLEDGED, *, withhold: bool = True
    ) -> dict[Hour, DeliveryCounts]:
        """One run over the week."""
        (store,) = require_event_stores(Settings.from_environment())
        with self.open_ledger() as ledger:
            left = ledger.backlog(SITE).all()
        request = DeliveryRequest(
            events=lambda _: CALIPER_EVENTS,
            storage=self.storage,
            hours=WEEK,
            site=SITE,
            sensor=SENSOR,
            open_ledger=self.open_ledger,
            send=send,
            left=left,
            withhold=withhold,
            chunk_rows=self.chunk_rows,
        )
        sent = {part.hour: part.delivery for part in request.deliver(store, lambda: False)}
        assert sorted(sent) == WEEK
        for hour, counts in sent.items():
            stored = self.storage.footer_stats(EMISSION_RESULTS, hour)
            assert DeliveryCounts.from_footer_stats(stored) == counts
        return sent

    def arrived(self) -> list[int]:
        """The numbers of the events of all requests, in order."""
        found = [event for body in self.store.bodies for event in json.loads(body)["data"]]
        return sorted(int(event["id"][-12:], 16) for event in found)


def of(*hours: Hour) -> list[int]:
    return [number_of(hour, number) for hour in hours for number in range(OF_EACH)]


OTHERS = of(*(hour for hour in WEEK if hour != BAD))


@pytest.fixture(params=[1_000, 2], ids=["whole", "in parts"])
def week(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Week]:
    with HostileStore(OK) as store, environment({"CALIPER_EVENT_STORE_URL": store.url}):
        week = Week(tmp_path, store, request.param)
        for hour in WEEK:
            week.write(hour)
        yield week


def repeated(hour: Hour) -> pa.Table:
    """The events of an hour, of which the last one has the id of the first."""
    found = events(hour)
    ids = found["event_id"].to_pylist()
    index = found.schema.get_field_index("event_id")
    return found.set_column(index, "event_id", [[*ids[:-1], ids[0]]])


@pytest.mark.parametrize(
    ("stats", "reason"),
    [(UNEXPLAINED, "unexplained"), (BEFORE_VERDICTS, "unexplained"), (NO_VERDICT, "repeated_id")],
    ids=["by its verdict", "before there were verdicts", "ids again"],
)
def test_a_bad_hour_amid_a_week_is_not_sent_and_the_others_are(
    week: Week, stats: Stats, reason: str
) -> None:
    week.write(BAD, repeated(BAD) if reason == "repeated_id" else None, stats)
    sent = week.deliver()
    assert week.arrived() == OTHERS
    assert sent[BAD].is_withheld
    assert list(sent[BAD].withheld) == [reason]
    assert (sent[BAD].acknowledged, sent[BAD].outstanding, sent[BAD].sent) == (0, 0, 0)
    assert not any(counts.withheld for hour, counts in sent.items() if hour != BAD)
    for send in (Send.UNACKNOWLEDGED, Send.NEW, Send.CHANGED, Send.REJECTED):
        week.deliver(send)
    assert week.arrived() == OTHERS


def test_not_even_who_asks_for_everything_gets_it(week: Week) -> None:
    week.write(BAD, stats=UNEXPLAINED)
    week.deliver(Send.ALL)
    week.deliver(Send.ALL)
    assert week.arrived() == sorted(OTHERS * 2)


def test_an_hour_that_is_good_again_leaves_once(week: Week) -> None:
    week.write(BAD, stats=UNEXPLAINED)
    week.deliver()
    week.write(BAD)
    assert week.deliver()[BAD].sent == OF_EACH
    assert week.deliver()[BAD].already_acknowledged == OF_EACH
    assert week.arrived() == of(*WEEK)


def test_what_was_acknowledged_before_stays_known(week: Week) -> None:
    week.deliver()
    week.write(BAD, stats=UNEXPLAINED)
    counts = week.deliver()[BAD]
    assert (counts.acknowledged, counts.already_acknowledged) == (OF_EACH, OF_EACH)
    assert (counts.is_withheld, counts.withheld) == (True, {"unexplained": 0})
    assert week.arrived() == of(*WEEK)


@pytest.mark.parametrize("is_judged", [True, False], ids=["by its mark", "judged when it is sent"])
def test_an_event_that_is_not_valid_is_withheld_alone(week: Week, is_judged: bool) -> None:
    found = events(BAD, invalid=True)
    if is_judged:
        marked = mark_invalid(found, [INVALID])
        week.write(BAD, marked, HourVerdict({"invalid": 1}).as_footer_stats())
    else:
        week.write(BAD, found, NO_VERDICT)
    counts = week.deliver()[BAD]
    assert (counts.withheld, counts.is_withheld) == ({"invalid": 1}, False)
    assert (counts.events, counts.acknowledged, counts.outstanding) == (OF_EACH, OF_EACH - 1, 0)
    assert week.arrived() == [it for it in of(*WEEK) if it != number_of(BAD, INVALID)]
    held = withheld_events(week.storage, CALIPER_EVENTS, BAD, EventFilter()).withheld
    assert held == {"invalid": 1}


def test_a_site_that_upgrades_can_send_everything_as_before(week: Week) -> None:
    week.write(WEEK[1], stats=UNEXPLAINED)
    week.write(WEEK[2], stats=BEFORE_VERDICTS)
    marked = mark_invalid(events(BAD, invalid=True), [INVALID])
    week.write(BAD, marked, HourVerdict({"invalid": 1}).as_footer_stats())
    sent = week.deliver(withhold=False)
    assert week.arrived() == of(*WEEK)
    assert all(counts.acknowledged == OF_EACH for counts in sent.values())


def test_a_withheld_hour_leaves_the_backlog(week: Week) -> None:
    """Otherwise the sensor would ask for it for ever, and nothing else would be sent there."""
    week.write(BAD, stats=UNEXPLAINED)
    (store,) = require_event_stores(Settings.from_environment())
    with week.open_ledger() as ledger:
        ledger.backlog(SITE).add(store.ledger_name(), WEEK)
    week.deliver()
    with week.open_ledger() as ledger:
        assert ledger.backlog(SITE).all() == {}


def test_the_sentence_names_the_hours_and_the_cure(week: Week) -> None:
    week.write(BAD, stats=UNEXPLAINED)
    assert withheld_sentence(withheld_hours(week.deliver())) == (
        f"Not sent: 1 withheld hour, {BAD} (log rows without an explanation). Materialize these "
        "hours again, or set CALIPER_WITHHOLD_INVALID=false to send them as they are."
    )
    week.write(BAD)
    assert withheld_sentence(withheld_hours(week.deliver())) is None


def test_no_setting_is_named_that_would_not_send_the_hour() -> None:
    """An event store would keep one of two events with the same id, so none of them is sent."""
    counts = DeliveryCounts(events=2, withheld={Reason.REPEATED_ID.value: 2})
    assert withheld_sentence(withheld_hours({BAD: counts})) == (
        f"Not sent: 1 withheld hour, {BAD} (event ids that occur again). Materialize these hours "
        "again."
    )


@pytest.mark.parametrize("withhold", [True, False])
@pytest.mark.parametrize("send", [Send.UNACKNOWLEDGED, Send.ALL, Send.CHANGED])
def test_an_hour_that_was_made_under_another_filter_of_rows_is_not_sent(
    week: Week, monkeypatch: pytest.MonkeyPatch, send: Send, withhold: bool
) -> None:
    path = week.folder / "filter.yaml"
    path.write_text("rows: {guests: false}")
    monkeypatch.setenv("CALIPER_EVENT_FILTER", str(path))
    (store,) = require_event_stores(Settings.from_environment())
    made_now = GOOD | store.filter.rows.footer_stats()
    for hour in WEEK:
        week.write(hour, stats=made_now)
    week.write(WEEK[1], stats=GOOD)
    week.write(BAD, stats=GOOD | {"row_filter": "0123456789abcdef"})

    sent = week.deliver(send, withhold=withhold)

    held = withheld_hours(sent)
    assert list(held) == [WEEK[1], BAD]
    assert sent[BAD].withheld == {"row_filter": OF_EACH}
    assert week.arrived() == of(*(hour for hour in WEEK if hour not in held))
    sentence = withheld_sentence(held)
    assert sentence
    assert "(events made under another filter of rows)" in sentence
    assert sentence.endswith("Materialize these hours again.")
    assert withheld_events(week.storage, CALIPER_EVENTS, BAD, store.filter).is_withheld

    # Without rules, an hour that lacks the filtered rows is not sent either.
    monkeypatch.delenv("CALIPER_EVENT_FILTER")
    assert WEEK[2] in withheld_hours(week.deliver(send, withhold=withhold))
