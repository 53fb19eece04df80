"""Broken set-ups: `doctor` names each by one finding, with its cure, and says how bad it is.

The set-ups begin as one in which nothing is wrong. A test lists every line that does not say "ok",
so a second finding about the same cause would be seen.
"""

import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    SampleInstallation,
    sample_installation,
)

HOUR = 3600


@dataclass(frozen=True)
class SetUp:
    """A copy of the set-up in which nothing is wrong; what a test changes is its own."""

    folder: Path
    environment: dict[str, str]

    def sql(self, *statements: str) -> None:
        """Change Moodle's database."""
        with closing(sqlite3.connect(self.folder / "moodle.sqlite")) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def says(self, *options: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
        """The exit status of `doctor`, and its lines that do not say "ok", each with its cure."""
        with environment(self.environment):
            status = main(["doctor", *options])
        out = capsys.readouterr().out
        findings = re.split(r"\n(?=\S)", out.strip())
        return status, [finding for finding in findings if not finding.startswith("ok ")]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleInstallation]:
    folder = tmp_path_factory.mktemp("healthy")
    with sample_installation(folder) as site:
        write_sample(folder / "now.sqlite", students=5, hours=24, seed=1)
        heartbeat(time.time())
        yield site


@pytest.fixture
def set_up(healthy: SampleInstallation, tmp_path: Path) -> SetUp:
    shutil.copyfile(healthy.folder / "now.sqlite", tmp_path / "moodle.sqlite")
    shutil.copytree(healthy.folder / "dagster", tmp_path / "dagster")
    (tmp_path / "dagster").chmod(0o700)
    return SetUp(
        tmp_path,
        {
            **healthy.environment,
            "MOODLE_DB_URL": f"sqlite:///{tmp_path}/moodle.sqlite",
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            "CALIPER_AUTOMATION": "true",
        },
    )


def heartbeat(at: float) -> None:
    with open_instance() as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(at, "SENSOR", None))


def given(**settings: str) -> Callable[[SetUp], None]:
    """Settings; in their values ``{folder}`` is a folder of the test."""

    def change(set_up: SetUp) -> None:
        for name, value in settings.items():
            set_up.environment[name] = value.replace("{folder}", str(set_up.folder))

    return change


def database(*statements: str) -> Callable[[SetUp], None]:
    return lambda set_up: set_up.sql(*statements)


def typo_in_a_needed_setting(set_up: SetUp) -> None:
    set_up.environment["CALIPER_EVENT_STORE_ULR"] = set_up.environment.pop(
        "CALIPER_EVENT_STORE_URL"
    )


def full_disk(set_up: SetUp) -> None:
    stored_day(set_up, 2 * shutil.disk_usage(set_up.folder).free)


def disk_for_three_days(set_up: SetUp) -> None:
    stored_day(set_up, shutil.disk_usage(set_up.folder).free // 3)


def stored_day(set_up: SetUp, size: int) -> None:
    """A day of stored hours of that size, which takes no space: the files have no content."""
    folder = set_up.folder / "dagster" / "data"
    day = folder / "caliper_events" / "date=2026-03-02"
    day.mkdir(parents=True)
    folder.chmod(0o700)
    for hour in range(24):
        path = day / f"2026-03-02T{hour:02}.parquet"
        path.touch()
        os.truncate(path, size // 24)


def silent_daemon(set_up: SetUp) -> None:
    with environment(set_up.environment):
        heartbeat(time.time() - HOUR)


def pool_of(slots: int) -> Callable[[SetUp], None]:
    def change(set_up: SetUp) -> None:
        with environment(set_up.environment), open_instance() as instance:
            instance.event_log_storage.set_concurrency_slots("moodle_db", slots)

    return change


def runs_of(number: int) -> Callable[[SetUp], None]:
    def change(set_up: SetUp) -> None:
        path = set_up.folder / "dagster" / "dagster.yaml"
        text = path.read_text()
        assert "max_concurrent_runs: 8" in text
        path.write_text(text.replace("max_concurrent_runs: 8", f"max_concurrent_runs: {number}"))

    return change


def open_files(set_up: SetUp) -> None:
    (set_up.folder / "dagster").chmod(0o755)


SET_UPS: dict[str, tuple[Callable[[SetUp], None], str, str, str]] = {
    # What is done, the verdict, words of the finding, words of the cure.
    "unknown setting": (
        given(CALIPER_BTACH_SIZE="100"),
        "WARN",
        "CALIPER_BTACH_SIZE is no setting and has no effect.",
        "Did you mean CALIPER_BATCH_SIZE?",
    ),
    "unknown setting that is like none": (
        given(MOODLE_ANYTHING_ELSE="1"),
        "WARN",
        "MOODLE_ANYTHING_ELSE is no setting",
        "Remove it",
    ),
    "typo in a setting that is needed": (
        typo_in_a_needed_setting,
        "BROKEN",
        "CALIPER_EVENT_STORE_ULR is no setting, and CALIPER_EVENT_STORE_URL is not set.",
        "Did you mean CALIPER_EVENT_STORE_URL?",
    ),
    "wrong value": (
        given(CALIPER_GZIP="perhaps"),
        "BROKEN",
        "CALIPER_GZIP is wrong: must be true or false.",
        "",
    ),
    "first hour in the future": (
        given(CALIPER_START="2099-01-01"),
        "BROKEN",
        "CALIPER_START is 2099-01-01T00:00Z, which is in the future",
        "Set CALIPER_START to the first hour",
    ),
    "recipes that are not there": (
        given(CALIPER_RECIPES="{folder}/recipes.yaml"),
        "BROKEN",
        "CALIPER_RECIPES: {folder}/recipes.yaml cannot be read (No such file or directory).",
        "",
    ),
    "no address": (given(MOODLE_WWWROOT=""), "BROKEN", "MOODLE_WWWROOT is not set: ", ""),
    "another site": (
        database(
            "CREATE TABLE mdl_mnet_host (id INTEGER PRIMARY KEY, wwwroot TEXT)",
            "INSERT INTO mdl_mnet_host VALUES (1, 'https://another.example.org')",
            "INSERT INTO mdl_config (id, name, value) VALUES (900, 'mnet_localhost_id', '1')",
        ),
        "WARN",
        "MOODLE_WWWROOT is https://moodle.example.edu, but the database of MOODLE_DB_URL is that "
        "of https://another.example.org",
        "Set MOODLE_WWWROOT to $CFG->wwwroot",
    ),
    "Moodle that is too new": (
        database(
            "UPDATE mdl_config SET value = '6.2+ (Build: 20270101)' WHERE name = 'release'",
            "INSERT INTO mdl_config (id, name, value) VALUES (900, 'version', '2026121500.00')",
        ),
        "WARN",
        "6.2, which is newer than this release of caliper_dagster; tested with a real site of 4.5.",
        "Update caliper_dagster.",
    ),
    "no database": (
        given(MOODLE_DB_URL="sqlite:///{folder}/none.sqlite"),
        "BROKEN",
        "MOODLE_DB_URL names the file {folder}/none.sqlite, which does not exist: correct its path",
        "",
    ),
    "wrong prefix": (
        given(MOODLE_DB_PREFIX="m_"),
        "BROKEN",
        "has no table m_logstore_standard_log, but mdl_logstore_standard_log: set "
        "MOODLE_DB_PREFIX to mdl_.",
        "",
    ),
    "log that has stopped": (
        database("UPDATE mdl_logstore_standard_log SET timecreated = timecreated - 900000"),
        "WARN",
        "days ago: Moodle does not seem to log any more.",
        "Enable the standard log",
    ),
    "no index": (
        database("DROP INDEX mdl_logsstanlog_tim_ix"),
        "WARN",
        "uses no index on timecreated",
        "CREATE INDEX",
    ),
    "log that Moodle deletes before it is taken": (
        database(
            "CREATE TABLE IF NOT EXISTS mdl_config_plugins "
            "(id INTEGER PRIMARY KEY, plugin TEXT, name TEXT, value TEXT)",
            "INSERT INTO mdl_config_plugins (id, plugin, name, value) "
            "VALUES (900, 'logstore_standard', 'loglifetime', '1')",
        ),
        "BROKEN",
        "Moodle deletes log rows after 1 day (loglifetime), and hours from ",
        "Run `caliper-dagster backfill --from ",
    ),
    "event store that is down": (
        given(CALIPER_EVENT_STORE_URL="http://127.0.0.1:9/caliper"),
        "BROKEN",
        "The event store at http://127.0.0.1:9/caliper cannot be reached (Connection refused): "
        "check CALIPER_EVENT_STORE_URL",
        "",
    ),
    "wrong key": (
        given(CALIPER_API_KEY="another"),
        "BROKEN",
        "answered 401: check CALIPER_API",
        "",
    ),
    "storage that cannot be written to": (
        given(CALIPER_STORAGE="/dev/null/data"),
        "BROKEN",
        "CALIPER_STORAGE cannot be ",
        "",
    ),
    "ledger of a wrong scheme": (
        given(CALIPER_LEDGER_URL="nonsense"),
        "BROKEN",
        "CALIPER_LEDGER_URL must be an SQLAlchemy URL",
        "",
    ),
    "full disk": (full_disk, "BROKEN", "hours will fail for lack of space", "Free disk space"),
    "disk that is nearly full": (
        disk_for_three_days,
        "WARN",
        "enough for about 2 days",
        "Free disk space",
    ),
    "files that others may read": (
        open_files,
        "WARN",
        "other accounts may read",
        "`caliper-dagster doctor --fix-modes`",
    ),
    "no Dagster home": (
        given(DAGSTER_HOME=""),
        "BROKEN",
        "DAGSTER_HOME is not set: without it `translate` works, but nothing is sent.",
        "Set DAGSTER_HOME to a folder",
    ),
    "Dagster home that cannot be written to": (
        given(DAGSTER_HOME="/dev/null/home"),
        "BROKEN",
        "DAGSTER_HOME cannot be written to: /dev/null/home",
        "",
    ),
    "Dagster's database": (
        given(DAGSTER_POSTGRES_URL="nonsense"),
        "BROKEN",
        "DAGSTER_POSTGRES_URL",
        "",
    ),
    "daemon that is down": (
        silent_daemon,
        "WARN",
        "Dagster's daemon has not answered since ",
        "Start `caliper-dagster dev`",
    ),
    "schedule and sensors that are off": (
        given(CALIPER_AUTOMATION="false"),
        "WARN",
        "off, so that no hour is sent by itself: set CALIPER_AUTOMATION=true, or switch them on",
        "",
    ),
    "pool without a slot": (
        pool_of(0),
        "BROKEN",
        "the pool moodle_db has 0 slots: no hour is sent by Dagster's daemon.",
        "Raise its limit in the web UI",
    ),
    "pool that a backfill fills": (
        pool_of(2),
        "WARN",
        "the pool moodle_db has 2 slots at once; with fewer than 3 the newest hour waits",
        "Raise its limit in the web UI",
    ),
    "one run at a time": (
        runs_of(1),
        "WARN",
        "Dagster starts 1 run at once; with fewer than 3",
        "max_concurrent_runs",
    ),
}


def test_nothing_is_wrong_with_the_set_up_that_the_others_change(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set_up.says("--strict", capsys=capsys) == (0, [])


@pytest.mark.parametrize("name", SET_UPS)
def test_a_broken_set_up_is_one_finding_with_its_cure(
    name: str, set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    break_it, verdict, words, cure = SET_UPS[name]
    break_it(set_up)

    status, findings = set_up.says(capsys=capsys)

    assert len(findings) == 1, findings
    sentence, _, way_out = findings[0].partition("\n")
    assert sentence.startswith(f"{verdict:6}  ")
    assert words.replace("{folder}", str(set_up.folder)) in sentence
    assert sentence.endswith(".")
    assert cure in way_out
    assert status == (2 if verdict == "BROKEN" else 0)


def test_warnings_are_errors_if_that_is_asked_for(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up.environment["CALIPER_BTACH_SIZE"] = "100"
    with environment(set_up.environment):
        assert main(["doctor"]) == 0
        assert main(["doctor", "--strict"]) == 2
    assert capsys.readouterr().err == "1 warning, and --strict allows none.\n"


def test_a_dagster_that_is_not_supported_is_a_warning(
    set_up: SetUp, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dg, "__version__", "1.12.9")
    status, (finding,) = set_up.says(capsys=capsys)
    assert status == 0
    assert "1.12.9 is installed; this release of caliper_dagster is tested with 1.13" in finding
    assert "→ Install both" in finding


def test_all_wrong_values_are_named_at_once(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    given(CALIPER_GZIP="perhaps", CALIPER_BATCH_SIZE="0", CALIPER_START="soon")(set_up)
    set_up.environment["CALIPER_BTACH_SIZE"] = "100"
    status, findings = set_up.says(capsys=capsys)
    assert status == 2
    assert [line.split(" ")[0] for line in findings] == ["WARN", *["BROKEN"] * 3]
    assert "CALIPER_BATCH_SIZE is wrong: must be greater than 0." in "\n".join(findings)


def test_hours_that_are_stored_are_taken_before_moodle_deletes_them(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    SET_UPS["log that Moodle deletes before it is taken"][0](set_up)
    storage, now = PartitionStore(str(set_up.folder / "dagster" / "data")), Hour.of(time.time())
    for ago in range(30):
        storage.write(MOODLE_LOG, now + -ago, MOODLE_LOG.empty())
    (set_up.folder / "dagster" / "data").chmod(0o700)
    assert set_up.says(capsys=capsys) == (0, [])
