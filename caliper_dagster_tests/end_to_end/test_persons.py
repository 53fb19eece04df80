"""Rights of persons: an export has everything, and after an erasure nothing is anywhere.

What is searched are the bytes: of stored hours without their compression, of the ledger, of
Dagster's records, and of what event stores receive afterwards.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.dagster.build import project_definitions
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.persons import PERSONS_JOB
from caliper_dagster.embedded.event_store import running
from caliper_dagster.expander import LIFECYCLE
from caliper_dagster_tests.harness import commands
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    KEY,
    SampleInstallation,
    sample_installation,
)

RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]
SETTING = "CALIPER_ERASE_DELETED_USERS"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SampleInstallation]:
    """An installation that has sent its four hours, with names."""
    monkeypatch.chdir(tmp_path)
    with sample_installation(tmp_path, students=5) as found:
        monkeypatch.setenv("CALIPER_PERSON_NAMES", "true")
        change(
            found,
            # A learner's name in a row of somebody else, and in the name of an activity.
            "UPDATE mdl_logstore_standard_log SET other = "
            """'{"note":"written for ' || (SELECT firstname || ' ' || lastname FROM mdl_user """
            """WHERE username = 'student1') || '"}' WHERE id = """
            "(SELECT max(id) FROM mdl_logstore_standard_log WHERE userid = "
            "(SELECT id FROM mdl_user WHERE username = 'student2'))",
        )
        assert main(["backfill", *RANGE]) == 0
        yield found


def change(site: SampleInstallation, *statements: str) -> None:
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def person(site: SampleInstallation, username: str = "student1") -> tuple[int, list[str]]:
    """The id of a person, and the texts that identify the person."""
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection:
        id_, first, last, email, idnumber = connection.execute(
            "SELECT id, firstname, lastname, email, idnumber FROM mdl_user WHERE username = ?",
            (username,),
        ).fetchone()
    return id_, [text for text in (f"{first} {last}", username, email, idnumber) if text]


def texts(site: SampleInstallation) -> dict[str, str]:
    """What is kept on disk, decoded where it is compressed, by name."""
    found = {}
    store = site.storage
    for frame in (MOODLE_LOG, EXPANDED_LOG, CALIPER_EVENTS):
        rows = store.read(frame, store.hour_sizes(frame)).to_pylist()
        found[frame.name] = "\n".join(
            json.dumps(value, ensure_ascii=False, default=str) for row in rows for value in [row]
        )
    lifecycle = store.id_range_tables(LIFECYCLE)
    for after, to in lifecycle.ranges():
        found[f"{LIFECYCLE} {to}"] = json.dumps(lifecycle.read(after, to).to_pylist())
    for path in (site.folder / "dagster").rglob("*"):
        if path.is_file() and path.suffix != ".parquet":
            found[str(path)] = path.read_bytes().decode("utf-8", "replace")
    return found


def found_in(texts_: dict[str, str], id_: int, names: list[str]) -> list[str]:
    """Where a person is found: by a name, or by the id where ids of users stand."""
    expressions = [rf"(?<!\w){re.escape(name)}(?!\w)" for name in names]
    escaped = [json.dumps(name)[1:-1].replace("\\", "\\\\") for name in names]
    expressions += [re.escape(json.dumps(name)[1:-1]) for name in names if escaped]
    expressions.append(
        rf'(?:\buserid\\*"?[:=] ?|relateduserid\\*"?: ?|realuserid\\*"?: ?|profile\.php\?id=|user:)'
        rf'\\*"?{id_}(?!\d)'
    )
    pattern = re.compile("|".join(expressions), re.IGNORECASE)
    return [
        f"{place}: {match.group()} in {text[max(0, match.start() - 60) : match.end() + 60]!r}"
        for place, text in texts_.items()
        if (match := pattern.search(text))
    ]


def bodies(path: Path, since: int = 0) -> dict[str, str]:
    """What an event store has received after its first envelopes."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT body FROM envelopes ORDER BY rowid").fetchall()
    return {
        f"envelope {number}": _text(body) for number, (body,) in enumerate(rows) if number >= since
    }


def _text(body: bytes | str) -> str:
    return body if isinstance(body, str) else body.decode()


def accounts(site: SampleInstallation) -> list[Account]:
    store = site.storage
    return [Account.from_footer_stats(store.footer_stats(CALIPER_EVENTS, hour)) for hour in HOURS]


def export(site: SampleInstallation, name: str, user: str) -> Path:
    folder = site.folder / name
    assert main(["person", "export", user, "--output", str(folder)]) == 0
    return folder


def number(folder: Path, name: str) -> int:
    path = folder / name
    return len(json.loads(path.read_text())) if path.exists() else 0


def test_after_an_erasure_nothing_tells_of_the_person(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    id_, names = person(site)
    assert found_in(texts(site), id_, names)
    before, rows_before = export(site, "before", "student1"), accounts(site)
    sent = site.folder / "event_store.sqlite"
    first = len(bodies(sent))

    kept = texts(site)
    assert main(["person", "erase", "STUDENT1"]) == 0
    assert "Nothing was changed" in capsys.readouterr().err
    assert {name: text for name, text in texts(site).items() if name in kept} == kept

    assert main(["person", "erase", "student1", "--yes"]) == 0
    assert "still holds" in capsys.readouterr().err
    assert found_in(texts(site), id_, names) == []
    after = export(site, "after", str(id_))
    assert "Nothing about this person is stored" in (after / "index.md").read_text()
    assert number(before, "moodle_log.json") > 10
    assert number(before, "moodle_log_of_others.json") == 1
    assert number(before, "events/caliper_events.json") > 10
    assert list(after.rglob("*.json")) == []

    # The accounting closes, and nothing is sent by itself.
    for old, new in zip(rows_before, accounts(site), strict=True):
        assert (new.counted, new.rows, new.unexplained) == (old.counted, old.rows, 0)
        assert new.events + sum(new.filtered.values()) + sum(new.failed.values()) == new.rows
    assert main(["resend", *RANGE]) == 0
    assert len(bodies(sent)) == first

    # Replay from Moodle, which still has the person; send everything, to a new event store, too.
    for frame in (MOODLE_LOG, EXPANDED_LOG, CALIPER_EVENTS):
        site.storage.delete(frame, list(HOURS))
    assert main(["backfill", *RANGE, "--again", "--fresh"]) == 0
    assert main(["resend", *RANGE, "--all"]) == 0
    assert found_in(bodies(sent, first), id_, names) == []
    with running(site.folder / "new_store.sqlite", KEY) as url:
        monkeypatch.setenv("CALIPER_EVENT_STORE_URL", url)
        assert main(["resend", *RANGE, "--all"]) == 0
    assert bodies(site.folder / "new_store.sqlite")
    assert found_in(bodies(site.folder / "new_store.sqlite"), id_, names) == []
    assert found_in(texts(site), id_, names) == []
    assert all(account.unexplained == 0 for account in accounts(site))
    capsys.readouterr()
    assert main(["translate", *RANGE, "--out", "events.ndjson"]) == 0
    events = {"translate": Path("events.ndjson").read_text()}
    assert found_in(events, id_, names) == []


def test_the_list_of_an_erasure_names_what_the_event_store_holds(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = export(site, "before", "student1")
    exported = {
        event["event_id"]
        for path in (folder / "sent").iterdir()
        for event in json.loads(path.read_text())
    }
    assert main(["person", "erase", "student1", "--yes"]) == 0
    (path,) = (site.folder / "dagster" / "data" / "erased_events").iterdir()
    assert str(path) in capsys.readouterr().err
    listed = json.loads(path.read_text())
    assert {event["id"] for event in listed["events"]} == exported != set()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(it.stat().st_mode) for it in folder.rglob("*") if it.is_file()}
    assert modes == {0o600}
    assert not (site.folder / "dagster" / "data" / "unfinished_erasures.json").exists()


def test_an_erasure_that_is_killed_goes_on(site: SampleInstallation) -> None:
    id_, names = person(site)
    arguments, killed = ("person", "erase", str(id_), "--yes"), 0
    environment = dict(os.environ)
    for delay in (0.4, 0.8, 1.2, 1.6):
        command = commands.start(arguments, environment, site.folder)
        time.sleep(delay)
        killed += not command.ends_within(0)
        command.kill()
    assert killed
    assert main([*arguments]) == 0
    assert found_in(texts(site), id_, names) == []
    assert all(account.unexplained == 0 for account in accounts(site))
    assert main(["resend", *RANGE]) == 0


def requests(site: SampleInstallation, *rows: tuple[int, int, int, int]) -> None:
    """Moodle's data requests: id, type, user, status."""
    change(
        site,
        "CREATE TABLE IF NOT EXISTS mdl_tool_dataprivacy_request "
        "(id INTEGER PRIMARY KEY, type INTEGER, userid INTEGER, status INTEGER)",
        *(f"INSERT OR REPLACE INTO mdl_tool_dataprivacy_request VALUES {row}" for row in rows),
    )


def look(site: SampleInstallation) -> int:
    """A look of the sensor, and the run that it requests; the number of requests."""
    with open_instance() as instance:
        definitions = project_definitions()
        sensor = definitions.resolve_sensor_def(f"{PERSONS_JOB}_sensor")
        with dg.build_sensor_context(instance=instance) as context:
            wanted = sensor.evaluate_tick(context).run_requests or []
        for _ in wanted:
            job = definitions.resolve_job_def(PERSONS_JOB)
            assert job.execute_in_process(instance=instance).success
    return len(wanted)


def test_what_moodle_deletes_is_erased_without_a_command(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "true")
    # This Moodle has no table of requests, and has deleted a user before.
    assert look(site) == 1
    assert look(site) == 0
    deleted, deleted_names = person(site, "student1")
    asking, asking_names = person(site, "student2")
    requests(site, (1, 2, asking, 2), (2, 1, asking, 2))
    assert look(site) == 0

    requests(site, (2, 1, asking, 3))
    assert look(site) == 1
    exported = site.folder / "dagster" / "data" / "person_exports" / "request-2"
    assert number(exported, "moodle_log.json")
    assert look(site) == 0

    change(
        site,
        "UPDATE mdl_user SET deleted = 1, username = email || '.1774', email = 'd41d8cd98f00', "
        f"idnumber = '' WHERE id = {deleted}",
    )
    requests(site, (1, 2, asking, 10))
    assert look(site) == 1
    for id_, names in ((deleted, deleted_names), (asking, asking_names)):
        assert found_in(texts(site), id_, names) == []
    assert not exported.exists()
    assert look(site) == 0
    assert main(["backfill", *RANGE, "--again", "--fresh"]) == 0
    for id_, names in ((deleted, deleted_names), (asking, asking_names)):
        assert found_in(texts(site), id_, names) == []


@pytest.fixture
def pseudonymous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SampleInstallation]:
    """An installation whose event store gets pseudonyms."""
    monkeypatch.chdir(tmp_path)
    with sample_installation(tmp_path, students=5) as found:
        monkeypatch.setenv("CALIPER_PRIVACY", "pseudonymous")
        monkeypatch.setenv("CALIPER_PSEUDONYM_KEY", "0123456789abcdef" * 4)
        assert main(["backfill", *RANGE]) == 0
        yield found


@pytest.mark.parametrize("with_log_rows", [True, False])
def test_an_event_store_with_pseudonyms(
    pseudonymous: SampleInstallation, with_log_rows: bool
) -> None:
    site = pseudonymous
    store = site.storage
    (events,) = [name for name in store.asset_names() if name.startswith("caliper_events")]
    if not with_log_rows:
        for frame in (MOODLE_LOG, EXPANDED_LOG):
            store.delete(frame, list(HOURS))
    exported = export(site, "before", "student1")
    listed = json.loads((exported / "events" / f"{events}.json").read_text())
    actors = Counter(row["event"]["actor"]["id"] for row in listed)
    ((pseudonym, _),) = actors.most_common(1)
    assert pseudonym.startswith("urn:uuid:")
    frame = replace(CALIPER_EVENTS, name=events)
    assert pseudonym in str(store.read(frame, HOURS)["json"].to_pylist())
    assert main(["person", "erase", "student1", "--yes"]) == 0
    stored = store.read(frame, HOURS)
    assert pseudonym not in str(stored["json"].to_pylist())
    reasons = set(stored["reason"].drop_null().to_pylist())
    assert reasons == (set() if with_log_rows else {"erased"})
    assert export(site, "after", "student1")
    assert not (site.folder / "after" / "events").exists()


def test_without_the_setting_nothing_is_erased_by_itself(site: SampleInstallation) -> None:
    assert SETTING not in os.environ
    assert not project_definitions().get_repository_def().has_job(PERSONS_JOB)


def test_who_is_no_person_is_not_erased(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection:
        (guest,) = connection.execute(
            "SELECT value FROM mdl_config WHERE name = 'siteguest'"
        ).fetchone() or (None,)
    if guest is not None:
        assert main(["person", "erase", str(guest), "--yes"]) == 2
        assert "the guest account is none" in capsys.readouterr().err
    assert main(["person", "erase", "nobody-of-this-name"]) == 2
    assert "USER is unknown" in capsys.readouterr().err
