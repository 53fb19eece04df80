"""What the web UI shows of runs that a command has made: a backfill of 24 hours, and a resend."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import requests
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster.operations.demo import Demo
from caliper_dagster_tests.end_to_end.test_web_ui import (
    CHAIN,
    RUN_SECONDS,
    Person,
    end_of_run,
    environment,
    text_of,
    web_ui,
)
from caliper_dagster_tests.harness.commands import command_line

TALL = (1600, 2200)
"""A window in which 24 events fit; the page holds those only that are in sight."""


@pytest.mark.usefixtures("hour_in_progress")
def test_runs_of_commands_are_listed_and_can_be_executed_again(
    browser: Chrome, tmp_path: Path
) -> None:
    demo = Demo(tmp_path / "demo")
    command(demo, "demo", "--folder", str(demo.folder), "--students", "20")
    hours = demo.hours()
    with web_ui(demo, tmp_path / "dev.log") as address:
        command(demo, "resend", "--from", str(hours.end + -1), "--to", str(hours.end))
        browser.set_window_size(*TALL)
        person = Person(browser, address, tmp_path)

        person.opens("/")
        person.sees("the jobs of both runs on the home page", both_jobs)
        person.pictures("home", height=520)

        keys = {hour.key for hour in hours}
        for asset in CHAIN:
            person.opens(f"/assets/{asset}?view=events")
            person.sees(
                f"all 24 hours of {asset} among its events",
                lambda page: keys <= set(text_of(page).split()),
            )
        person.pictures("events", height=770)

        person.opens("/runs")
        person.sees(
            "the command and the hours of the backfill",
            lambda page: (
                {"caliper_dagster/command: backfill", f"caliper_dagster/hours: {hours}"}
                <= set(text_of(page).splitlines())
            ),
        )
        assert "pid:" not in text_of(browser)
        person.pictures("runs", height=520)

        runs = runs_by_job(address)
        person.opens(f"/runs/{runs[RESEND_JOB]}")
        can_be_executed_again(person)
        person.opens(f"/runs/{runs[CHAIN_JOB]}")
        button = can_be_executed_again(person)
        before = browser.current_url
        browser.execute_script("arguments[0].click()", button)
        person.sees("the page of the new run", lambda page: page.current_url != before)
        outcome = person.sees("the end of the new run", end_of_run, RUN_SECONDS)
        assert outcome == "Success", person.tells(f"the run ended with {outcome}")


def command(demo: Demo, *arguments: str) -> None:
    """Run a command to its end, in a process of its own."""
    settings = demo.settings() if demo.is_there() else {}
    ended = subprocess.run(
        command_line(*arguments),
        cwd=demo.folder.parent,
        env=environment(settings),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr


def both_jobs(browser: Chrome) -> bool:
    return {CHAIN_JOB, RESEND_JOB} <= set(text_of(browser).splitlines())


def runs_by_job(address: str) -> dict[str, str]:
    """The id of the run of each job."""
    query = "{runsOrError {... on Runs {results {runId jobName}}}}"
    answer = requests.post(f"{address}/graphql", json={"query": query}, timeout=60).json()
    return {run["jobName"]: run["runId"] for run in answer["data"]["runsOrError"]["results"]}


def can_be_executed_again(person: Person) -> WebElement:
    """The button of the run's page, on which nothing warns of executing the run again."""
    button = person.finds(
        "the button to execute the run again",
        "//button[contains(., 'Re-execute all')][not(@disabled)]",
    )
    # A run that the web UI cannot assign to a loaded job has this icon beside the words.
    assert not button.find_elements(By.CSS_SELECTOR, "[role='img'][aria-label='warning']")
    return button
