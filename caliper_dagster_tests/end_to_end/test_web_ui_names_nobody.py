"""Nothing in the web UI, the records of Dagster and the ledger tells of a person.

Every account of the sample site has names, an address and numbers that occur nowhere else, and a
user id that no other number resembles. The event store gets pseudonyms. Then real pages are looked
at in a browser: what they show, and every answer that they receive, of GraphQL and of the run's
log. The runs are such as tell most: hours that arrive, events that the event store rejects, and an
hour that the leak check withholds.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from selenium.webdriver import Chrome

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.embedded.event_store import running
from caliper_dagster.operations.demo import Demo
from caliper_dagster_tests.end_to_end.test_web_ui import (
    LINEAGE,
    Person,
    end_of_run,
    environment,
    text_of,
    web_ui,
)
from caliper_dagster_tests.end_to_end.test_web_ui_of_commands import runs_by_job
from caliper_dagster_tests.harness.commands import command_line

LOG = "mdl_logstore_standard_log"
RAISED = 77_000_000_000
ADDRESS = "203.0.113.77"
KEY = "key-of-the-web-ui-tests"
PLANTED = re.compile(rf"planted|(?<![0-9a-f-])77\d{{9}}(?![0-9a-f])|{ADDRESS}", re.IGNORECASE)
"""What no encoding changes: of texts their first letters, and ids; no part of a UUID or a time."""

OWNERS = (
    "userid", "relateduserid", "realuserid", "usermodified", "loggeduser", "grader", "authorid",
    "useridfrom", "useridto",
)  # fmt: skip
LOGS = {"moodle_log", "expanded_log", "log_lifecycle"}
SEEN = "window.seenAnswers"
LISTEN = f"""
{SEEN} = [];
const fetched = window.fetch;
window.fetch = async (...given) => {{
    const answer = await fetched(...given);
    answer.clone().text().then(text => {SEEN}.push(text));
    return answer;
}};
window.WebSocket = class extends window.WebSocket {{
    constructor(...given) {{
        super(...given);
        this.addEventListener('message', message => {SEEN}.push(String(message.data)));
    }}
}};
"""


def busiest_hour(demo: Demo) -> Hour:
    """The hour of the demo with the most rows of courses that have a group."""
    hours = demo.hours()
    with closing(sqlite3.connect(demo.sample)) as site:
        (number,) = site.execute(
            f"SELECT timecreated / 3600 FROM {LOG} WHERE timecreated >= ? AND timecreated < ? "
            "AND courseid IN (SELECT courseid FROM mdl_groups) GROUP BY 1 "
            "ORDER BY count(*) DESC LIMIT 1",
            (hours.start.start, hours.end.start),
        ).fetchone()
    return Hour(number)


def plant(path: Path, hour: Hour) -> None:
    """Give all accounts what is looked for, and the hour a group with a person's name."""
    with closing(sqlite3.connect(path)) as site, site:
        tables = [name for (name,) in site.execute("SELECT name FROM sqlite_master")]
        for table in tables:
            for _, column, *_ in site.execute(f"PRAGMA table_info({table})").fetchall():
                if column in OWNERS:
                    _raise(site, table, column)
        _raise(site, "mdl_user", "id")
        _raise(site, "mdl_context", "instanceid", "contextlevel = 30")
        _raise(site, LOG, "contextinstanceid", "contextlevel = 30")
        _raise(site, LOG, "objectid", "objecttable = 'user'")
        site.execute(
            f"UPDATE mdl_config SET value = value + {RAISED} "
            "WHERE name IN ('siteadmins', 'siteguest') AND value GLOB '[1-9]*'"
        )
        site.execute(
            "UPDATE mdl_user SET firstname = 'Plantedfirst' || id, lastname = 'Plantedlast' || id, "
            "email = 'planted.' || id || '@people.example', username = 'planteduser' || id, "
            "idnumber = 'Planted-' || id"
        )
        site.execute(f"UPDATE {LOG} SET ip = ? WHERE ip IS NOT NULL", (ADDRESS,))
        row, user, group = site.execute(
            f"SELECT log.id, log.userid, g.id FROM {LOG} AS log JOIN mdl_groups AS g "
            "ON g.courseid = log.courseid JOIN mdl_user AS u ON u.id = log.userid "
            "WHERE log.timecreated >= ? AND log.timecreated < ? ORDER BY log.id LIMIT 1",
            (hour.start, hour.end),
        ).fetchone()
        site.execute(
            "UPDATE mdl_groups SET name = (SELECT 'of ' || firstname || ' ' || lastname "
            "FROM mdl_user WHERE id = ?) WHERE id = ?",
            (user, group),
        )
        site.execute(
            f"UPDATE {LOG} SET eventname = '\\core\\event\\group_created', component = 'core', "
            "action = 'created', target = 'group', objecttable = 'groups', objectid = ?, "
            "crud = 'c', relateduserid = NULL, other = 'null' WHERE id = ?",
            (group, row),
        )


def _raise(site: sqlite3.Connection, table: str, column: str, where: str = "true") -> None:
    site.execute(
        f"UPDATE {table} SET {column} = {column} + {RAISED} WHERE {column} > 0 AND {where}"
    )


@pytest.fixture
def listening(browser: Chrome) -> Chrome:
    """A browser that keeps every answer that a page receives."""
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTEN})
    return browser


def test_no_page_and_no_record_tells_of_a_person(listening: Chrome, tmp_path: Path) -> None:
    demo = Demo(tmp_path / "demo")
    demo.prepare(students=8)
    bad = busiest_hour(demo)
    start = min(bad, demo.hours().end + -3)
    hours = HourRange(start, start + 3)
    plant(demo.sample, bad)
    with running(demo.arrived, KEY, hostile="refuse=Session*") as url:
        settings = demo.settings() | {
            "CALIPER_EVENT_STORE_URL": url,
            "CALIPER_API_KEY": KEY,
            "CALIPER_START": str(hours.start),
            "CALIPER_PRIVACY": "pseudonymous",
            "CALIPER_PSEUDONYM_KEY": "0123456789abcdef" * 4,
            "CALIPER_STORED_NAMES": "true",
        }
        told = backfill(demo, settings, hours)
        assert "values of persons that the privacy profile forbids" in told
        with web_ui(demo, tmp_path / "dev.log", settings) as address:
            person = Person(listening, address, tmp_path)
            seen = dict(walk(person, [hour.key for hour in hours], address))
    everything = "\n".join(seen.values())
    # That the search would see something: what these pages are known to show.
    for known in (
        "rows counted by the database", "no_personal_data", "object.name (name)", "Not sent: 1",
        "events by type", "lateness (minutes)", "rejected",
    ):  # fmt: skip
        assert known in everything, known
    assert found(seen) == []

    kept = {"the command": told, "the services": (tmp_path / "dev.log").read_text()}
    for path in (demo.folder / "dagster").rglob("*"):
        # Stored log rows hold the persons, and so do the events that are withheld for it.
        is_withheld = "caliper_events" in path.parts and f"{bad.datetime:%Y-%m-%dT%H}" in path.name
        if path.is_file() and not LOGS & {*path.parts} and not is_withheld:
            kept[str(path)] = content(path)
    assert found(kept) == []
    records = "\n".join(text for place, text in kept.items() if place.endswith((".db", ".sqlite")))
    assert all(known in records for known in ("Not sent: 1", "urn:uuid:", "object.name (name)"))
    stored = [place for place in kept if re.search(r"/caliper_events/.*\.parquet$", place)]
    assert len(stored) == len(hours) - 1
    with closing(sqlite3.connect(demo.arrived)) as store:
        bodies = [str(body) for (body,) in store.execute("SELECT body FROM envelopes")]
    assert bodies
    assert found({"what was sent": "\n".join(bodies)}) == []


def backfill(demo: Demo, settings: dict[str, str], hours: HourRange) -> str:
    """What the command says about hours of which one is withheld."""
    ended = subprocess.run(
        command_line("backfill", "--from", str(hours.start), "--to", str(hours.end), "--verbose"),
        cwd=demo.folder.parent,
        env=environment(settings),
        capture_output=True,
        text=True,
    )
    assert ended.returncode, ended.stdout
    return ended.stdout + ended.stderr


def walk(person: Person, keys: list[str], address: str) -> Iterator[tuple[str, str]]:
    """What each page shows, and what it was told."""
    events = "caliper_events"
    pages: list[tuple[str, Callable[[Chrome], object]]] = [
        ("/", text_of),
        (LINEAGE, lambda page: events in text_of(page)),
        ("/runs", lambda page: "backfill" in text_of(page)),
        ("/overview/sensors", lambda page: "sensor" in text_of(page)),
        ("/deployment/daemons", text_of),
        *((f"/runs/{run}", end_of_run) for run in runs_by_job(address).values()),
    ]
    for asset in ("moodle_log", "expanded_log", events, "emission_results"):
        pages.append((f"/assets/{asset}?view=events", lambda page: keys[-1] in text_of(page)))
        pages += [
            (
                f"/assets/{asset}?view=partitions&partition={key}",
                lambda page: "seconds" in text_of(page) or "Failed" in text_of(page),
            )
            for key in keys
        ]
        pages.append((f"/assets/{asset}?view=checks", lambda page: "check" in text_of(page)))
    checks = f"/assets/{events}?view=checks&checkDetail=no_personal_data"
    pages.append((checks, lambda page: "object.name (name)" in text_of(page)))
    pages.append(("/assets/event_store", lambda page: "events acknowledged" in text_of(page)))
    pages.append(("/assets/moodle/user", lambda page: "a row is one account" in text_of(page)))
    for page, is_there in pages:
        person.opens(page)
        person.sees(f"the page {page}", is_there)
        yield page, _seen(person.browser)
        if page in {f"/assets/{asset}?view=events" for asset in (events, "emission_results")}:
            person.opens(page.partition("?")[0])
            person.clicks("Plots")
            person.finds("a plot", "//canvas")
            yield f"the plots of {page}", _seen(person.browser)


def _seen(browser: Chrome) -> str:
    """All of a page, and of what it was told."""
    answers = browser.execute_script(f"return {SEEN}")
    return "\n".join([browser.page_source, text_of(browser), *answers])


def content(path: Path) -> str:
    """A file as it is; of a database and of stored hours each value, whole and decompressed."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return f"{table.schema.metadata}\n{table.to_pylist()}"
    if path.suffix not in (".db", ".sqlite"):
        return path.read_bytes().decode("utf-8", "replace")
    with closing(sqlite3.connect(path)) as database:
        tables = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        rows = [row for name in tables for row in database.execute(f'SELECT * FROM "{name}"')]
    return "\n".join(str(value) for row in rows for value in row)


def found(texts: dict[str, str]) -> list[str]:
    return [
        f"{place}: {match.group()} in {text[max(0, match.start() - 80) : match.end() + 80]!r}"
        for place, text in texts.items()
        if (match := PLANTED.search(text))
    ]
