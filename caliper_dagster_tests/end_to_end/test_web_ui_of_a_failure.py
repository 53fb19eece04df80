"""What a person sees when the event store is down: why an hour failed, since when hours wait, an
alert; and when it is back, a backfill of a week in which all of it arrives.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from caliper_dagster.operations.demo import Demo
from caliper_dagster_tests.end_to_end.test_web_ui import (
    LINEAGE,
    RUN_SECONDS,
    Person,
    arrived,
    end_of_run,
    log_rows,
    metadata,
    text_of,
    web_ui,
)
from caliper_dagster_tests.harness.alert_receivers import mail_server, webhook

CHECKS = "/assets/emission_results?view=checks"
ALERT_SECONDS = 240
BACKFILL_SECONDS = 400
WEEK = 7 * 24


def test_a_failure_is_seen_told_and_made_good(browser: Chrome, tmp_path: Path) -> None:
    demo = Demo(tmp_path / "demo")
    demo.prepare(students=20)
    with demo.event_store():
        """It has an address from now on."""
    hour = demo.hours().end + -1
    first = hour + -WEEK + 1
    with mail_server() as mail, webhook() as hook:
        settings = demo.settings() | {
            "CALIPER_START": str(first),
            "CALIPER_ATTEMPTS": "1",
            "CALIPER_ALERT_EMAIL": "moodle-admins@example.org",
            "CALIPER_SMTP_HOST": "127.0.0.1",
            "CALIPER_SMTP_PORT": str(mail.port),
            "CALIPER_SMTP_SECURITY": "none",
            "CALIPER_ALERT_WEBHOOK": hook.url,
        }
        with web_ui(demo, tmp_path / "dev.log", settings) as address:
            person = Person(browser, address, tmp_path)
            launch(person, hour.key, "Launch 1 run")
            person.clicks("View")
            outcome = person.sees("the end of the run", end_of_run, RUN_SECONDS)
            assert outcome == "Failure", person.tells(f"the run ended with {outcome}")
            person.sees("why it failed", lambda page: "cannot be reached" in text_of(page))
            person.pictures("failure", height=900)

            evaluate_checks(person)
            person.opens(f"{CHECKS}&checkDetail=no_backlog")
            person.sees("since when it waits", lambda page: "waiting since" in text_of(page))
            person.pictures("checks", height=900)

            wait_until(lambda: mail.messages and hook.taken, ALERT_SECONDS)
            (message,), ((_, told),) = mail.messages[:1], hook.taken[:1]
            assert message["To"] == "moodle-admins@example.org"
            failed = "A run of assets failed in the step emission_results, hours"
            assert message.get_content().startswith(failed)
            assert failed in str(told)

            with demo.event_store():
                before = arrived(demo)
                launch(person, f"[{first.key}...{hour.key}]", "Launch backfill")
                person.opens("/runs?view=backfills")
                person.sees(
                    "the backfill completed",
                    lambda page: "Success" in text_of(page).splitlines(),
                    BACKFILL_SECONDS,
                )
                rows = sum(log_rows(demo, each) for each in demo.hours())
                assert arrived(demo).events - before.events >= rows > 0
                evaluate_checks(person)
                person.opens(f"{CHECKS}&checkDetail=no_backlog")
                person.sees("that nothing waits", lambda page: metadata(page).get("hours") == "0")
                wait_until(lambda: "Over" in str(mail.messages[-1]["Subject"]), ALERT_SECONDS)


def launch(person: Person, partitions: str, button: str) -> None:
    """Materialize partitions by clicking, starting on the page of the group."""
    person.opens(LINEAGE)
    person.clicks("Materialize all (4)…")
    field = person.finds(
        "the field for partitions", "//input[starts-with(@placeholder,'No matching partitions')]"
    )
    field.send_keys(partitions, Keys.ENTER)
    person.clicks(button)


def evaluate_checks(person: Person) -> None:
    """Execute the standing checks of the asset by clicking, and wait for the end of the run."""
    person.opens(CHECKS)
    person.clicks("Execute all")
    person.clicks("View")
    person.sees("the end of the run of the checks", end_of_run, RUN_SECONDS)


def wait_until(is_so: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.5)
