"""Keyed ids over time: which key an hour has, and what a change of key or profile may not do."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.config.connections import open_ledger, open_store
from caliper_dagster.config.event_stores import events_frame, named_destination, renderings
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hour_verdict import Reason
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.delivery.fan_out import DeliveryRequest
from caliper_dagster.delivery.materialize import write_expanded, write_log
from caliper_dagster.delivery.renderings import claim_keys, write_rendering
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter import Send
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.hostile_store import OK, HostileStore

END = Hour.from_key("2026-03-02-12:00")
HOURS = HourRange(END + -3, END)
SITE = "https://moodle.example.org"
KEY = "0123456789abcdefghijklmnopqrstuvw"
OTHER = "9876543210ABCDEFGHIJKLMNOPQRSTUVW"
ROTATED = f"{KEY}\n{END + -1} {OTHER}"
PSEUDONYMOUS = {"CALIPER_PRIVACY": "pseudonymous"}


@dataclass
class Chain:
    """Three expanded hours, and an event store."""

    folder: Path
    url: str
    store: HostileStore
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        return {
            "MOODLE_DB_URL": self.url,
            "MOODLE_WWWROOT": SITE,
            "CALIPER_STORAGE": str(self.folder),
            "CALIPER_EVENT_STORE_URL": self.store.url,
            **self.variables,
        }

    def render(self, hours: HourRange = HOURS, /, **variables: str) -> dict[Hour, list[str]]:
        """Make the events; returns their ids by hour."""
        self.variables = variables
        with environment(self.environment()):
            settings = Settings.from_environment()
            (rendering,) = renderings(settings)
            claim_keys(settings, rendering, lambda: open_ledger(settings))
            storage = open_store(settings)
            write_rendering(settings, rendering, storage, hours)
            frame = events_frame(settings, rendering)
            return {
                hour: storage.read(frame, [hour], ["event_id"])["event_id"].to_pylist()
                for hour in hours
            }

    def send(self, send: Send = Send.UNACKNOWLEDGED) -> Mapping[Hour, DeliveryCounts]:
        with environment(self.environment()):
            settings = Settings.from_environment()
            store = named_destination(settings, None)
            request = DeliveryRequest(
                events=lambda one: events_frame(settings, one.rendering),
                storage=open_store(settings),
                hours=list(HOURS),
                site=settings.identity().site_id,
                sensor=SITE,
                open_ledger=lambda: open_ledger(settings),
                send=send,
                left={},
                withhold=settings.withhold_invalid,
                allowed_fields=settings.allowed_fields,
            )
            return {sent.hour: sent.delivery for sent in request.deliver(store, lambda: False)}

    def arrived(self) -> list[dict[str, object]]:
        return [event for body in self.store.bodies for event in json.loads(body)["data"]]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("site") / "moodle.sqlite"
    write_sample(path, students=8, hours=len(HOURS), seed=5, end=END)
    return f"sqlite:///{path}"


@cache
def expanded(url: str) -> Path:
    """A storage with the expanded hours of a site, beside its database."""
    folder = Path(url.removeprefix("sqlite:///")).parent / "expanded"
    settings = {"MOODLE_DB_URL": url, "MOODLE_WWWROOT": SITE, "CALIPER_STORAGE": str(folder)}
    with environment(settings), MoodleDatabase.open(url) as database:
        storage = open_store(Settings.from_environment())
        write_log(database, storage, HOURS)
        write_expanded(database, storage, HOURS, fresh=False)
    return folder


@pytest.fixture
def chain(url: str, tmp_path: Path) -> Iterator[Chain]:
    with HostileStore(OK) as store:
        yield Chain(Path(shutil.copytree(expanded(url), tmp_path / "data")), url, store)


def test_a_key_of_a_later_hour_changes_no_earlier_id(chain: Chain) -> None:
    before = chain.render(CALIPER_PSEUDONYM_KEY=KEY, **PSEUDONYMOUS)
    after = chain.render(CALIPER_PSEUDONYM_KEY=ROTATED, **PSEUDONYMOUS)
    *earlier, last = HOURS
    assert all(before.values())
    assert [after[hour] for hour in earlier] == [before[hour] for hour in earlier]
    assert not {*after[last]} & {*before[last]}
    assert chain.render(HourRange(last, END), **chain.variables) == {last: after[last]}


def test_a_rotation_sends_nothing_again(chain: Chain) -> None:
    last = END + -1
    chain.render(HourRange(HOURS.start, last), CALIPER_PSEUDONYM_KEY=KEY, **PSEUDONYMOUS)
    chain.render(HourRange(last, END), CALIPER_PSEUDONYM_KEY=ROTATED, **PSEUDONYMOUS)
    assert all(counts.sent for counts in chain.send().values())
    number = len(chain.arrived())
    chain.render(CALIPER_PSEUDONYM_KEY=ROTATED, **PSEUDONYMOUS)
    assert not any(counts.sent for counts in chain.send().values())
    assert len(chain.arrived()) == number


@pytest.mark.parametrize("key", [OTHER, ROTATED])
def test_another_key_for_hours_that_were_sent_is_refused(chain: Chain, key: str) -> None:
    ids = chain.render(CALIPER_PSEUDONYM_KEY=KEY, **PSEUDONYMOUS)
    chain.send()
    with pytest.raises(
        ConfigurationError,
        match=r"CALIPER_PSEUDONYM_KEY is not the key under which events were sent before: .* Put "
        r"the former key back\. To use a new key from an hour after 2026-03-02T11:00Z on, ",
    ) as error:
        chain.render(CALIPER_PSEUDONYM_KEY=key, **PSEUDONYMOUS)
    assert not any(secret in str(error.value) for secret in (KEY, OTHER))
    # The former key, with a later one or without, goes on.
    assert chain.render(CALIPER_PSEUDONYM_KEY=KEY, **PSEUDONYMOUS) == ids
    later = f"{KEY}\n{END + 5} {OTHER}"
    assert chain.render(CALIPER_PSEUDONYM_KEY=later, **PSEUDONYMOUS) == ids


def test_a_key_can_be_replaced_and_tells_what_to_delete(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain.render(CALIPER_PSEUDONYM_KEY=KEY, **PSEUDONYMOUS)
    chain.send()
    former = {event["id"] for event in chain.arrived()}
    chain.variables = {**PSEUDONYMOUS, "CALIPER_PSEUDONYM_KEY": OTHER}
    file = tmp_path / "ids"
    with environment(chain.environment()):
        assert main(["person", "replace-key", "--out", str(file)]) == 0
        assert set(file.read_text().split()) == former
        assert f"It holds {len(former)} events under other ids" in capsys.readouterr().err
        assert main(["person", "replace-key", "--out", str(file)]) == 0
        assert "nothing changes" in capsys.readouterr().err
    # Hours that the former key made are not sent any more.
    withheld = chain.send(Send.ALL)
    assert all(Reason.OTHER_PRIVACY in counts.withheld for counts in withheld.values())
    chain.render(**chain.variables)
    chain.send()
    arrived = [event["id"] for event in chain.arrived()]
    assert len(arrived) == 2 * len(former)
    assert not former & {*arrived[len(former) :]}


def test_an_hour_of_another_profile_is_not_sent(chain: Chain) -> None:
    chain.render()
    chain.variables = {**PSEUDONYMOUS, "CALIPER_PSEUDONYM_KEY": KEY}
    withheld = chain.send(Send.ALL)
    assert {*withheld} == {*HOURS}
    assert all(counts.withheld.keys() == {Reason.OTHER_PRIVACY} for counts in withheld.values())
    assert chain.arrived() == []
    chain.render(**chain.variables)
    assert all(counts.sent for counts in chain.send().values())
    text = json.dumps(chain.arrived())
    assert not re.search(r"profile\.php\?id=\d", text)


@pytest.mark.parametrize("profile", ["full", "identified"])
def test_a_profile_with_the_same_ids_sends_nothing_again(chain: Chain, profile: str) -> None:
    ids = chain.render(CALIPER_PRIVACY="identified" if profile == "full" else "full")
    chain.send()
    number = len(chain.arrived())
    assert chain.render(CALIPER_PRIVACY=profile) == ids
    assert not any(counts.sent for counts in chain.send().values())
    assert len(chain.arrived()) == number
    assert sum(counts.sent for counts in chain.send(Send.CHANGED).values()) > 0


def test_the_pseudonym_of_a_person_is_the_one_in_the_events(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    base = "https://id.example.org/people"
    chain.render(CALIPER_PSEUDONYM_KEY=ROTATED, CALIPER_PSEUDONYM_BASE=base, **PSEUDONYMOUS)
    chain.send()
    seen = set(re.findall(rf"{base}/[-0-9a-f]{{36}}", json.dumps(chain.arrived())))
    told: set[str] = set()
    with environment(chain.environment()):
        for user in range(1, 40):
            assert main(["person", "pseudonym", str(user)]) == 0
            first, second = capsys.readouterr().out.splitlines()
            assert second.endswith(f"  from {END + -1} on")
            told |= {first, second.split()[0]}
    assert seen
    assert seen <= told


def test_only_a_profile_with_pseudonyms_tells_them(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment(chain.environment()):
        assert main(["person", "pseudonym", "5"]) == 2
    assert "has the privacy profile identified, which makes no" in capsys.readouterr().err
    chain.variables = {**PSEUDONYMOUS, "CALIPER_PSEUDONYM_KEY": KEY}
    with environment(chain.environment()):
        assert main(["person", "pseudonym", "nobody"]) == 2
        assert "Moodle has no account of this user name" in capsys.readouterr().err
        assert main(["person", "pseudonym", "admin"]) == 0
        by_name = capsys.readouterr().out
        assert main(["person", "pseudonym", "2"]) == 0
        assert capsys.readouterr().out == by_name


def test_translate_gives_the_events_of_each_destination(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = tmp_path / "stores.yaml"
    stores.write_text(
        "own: {url: https://own.example.org}\n"
        "one:\n  url: https://one.example.org\n  privacy: pseudonymous\n"
        "  pseudonym_key: {env: ONE_KEY}\n"
        "  filter: {caliper_types: {exclude: [SessionEvent]}}\n"
        "two:\n  url: https://two.example.org\n  privacy: pseudonymous\n"
        "  pseudonym_key: {env: TWO_KEY}\n",
        encoding="utf-8",
    )
    values = chain.environment() | {"CALIPER_EVENT_STORES": str(stores)}
    del values["CALIPER_EVENT_STORE_URL"]
    hours = ["--from", str(HOURS.start), "--to", str(HOURS.end)]
    events = {}
    with environment(values | {"ONE_KEY": KEY, "TWO_KEY": OTHER}):
        for name in ("own", "one", "two"):
            out = tmp_path / name
            assert main(["translate", *hours, "--destination", name, "--out", str(out)]) == 0
            events[name] = [json.loads(line) for line in out.read_text().splitlines()]
        out = tmp_path / "default"
        assert main(["translate", *hours, "--out", str(out)]) == 0
        assert out.read_bytes() == (tmp_path / "own").read_bytes()
        capsys.readouterr()
        assert main(["translate", *hours, "--destination", "three", "--out", "-"]) == 2
    assert "--destination three is none of own, one, two" in capsys.readouterr().err
    ids = {name: {event["id"] for event in of_store} for name, of_store in events.items()}
    assert not ids["own"] & ids["one"]
    assert not ids["one"] & ids["two"]
    assert not any(event["type"] == "SessionEvent" for event in events["one"])
    assert len(events["two"]) == len(events["own"]) > len(events["one"])
