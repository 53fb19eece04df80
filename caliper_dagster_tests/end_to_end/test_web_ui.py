"""What a person sees: an hour of the demo, materialized in the real web UI with a real browser.

With ``CALIPER_SCREENSHOTS`` set to a folder (``make screenshots``) the pictures of the
documentation are taken on the way; the other hours of the demo are then filled beforehand.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
import requests
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.color import Color
from selenium.webdriver.support.wait import WebDriverWait

from caliper_dagster.core.hours import Hour
from caliper_dagster.embedded.arrivals import arrivals
from caliper_dagster.operations.demo import Demo
from caliper_dagster_tests.harness.commands import command_line
from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.servers import die_with_parent

CHAIN = ("moodle_log", "expanded_log", "caliper_events", "emission_results")
DESTINATION = "event_store"
BEFORE = ("logstore_standard_log", "records")
"""What the chain reads; the lineage of the chain's group shows them as links to theirs."""
LINEAGE = "/locations/caliper_dagster.definitions/asset-groups/caliper/lineage"
PICTURES = os.environ.get("CALIPER_SCREENSHOTS")

# Much more than it takes: other work may keep the processors.
START_SECONDS = 150
RUN_SECONDS = 150
PAGE_SECONDS = 60
STOP_SECONDS = 60

T = TypeVar("T")


@pytest.mark.usefixtures("hour_in_progress")
def test_an_hour_materialized_in_the_web_ui_turns_green_and_arrives(
    browser: Chrome, tmp_path: Path
) -> None:
    demo = Demo(tmp_path / "demo")
    hour = demo.hours().end + -1
    demo.prepare(students=400)  # so many that an hour takes several envelopes
    if PICTURES:
        fill_earlier_hours(demo, hour)
    expected, before = log_rows(demo, hour), arrived(demo)

    with web_ui(demo, tmp_path / "dev.log") as address:
        person = Person(browser, address, tmp_path)
        person.opens(LINEAGE)
        person.sees("Moodle's tables, four assets and the event store in a row", is_one_lineage)

        launch_from_the_web_ui(person, hour)

        numbers = {asset: numbers_of(person, asset, hour) for asset in CHAIN}
        assert numbers["moodle_log"]["rows counted by the database"] == str(expected)
        assert numbers["caliper_events"]["log rows"] == str(expected)
        assert numbers["caliper_events"]["unexplained rows"] == "0"
        assert numbers["caliper_events"]["dagster/uri"].startswith("file:///")
        assert "preview" in numbers["caliper_events"]
        assert '"ViewEvent"' in numbers["caliper_events"]["events by type"]
        acknowledged = int(numbers["emission_results"]["acknowledged"])
        made = numbers["caliper_events"]
        assert acknowledged == int(made["events"]) + int(made["derived events"]) > 0

        person.opens(LINEAGE)
        person.sees("a latest event and filled partitions on all four assets", is_filled)
        person.pictures("lineage", height=440, width=1800)
        walk_along_the_lineage(person, acknowledged)

        now = arrived(demo)
        assert now.events - before.events == acknowledged
        person.opens(demo.page())
        person.sees("the number of events", lambda page: f"{now.events:,}" in text_of(page))
        assert set(now.by_type) <= set(text_of(browser).split())
        person.pictures("event-store", height=900)

    # The last of them notices by itself that the others are gone.
    deadline = time.monotonic() + STOP_SECONDS
    while left_over(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left_over(tmp_path)


def launch_from_the_web_ui(person: Person, hour: Hour) -> None:
    """Materialize the hour by clicking, starting on the page of the group."""
    person.clicks("Materialize all (4)…")
    field = person.finds(
        "the field for partitions", "//input[starts-with(@placeholder,'No matching partitions')]"
    )
    field.send_keys(hour.key, Keys.ENTER)
    person.clicks("Launch 1 run")
    # The notice of the launch has a button that leads to the run.
    person.clicks("View")
    outcome = person.sees("the end of the run", end_of_run, RUN_SECONDS)
    assert outcome == "Success", person.tells(f"the run ended with {outcome}")


def walk_along_the_lineage(person: Person, acknowledged: int) -> None:
    """From Moodle's tables to the event store, looking at each asset on the way."""
    person.opens("/asset-groups")
    person.sees("the groups of the whole lineage", lambda page: "26 assets" in text_of(page))
    person.opens("/assets/moodle/user")
    person.sees("what the table is", lambda page: "a row is one account" in text_of(page))
    person.sees("that it is not ours", lambda page: "External Asset" in text_of(page))

    plotted = {
        "moodle_log": "rows counted by the database",
        "expanded_log": "rows with unresolved references",
        "caliper_events": "events ReadingProfile",
        "emission_results": "lateness (minutes)",
        DESTINATION: "backlog (hours)",
    }
    for asset, number in plotted.items():
        person.opens(f"/assets/{asset}")
        person.sees(f"the tags of {asset}", lambda page: "pii" in text_of(page).splitlines())
        if asset != DESTINATION:
            person.finds("the link to the code", "//a[contains(@href,'/dagster/assets.py:')]")
        person.clicks("Plots")
        person.finds(
            f"the plot of {number} of {asset}",
            f"//span[normalize-space()='{number}']/../following-sibling::*//canvas",
        )
        if asset == "caliper_events":
            person.pictures("plots", height=900, scroll_to="events ReadingProfile")

    person.opens(f"/assets/{DESTINATION}")
    person.sees("its numbers", lambda page: "events acknowledged" in overview_metadata(page))
    observed = overview_metadata(person.browser)
    assert int(observed["events acknowledged"]) == acknowledged
    assert observed["backlog (hours)"] == "0"
    person.pictures("destination", height=900)


def numbers_of(person: Person, asset: str, hour: Hour) -> dict[str, str]:
    """What the page of the asset's partition tells, once it shows it in green."""
    person.opens(f"/assets/{asset}?view=partitions&partition={hour.key}")
    tag = person.finds(f"{asset} of {hour}, materialized", "//*[text()='Materialized']")
    color = Color.from_string(tag.value_of_css_property("color"))
    assert color.green > max(color.red, color.blue), color.rgb
    person.sees("its numbers", lambda page: "seconds" in metadata(page))
    if asset == "caliper_events":
        person.pictures("partition", height=900)
    return metadata(person.browser)


# --- What is on a page --------------------------------------------------------------------------


def text_of(browser: Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def metadata(browser: Chrome) -> dict[str, str]:
    return {row[0]: row[1] for row in table_rows(browser) if len(row) > 1}


def overview_metadata(browser: Chrome) -> dict[str, str]:
    """The latest metadata on the overview of an asset: key, time, value."""
    return {row[0]: row[2] for row in table_rows(browser) if len(row) > 2}


def table_rows(browser: Chrome) -> list[list[str]]:
    """The cells of each row of a table, without the rows of a preview, a table in a cell."""
    rows = browser.find_elements(By.XPATH, "//tr[not(ancestor::td)]")
    return [[cell.text.strip() for cell in row.find_elements(By.XPATH, "./td")] for row in rows]


def boxes(browser: Chrome) -> dict[str, tuple[str, float, float]]:
    """The assets in the picture of the lineage: what each says, its left and its right side."""
    found = browser.execute_script(
        """return [...document.querySelectorAll('foreignObject')].map(box => {
            const {left, right} = box.getBoundingClientRect();
            return [box.textContent, left, right];
        })"""
    )
    names = (*CHAIN, DESTINATION, *BEFORE)
    return {name: tuple(box) for name in names for box in found if box[0].startswith(name)}


def arrows(browser: Chrome) -> list[tuple[float, float]]:
    """Where each arrow of the lineage begins and ends."""
    found = browser.execute_script(
        """return [...document.querySelectorAll('path[marker-end]')].map(arrow => {
            const {left, right} = arrow.getBoundingClientRect();
            return [left, right];
        })"""
    )
    return [tuple(arrow) for arrow in found]


def is_one_lineage(browser: Chrome) -> bool:
    found, drawn = boxes(browser), arrows(browser)
    log, records = BEFORE
    pairs = [*pairwise((log, *CHAIN, DESTINATION)), (records, "expanded_log")]
    if not {name for pair in pairs for name in pair} <= found.keys() or len(drawn) != len(pairs):
        return False
    return all(
        any(
            abs(left - found[first][2]) < 30 and abs(right - found[second][1]) < 10
            for left, right in drawn
        )
        for first, second in pairs
    )


def is_filled(browser: Chrome) -> bool:
    said = [box[0] for name, box in boxes(browser).items() if name in CHAIN]
    return len(said) == len(CHAIN) and all(
        re.search(r" ago.*Partitions[1-9]\d*% filled", words) for words in said
    )


def end_of_run(browser: Chrome) -> str | None:
    words = text_of(browser).splitlines()
    return next((word for word in ("Success", "Failure", "Canceled") if word in words), None)


# --- Who looks ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """Someone at the browser, who waits for what is to come and tells what came instead."""

    browser: Chrome
    address: str
    folder: Path

    def opens(self, page: str) -> None:
        self.browser.get(self.address + page if page.startswith("/") else page)

    def sees(
        self, what: str, condition: Callable[[Chrome], T | None], seconds: float = PAGE_SECONDS
    ) -> T:
        """Wait for a condition, and return what it returns.

        The browser draws a page anew at any time, so elements may be gone when they are looked at.
        """
        waiting = WebDriverWait(
            self.browser,
            seconds,
            poll_frequency=0.2,
            ignored_exceptions=(NoSuchElementException, StaleElementReferenceException),
        )
        try:
            return waiting.until(condition)
        except TimeoutException:
            pytest.fail(self.tells(f"not seen in {seconds} s: {what}"), pytrace=True)

    def finds(self, what: str, path: str) -> WebElement:
        def shown(browser: Chrome) -> WebElement | None:
            found = browser.find_elements(By.XPATH, path)
            return next((element for element in found if element.is_displayed()), None)

        return self.sees(what, shown)

    def clicks(self, button: str) -> None:
        path = f"//*[self::button[not(@disabled)] or self::a][normalize-space()='{button}']"
        # By a script: a notice slides in, and the mouse would miss it.
        self.browser.execute_script(
            "arguments[0].click()", self.finds(f"the button {button}", path)
        )

    def tells(self, what: str) -> str:
        """What is wrong, with all that helps to find out why."""
        picture = self.folder / "seen.png"
        self.browser.save_screenshot(str(picture))
        said = (self.folder / "dev.log").read_text(errors="replace")
        return (
            f"{what}\nPicture: {picture}\nPage: {self.browser.current_url}\n"
            f"{text_of(self.browser)[:2000]}\n--- the services said:\n{said[-2000:]}"
        )

    def pictures(
        self, name: str, height: int, width: int = 1440, scroll_to: str | None = None
    ) -> None:
        """Take a picture for the documentation, if that is asked for."""
        if not PICTURES:
            return
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.browser.refresh()
        ready = {
            "lineage": is_filled,
            "partition": lambda page: "seconds" in metadata(page),
            "destination": lambda page: "hours received" in overview_metadata(page),
            "checks": lambda page: "failed_hours_retried" in text_of(page),
            "failure": lambda page: "cannot be reached" in text_of(page),
        }
        self.sees("the page again", ready.get(name, text_of))
        if scroll_to:
            self.clicks("Plots")
            place = self.finds(scroll_to, f"//span[normalize-space()='{scroll_to}']")
            self.browser.execute_script("arguments[0].scrollIntoView()", place)
            time.sleep(2)  # the plots are drawn with an animation
        folder = Path(PICTURES)
        folder.mkdir(parents=True, exist_ok=True)
        self.browser.save_screenshot(str(folder / f"{name}.png"))
        self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# --- What is looked at --------------------------------------------------------------------------


@contextmanager
def web_ui(demo: Demo, log: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """``caliper-dagster dev`` on the demo, from when it answers until it has ended.

    Args:
        demo: its folder has been prepared.
        log: takes what the services say.
        settings: instead of those of the demo; its event store is then not started.
    """
    port = free_port()
    folder = ["--folder", str(demo.folder)] if settings is None else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            command_line("dev", *folder, "--port", str(port)),
            cwd=log.parent,
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{address}/server_info"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no web UI at {address}:\n{log.read_text(errors='replace')}")
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """For the commands: these settings and none of the tester's own."""
    return clean_environment(dict(os.environ)) | {"PYTHONPATH": str(ROOT)} | dict(settings or {})


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def left_over(folder: Path) -> list[str]:
    """Processes that still run with their settings in the folder (Linux only)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return [command for command in found if "dagster" in command]


def fill_earlier_hours(demo: Demo, hour: Hour) -> None:
    with demo.event_store():
        settings = demo.settings()
        span = ("--from", settings["CALIPER_START"], "--to", str(hour))
        subprocess.run(
            command_line("backfill", *span),
            cwd=demo.folder,
            env=environment(settings),
            check=True,
        )


def log_rows(demo: Demo, hour: Hour) -> int:
    with closing(sqlite3.connect(demo.sample)) as moodle:
        (number,) = moodle.execute(
            "SELECT count(*) FROM mdl_logstore_standard_log"
            " WHERE timecreated >= ? AND timecreated < ?",
            (hour.start, hour.end),
        ).fetchone()
    return int(number)


@dataclass(frozen=True)
class Arrived:
    events: int = 0
    by_type: tuple[str, ...] = ()


def arrived(demo: Demo) -> Arrived:
    if not demo.arrived.exists():
        return Arrived()
    found = arrivals(demo.arrived)
    return Arrived(found.events, tuple(found.by_type))
