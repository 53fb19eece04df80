"""`translate` writes what is sent: no hour that the leak check withholds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.core.hours import Hour
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster_tests.harness.environment import environment

END = Hour.from_key("2026-03-02-12:00")
RANGE = ["--from", str(END + -2), "--to", str(END)]
BAD = END + -1


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A site in whose last hour somebody creates a group that has the person's own name."""
    path = tmp_path / "moodle.sqlite"
    write_sample(path, students=60, hours=2, seed=5, end=END)
    with closing(sqlite3.connect(path)) as site:
        row, user = site.execute(
            "SELECT id, userid FROM mdl_logstore_standard_log "
            "WHERE courseid > 1 AND userid > 2 AND timecreated >= ?",
            [BAD.start],
        ).fetchone()
        site.execute("UPDATE mdl_user SET firstname='Ada', lastname='Lovelace' WHERE id=?", [user])
        site.execute("UPDATE mdl_groups SET name='Group of Ada Lovelace' WHERE id=1")
        site.execute(
            r"UPDATE mdl_logstore_standard_log SET eventname='\core\event\group_created', "
            "component='core', target='group', action='created', crud='c', objecttable='groups', "
            "objectid=1 WHERE id=?",
            [row],
        )
        site.commit()
    return path


def settings(log: Path, **more: str) -> dict[str, str]:
    return {
        "MOODLE_DB_URL": f"sqlite:///{log}",
        "MOODLE_WWWROOT": "https://moodle.example.org",
        **more,
    }


def test_an_hour_with_a_persons_name_is_not_written_and_the_command_says_where(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "events.ndjson"
    with environment(settings(log)):
        assert main(["translate", *RANGE, "--out", str(out)]) == 2
    assert "Lovelace" not in out.read_text()
    hours = {line.partition('"eventTime":"')[2][:13] for line in out.read_text().splitlines()}
    assert hours == {str(END + -2)[:13]}
    told = capsys.readouterr().err
    assert f"1 hour (from {BAD})" in told
    assert "object.name (name)" in told
    assert "withheld" in told
    assert "Lovelace" not in told


def test_a_profile_that_lets_names_leave_writes_it(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "events.ndjson"
    with environment(settings(log, CALIPER_PRIVACY="full")):
        assert main(["translate", *RANGE, "--out", str(out)]) == 0
    assert "Group of Ada Lovelace" in out.read_text()


def test_a_field_that_is_allowed_is_written(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "events.ndjson"
    with environment(settings(log, CALIPER_ALLOWED_FIELDS="object.name")):
        assert main(["translate", *RANGE, "--out", str(out)]) == 0
    assert "Group of Ada Lovelace" in out.read_text()
