"""An event store that is sent only rows of persons who consented, beside one that is sent all."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from caliper_dagster.cli.main import main
from caliper_dagster.config.event_stores import event_store_named, event_stores, events_frame
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.row_accounting import Account, DeliveryCounts
from caliper_dagster.dagster.jobs import RESEND_JOB
from caliper_dagster.embedded.event_store import running
from caliper_dagster.operations.doctor import Verdict, examine
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    KEY,
    SampleInstallation,
    sample_installation,
)

RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]
TOLD = "events made under another filter of rows"
COHORT = "consent-2026"


@dataclass
class Research:
    """The installation, with two event stores, of which one asks for consent."""

    site: SampleInstallation
    url: str

    def execute(self, *statements: str) -> list[tuple[int, ...]]:
        with (
            closing(sqlite3.connect(self.site.folder / "moodle.sqlite")) as connection,
            connection,
        ):
            return [row for statement in statements for row in connection.execute(statement)]

    def write_stores(self, **rules: object) -> None:
        rows = {"opt_in": {"cohorts": [COHORT]}, **rules}
        one = {"url": self.site.environment["CALIPER_EVENT_STORE_URL"], "api_key": {"env": "KEY"}}
        other = {"url": self.url, "api_key": {"env": "KEY"}, "filter": {"rows": rows}}
        file = self.site.folder / "stores.yaml"
        file.write_text(yaml.safe_dump({"all": one, "research": other}))

    def frame(self, name: str) -> Frame:
        settings = self.site.settings
        return events_frame(settings, event_store_named(event_stores(settings), name).rendering)

    def account(self, name: str) -> Account:
        """What became of the rows of all hours."""
        frame, storage = self.frame(name), self.site.storage
        accounts = (Account.from_footer_stats(storage.footer_stats(frame, it)) for it in HOURS)
        return sum(accounts, Account())

    def delivery(self, name: str) -> DeliveryCounts:
        results = event_store_named(event_stores(self.site.settings), name).results
        stats = (self.site.storage.footer_stats(results, hour) for hour in HOURS)
        return sum((DeliveryCounts.from_footer_stats(it) for it in stats), DeliveryCounts())

    def received(self, name: str) -> dict[str, str]:
        """The events that an event store has, as JSON by id."""
        file = {"all": "event_store.sqlite", "research": "research.sqlite"}[name]
        with closing(sqlite3.connect(self.site.folder / file)) as connection:
            bodies = connection.execute("SELECT body FROM envelopes ORDER BY id").fetchall()
        events = [event for (body,) in bodies for event in json.loads(body)["data"]]
        return {event["id"]: json.dumps(event) for event in events}

    def requests(self) -> int:
        with closing(sqlite3.connect(self.site.folder / "research.sqlite")) as connection:
            ((number,),) = connection.execute("SELECT count(*) FROM envelopes")
        return int(number)


@pytest.fixture
def research(tmp_path: Path) -> Iterator[Research]:
    with sample_installation(tmp_path) as site, running(tmp_path / "research.sqlite", KEY) as url:
        found = Research(site, url)
        found.execute(
            "CREATE TABLE mdl_cohort (id INTEGER PRIMARY KEY, idnumber TEXT)",
            "CREATE TABLE mdl_cohort_members (id INTEGER PRIMARY KEY, cohortid INTEGER, "
            "userid INTEGER)",
            f"INSERT INTO mdl_cohort VALUES (3, '{COHORT}')",
            "INSERT INTO mdl_cohort_members (cohortid, userid) "
            "SELECT 3, id FROM mdl_user WHERE id % 2 = 0",
        )
        found.write_stores()
        given = {**site.environment, "KEY": KEY}
        given["CALIPER_EVENT_STORES"] = str(tmp_path / "stores.yaml")
        del given["CALIPER_EVENT_STORE_URL"], given["CALIPER_API_KEY"]
        with pytest.MonkeyPatch.context() as patch, environment(given):
            for name in ("CALIPER_EVENT_STORE_URL", "CALIPER_API_KEY"):
                patch.delenv(name, raising=False)
            yield found


def persons(event: str) -> set[int]:
    """The ids of users in an event."""
    return {int(id_) for id_ in re.findall(r"profile\.php\?id=(\d+)", event)}


def members(research: Research) -> set[int]:
    return {user for (user,) in research.execute("SELECT userid FROM mdl_cohort_members")}


def test_only_those_who_consented_reach_research(
    research: Research, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", *RANGE]) == 0
    everything, some = research.received("all"), research.received("research")
    assert set(some) < set(everything)
    consented = members(research)
    assert set().union(*map(persons, some.values())) <= consented
    assert set().union(*map(persons, everything.values())) - consented
    assert {id_ for id_, event in everything.items() if persons(event) <= consented} >= set(some)

    account, unfiltered = research.account("research"), research.account("all")
    assert account.unexplained == unfiltered.unexplained == 0
    assert account.rows == unfiltered.rows == account.events + account.filtered["opt_in"]
    assert not account.failed
    delivery = research.delivery("research")
    assert delivery.filtered_rows == account.filtered
    assert research.delivery("all").filtered_rows == {}
    assert "Log rows filtered for this event store" in capsys.readouterr().out
    assert delivery.events == delivery.acknowledged == account.events + account.derived == len(some)
    # Somebody leaves and somebody comes: what was sent stays sent, and what is rendered again
    # follows the cohort of now.
    left, came = min(consented), min(set().union(*map(persons, everything.values())) - consented)
    research.execute(f"UPDATE mdl_cohort_members SET userid = {came} WHERE userid = {left}")
    requests = research.requests()
    assert main(["resend", *RANGE]) == 0
    assert research.requests() == requests
    assert main(["backfill", *RANGE]) == 0
    again = research.received("research")
    assert set(some) < set(again)
    assert all(came in persons(event) for id_, event in again.items() if id_ not in some)
    assert main(["resend", *RANGE, "--all", "--destination", "research"]) == 0
    assert research.account("research").unexplained == 0
    frame, storage = research.frame("research"), research.site.storage
    stored = storage.read(frame, list(HOURS), ["json"])["json"].drop_null().to_pylist()
    assert set().union(*map(persons, stored)) <= members(research)
    assert left not in members(research)

    capsys.readouterr()
    assert main(["translate", *RANGE, "--out", str(research.site.folder / "events.ndjson")]) == 0
    assert "filtered" not in capsys.readouterr().err
    assert main(["backfill", *RANGE, "--plan"]) == 0
    plan = capsys.readouterr().out
    assert re.search(r"Log rows filtered for research by opt_in, about +\d", plan), plan
    (found,) = (it for it in examine([research.site.settings]) if it.subject == "Filter")
    assert found.verdict is Verdict.FINE
    assert found.text == (
        f"event store research: opt_in ({len(members(research))} persons opted in)"
    )


def test_after_a_change_of_rules_nothing_leaves_that_was_made_under_the_former(
    research: Research, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", *RANGE]) == 0
    before, requests = research.received("research"), research.requests()
    research.write_stores(courses={"include": [2]})

    # By resend, by the job that sends all again, and by the asset of results alone.
    capsys.readouterr()
    assert main(["resend", *RANGE, "--all", "--destination", "research"]) == 2
    assert TOLD in capsys.readouterr().err
    assert not research.site.run(RESEND_JOB, HOURS).success
    # By the sensor of a backlog.
    settings = research.site.settings
    assert not research.site.send_backlog("research", HOURS).success
    assert research.requests() == requests
    (found,) = (
        it for it in examine([settings]) if it.subject == "Withheld" and "research" in it.text
    )
    assert found.verdict is Verdict.WARNING

    # Rendered again, the hours are sent: nothing is new, for the rules are stricter.
    assert main(["backfill", *RANGE]) == 0
    assert set(research.received("research")) == set(before)
    account = research.account("research")
    assert account.filtered["courses: include"] > 0
    assert account.unexplained == 0
    assert research.delivery("research").outstanding == 0


def test_what_a_filter_needs_and_is_not_there_stops_the_run(
    research: Research, capsys: pytest.CaptureFixture[str]
) -> None:
    research.execute("DROP TABLE mdl_cohort_members")
    assert main(["backfill", *RANGE]) == 2
    message = "cannot read mdl_cohort_members, which a filter of rows needs"
    assert message in " ".join(capsys.readouterr().err.split())
    assert research.requests() == 0
    (found,) = (it for it in examine([research.site.settings]) if it.subject == "Filter")
    assert found.verdict is Verdict.BROKEN
    research.execute(
        "CREATE TABLE mdl_cohort_members (id INTEGER PRIMARY KEY, cohortid INTEGER, userid INTEGER)"
    )
    research.write_stores(opt_in={"cohorts": ["consent-2025"]})
    assert main(["backfill", *RANGE]) == 2
    message = "Event store research: filter.rows: Moodle has no cohort with the ID number"
    assert message in " ".join(capsys.readouterr().err.split())
    assert research.requests() == 0


def test_the_event_store_of_the_environment_and_what_translate_counts(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a rule that needs Moodle, its database is not opened to make events."""
    users = site.folder / "users.txt"
    users.write_text("\n".join(map(str, range(2, 12))))
    file = site.folder / "filter.yaml"
    file.write_text(yaml.safe_dump({"rows": {"opt_out": {"users_file": str(users)}}}))
    monkeypatch.setenv("CALIPER_EVENT_FILTER", str(file))
    out = site.folder / "events.ndjson"
    assert main(["translate", *RANGE, "--out", str(out)]) == 0
    (filtered,) = re.findall(r"([\d,]+) filtered by opt_out", capsys.readouterr().err)
    assert main(["backfill", *RANGE]) == 0
    (store,) = event_stores(site.settings)
    frame = events_frame(site.settings, store.rendering)
    stats = [site.storage.footer_stats(frame, hour) for hour in HOURS]
    account = sum(map(Account.from_footer_stats, stats), Account())
    assert account.filtered == {"opt_out": int(filtered.replace(",", ""))}
    assert account.events + account.derived == len(out.read_text().splitlines())
    assert site.arrived().events == account.events + account.derived > 0
    assert "Filtered" in capsys.readouterr().out

    users.unlink()
    assert main(["backfill", *RANGE]) == 2
    message = f"CALIPER_EVENT_FILTER: rows.opt_out.users_file: the file {users} cannot be read"
    assert message in capsys.readouterr().err
