"""A backfill with an account that may not read all that it must stops before it sends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster_tests.harness.accounts import LOG, PartlyReadable, grants_in
from caliper_dagster_tests.harness.installation import between, dump_installation

HOURS = HourRange(Hour.from_key("2026-03-26-10:00"), Hour.from_key("2026-03-26-12:00"))


@pytest.mark.parametrize("server", ["mariadb", "postgres"])
@pytest.mark.parametrize("hidden", ["all but the log", "course", "quiz_attempts"])
def test_nothing_is_sent_before_the_grants_are_given(
    server: str, hidden: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(f"moodle_dump_{server}")
    site = PartlyReadable(request.getfixturevalue(f"{server}_server"), url)
    readable = [LOG] if hidden.startswith("all") else [it for it in site.tables if it != hidden]
    try:
        with dump_installation(tmp_path, site.account(readable)) as installed:
            looked = installed.run("doctor")
            stopped = installed.run("backfill", *between(HOURS))
            before = installed.arrived().envelopes
            site.run(*grants_in(_failures(looked.out)))
            site.run(*grants_in(_failures(installed.run("doctor").out)))
            done = installed.run("backfill", *between(HOURS))

            assert looked.status == 2
            assert "mdl_course" in looked.out or f"mdl_{hidden}" in looked.out
            assert stopped.status == 2
            assert "MOODLE_DB_URL: this account cannot read mdl_" in stopped.err
            assert before == 0
            assert done.status == 0, done.err
            assert len(installed.received()) == len(set(installed.events(HOURS))) > 0
    finally:
        site.drop_accounts()


def _failures(checklist: str) -> str:
    """What is broken, each with its cure, which stands in the line below."""
    findings = re.split(r"\n(?=\S)", checklist)
    return "\n".join(finding for finding in findings if finding.startswith("BROKEN"))
