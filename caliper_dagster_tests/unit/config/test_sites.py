"""The file of sites: what it may say, one sentence for each mistake, and what is built of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import all_sites, chosen_site
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.assets import build_assets
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.follower import is_followed, record_heartbeat
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.dagster.resources import resources
from caliper_dagster.dagster.sensors.backlog import _BacklogRuns
from caliper_dagster.dagster.sensors.late_rows import run_request
from caliper_dagster.dagster.superseded_runs import delete_superseded_runs
from caliper_dagster.dagster.tags import BACKLOG_TAG, LATE_ROWS_TAG, REASON_TAG, SITE_TAG
from caliper_dagster.delivery.watch_state import Reason, RunWanted
from caliper_dagster.operations.backfill_plan import _name
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.paths import ROOT

PAGE = ROOT / "docs" / "connect-moodle.md"
SECRET = "secret-that-nobody-may-see"
HOURS = HourRange(Hour.from_key("2026-03-01-00:00"), Hour.from_key("2026-03-01-02:00"))
LOG = "  MOODLE_LOG_DB_URL: {env: NORTH_DB_URL}\n  MOODLE_LOG_TABLE: log\n"
NORTH = """
north:
  MOODLE_DB_URL: {env: NORTH_DB_URL}
  MOODLE_WWWROOT: https://north.example.org/
  CALIPER_EVENT_STORE_URL: https://events.example.org/north
  CALIPER_API_KEY: {env: NORTH_KEY}
  CALIPER_START: 2026-03-01
  CALIPER_PERSON_NAMES: true
  CALIPER_CA_FILE:
"""
SOUTH = """
south:
  MOODLE_DB_URL: {env: SOUTH_DB_URL}
  MOODLE_WWWROOT: {env: SOUTH_WWWROOT}
"""
GIVEN = {
    "NORTH_DB_URL": f"mysql+pymysql://moodle:{SECRET}@north/moodle",
    "NORTH_KEY": f"{SECRET}-north",
    "SOUTH_DB_URL": f"postgresql+psycopg2://moodle:{SECRET}@south/moodle",
    "SOUTH_WWWROOT": "https://south.example.org",
    "MOODLE_WWWROOT": "https://nobody.example.org",
    "CALIPER_EVENT_STORE_URL": f"https://events.example.org/all?key={SECRET}",
    "CALIPER_API_KEY": f"{SECRET}-all",
    "CALIPER_BATCH_SIZE": "9",
    "CALIPER_CA_FILE": "all.pem",
}


def written(folder: Path, text: str, **more: str) -> dict[str, str]:
    """An environment with the file."""
    (folder / "sites.yaml").write_text(text)
    home = {"DAGSTER_HOME": str(folder), "CALIPER_SITES": str(folder / "sites.yaml")}
    return {**GIVEN, **home, **more}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Settings, Settings]]:
    with environment(written(tmp_path, NORTH + SOUTH)):
        north, south = all_sites()
        yield north, south


def test_what_a_site_does_not_say_is_as_the_environment_says(
    two: tuple[Settings, Settings],
) -> None:
    north, south = two
    assert (north.site, south.site) == ("north", "south")
    assert north.require("moodle_db_url") == GIVEN["NORTH_DB_URL"]
    assert north.moodle_wwwroot == "https://north.example.org"
    assert south.moodle_wwwroot == GIVEN["SOUTH_WWWROOT"]
    assert (north.event_store.person_names, south.event_store.person_names) == (True, None)
    assert (north.event_store.batch_size, south.event_store.batch_size) == (9, 9)
    assert (north.start.key, south.start.key) == ("2026-03-01-00:00", "2025-01-01-00:00")
    # What is said to be empty is as if nobody had said it.
    assert (north.event_store.ca_file, south.event_store.ca_file) == (None, "all.pem")
    assert south.require("event_store.url") == GIVEN["CALIPER_EVENT_STORE_URL"]


def test_without_the_file_there_is_one_site_without_a_name() -> None:
    with environment({"MOODLE_WWWROOT": "https://one.example.org", "DAGSTER_HOME": "/home"}):
        (only,) = all_sites()
        assert only == chosen_site(None) == Settings.from_environment()
        assert (only.site, only.site_name("late_rows")) == (None, "late_rows")
        assert only.storage_url() == "/home/data"
        with pytest.raises(ConfigurationError, match="--site x is not known: CALIPER_SITES names"):
            chosen_site("x")


def test_a_key_goes_to_no_other_event_store_than_its_own(tmp_path: Path) -> None:
    own = SOUTH + "  CALIPER_EVENT_STORE_URL: {env: SOUTH_STORE}\n"
    stores = SOUTH.replace("south", "west") + "  CALIPER_EVENT_STORES: stores.yaml\n"
    both = own + stores.replace("SOUTH_DB", "WEST_DB").replace("{env: SOUTH_WWWROOT}", "http://w")
    with environment(written(tmp_path, both, SOUTH_STORE="https://events.example.org/south")):
        south, west = all_sites()
        assert (south.event_store.api_key, west.event_store.api_key, west.event_store.url) == (
            None,
            None,
            None,
        )
        (store,) = event_stores(south)
        assert not store.has_key()
        assert store.ledger_name() == "https://events.example.org/south"


def test_storage_is_a_folder_for_each_unless_it_is_its_own(tmp_path: Path) -> None:
    own = "  CALIPER_STORAGE: /own/\n"
    with environment(written(tmp_path, NORTH + SOUTH + own)):
        north, south = all_sites()
        assert north.storage_url() == f"{tmp_path}/data/north"
        assert south.storage_url() == "/own/"
        # One ledger for all beside the storage of all, in which each entry is of a site.
        assert north.ledger() == f"sqlite:///{tmp_path}/data/ledger.sqlite"
        assert south.ledger() == "sqlite:////own/ledger.sqlite"
    with environment(written(tmp_path, NORTH, CALIPER_STORAGE="s3://bucket/moodle/")):
        (north,) = all_sites()
        assert north.storage_url() == "s3://bucket/moodle/north"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it must name each site"),
        ("north: 1", "north must have settings below it, such as MOODLE_DB_URL"),
        (NORTH.replace("north:", "North:"), "name of each site must consist of lower-case letters"),
        (NORTH + NORTH, "north occurs twice (line 11)"),
        (f"north: {{MOODLE_DB_URL: *{SECRET}", "not well-formed YAML (line 2)"),
        (
            NORTH + f"  MOODLE_DB_PREFX: {SECRET}",
            "site north: it has an unknown key; the nearest known one is MOODLE_DB_PREFIX.",
        ),
        (NORTH + f"  {SECRET}: 1", "site north: it has an unknown key."),
        (NORTH + "  CALIPER_SITES: more.yaml", "site north: it has an unknown key"),
        (
            "north: {MOODLE_WWWROOT: 'http://n'}",
            "site north: MOODLE_DB_URL: is required for each site",
        ),
        (
            "north: {MOODLE_DB_URL: {env: A}}",
            "site north: MOODLE_WWWROOT: is required for each site",
        ),
        (
            NORTH.replace("{env: NORTH_DB_URL}", f"mysql+pymysql://u:{SECRET}@h/m"),
            "site north: MOODLE_DB_URL: must be {env: NAME}",
        ),
        (
            NORTH.replace("{env: NORTH_KEY}", SECRET),
            "site north: CALIPER_API_KEY: must be {env: NAME}",
        ),
        (
            NORTH + f"  CALIPER_LEDGER_URL: postgresql+psycopg2://u:{SECRET}@h/l",
            "site north: CALIPER_LEDGER_URL: must be {env: NAME}",
        ),
        (
            NORTH.replace("https://events", f"https://u:{SECRET}@events"),
            "site north: CALIPER_EVENT_STORE_URL: contains a user",
        ),
        (
            NORTH + "  CALIPER_EVENT_STORES: s.yaml",
            "it may have only one of CALIPER_EVENT_STORE_URL and CALIPER_EVENT_STORES",
        ),
        (
            NORTH.replace("{env: NORTH_KEY}", f"{{enw: {SECRET}}}"),
            "site north: CALIPER_API_KEY: must be {env: NAME} or {file: PATH}",
        ),
        (NORTH + f"  CALIPER_GZIP: [{SECRET}]", "site north: CALIPER_GZIP: must be true or false"),
        (
            NORTH + f"  CALIPER_BATCH_SIZE: {SECRET}",
            "site north: CALIPER_BATCH_SIZE: must be a whole number",
        ),
        (
            NORTH.replace("2026-03-01", SECRET),
            "site north: CALIPER_START: must be a full hour in UTC",
        ),
        (
            NORTH.replace("https://north.example.org/", SECRET),
            "site north: MOODLE_WWWROOT: must be an http",
        ),
        (
            NORTH + "  CALIPER_RECIPES: {env: NOT_THERE}",
            "site north: CALIPER_RECIPES: the variable $NOT_THERE is not set",
        ),
        (
            NORTH + SOUTH.replace("{env: SOUTH_WWWROOT}", "https://North.example.org"),
            "sites north and south have the same MOODLE_WWWROOT",
        ),
        (
            NORTH + SOUTH.replace("SOUTH_DB_URL", "NORTH_DB_URL"),
            "sites north and south have the same MOODLE_DB_URL and MOODLE_DB_PREFIX",
        ),
        (
            NORTH + "  CALIPER_STORAGE: /own\n" + SOUTH + "  CALIPER_STORAGE: /own/\n",
            "sites north and south have the same CALIPER_STORAGE",
        ),
        (
            NORTH + LOG + SOUTH + LOG,
            "sites north and south have the same MOODLE_LOG_DB_URL and MOODLE_LOG_TABLE",
        ),
        (
            NORTH + "  MOODLE_LOG_DB_URL: mysql+pymysql://u:p@h/log",
            "site north: MOODLE_LOG_DB_URL: must be {env: NAME} or {file: PATH}",
        ),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_place(
    text: str, words: str, tmp_path: Path
) -> None:
    with environment(written(tmp_path, text)), pytest.raises(ConfigurationError) as error:
        all_sites()
    sentence = str(error.value)
    assert sentence.startswith(f"CALIPER_SITES is wrong: {tmp_path}/sites.yaml: ")
    assert words in sentence
    assert SECRET not in sentence
    assert "\n" not in sentence


def test_a_file_that_is_not_there_is_told() -> None:
    with environment({"CALIPER_SITES": "/nowhere.yaml"}):
        with pytest.raises(ConfigurationError, match=r"CALIPER_SITES: /nowhere.yaml cannot be re"):
            all_sites()


def test_what_is_wrong_in_the_environment_is_told_of_no_site(tmp_path: Path) -> None:
    with environment(written(tmp_path, NORTH, CALIPER_GZIP="perhaps")):
        with pytest.raises(ConfigurationError, match=r"^CALIPER_GZIP is wrong"):
            all_sites()


def test_a_secret_that_is_not_there_is_told_by_the_name_of_its_variable(tmp_path: Path) -> None:
    ledger = "  CALIPER_LEDGER_URL: {env: NORTH_LEDGER}\n"
    given = written(tmp_path, NORTH + ledger, NORTH_DB_URL="", NORTH_KEY="")
    with environment(given):
        (north,) = all_sites()
        (store,) = event_stores(north)
        held = resources(north)
        for needed, words in (
            (
                lambda: north.require("moodle_db_url"),
                r"MOODLE_DB_URL \(\$NORTH_DB_URL\) is not set",
            ),
            (held["moodle"].open, r"MOODLE_DB_URL \(\$NORTH_DB_URL\) is not set: SQLAlchemy"),
            (store.open, r"CALIPER_API_KEY \(\$NORTH_KEY\) is not set"),
            (north.ledger, r"CALIPER_LEDGER_URL \(\$NORTH_LEDGER\) is not set"),
            (held["ledger"].open, r"CALIPER_LEDGER_URL \(\$NORTH_LEDGER\) is not set"),
        ):
            with pytest.raises(ConfigurationError, match=words):
                needed()


def test_each_site_has_assets_jobs_sensors_and_pools_of_its_own(
    two: tuple[Settings, Settings],
) -> None:
    definitions = build_definitions()
    repository = definitions.get_repository_def()
    for site in two:
        made = [a for a in repository.assets_defs_by_key.values() if a.is_executable]
        assets = [a for a in made if a.key.path[0] == site.site]
        keys = {asset.key.to_user_string() for asset in assets}
        assert keys == {f"{site.site}/{frame.name}" for frame in FRAMES}
        assert {asset.group_names_by_key[asset.key] for asset in assets} == {f"{site.site}_caliper"}
        pools = {asset.op.pool for asset in assets} - {None}
        assert pools == {f"moodle_db_{site.site}", f"event_store_{site.site}"}
        for job in ("caliper_events_of_the_hour", "resend_caliper_events"):
            assert definitions.resolve_job_def(f"{site.site}_{job}").run_tags[SITE_TAG] == site.site
        asked = {name for asset in assets for name in asset.required_resource_keys}
        asked |= repository.get_sensor_def(f"{site.site}_late_rows").required_resource_keys
        own = {f"{site.site}_caliper_{name}" for name in resources(site)}
        assert asked - {"io_manager"} == own
        for defined in (repository.sensor_defs, repository.schedule_defs):
            assert len([one for one in defined if one.name.startswith(f"{site.site}_")]) == 2
    alone = build_definitions(two[1]).get_repository_def()
    assert {key.path[0] for key in alone.assets_defs_by_key} == {"south"}


def test_resources_hold_the_names_of_variables_only(two: tuple[Settings, Settings]) -> None:
    held = [resources(site) for site in two]
    shown = [resource["moodle"].settings.moodle_db_url.env for resource in held]
    assert shown == ["NORTH_DB_URL", "SOUTH_DB_URL"]
    (north,), (south,) = (resource["event_stores"].definitions for resource in held)
    assert north.url == "https://events.example.org/north"
    assert north.api_key.env == "NORTH_KEY"
    assert (south.url.env, south.api_key.env) == ("CALIPER_EVENT_STORE_URL", "CALIPER_API_KEY")
    assert SECRET not in repr(held)
    assert SECRET not in repr([settings.model_dump() for settings in two])


def test_runs_for_late_rows_are_counted_by_site(two: tuple[Settings, Settings]) -> None:
    late, again = (
        RunWanted(HOURS, reason, "key") for reason in (Reason.LATE_ROWS, Reason.UNFINISHED)
    )
    counted = [run_request(late, site).tags[LATE_ROWS_TAG] for site in (*two, Settings())]
    assert counted == ["north", "south", "true"]
    assert LATE_ROWS_TAG not in run_request(again, two[0]).tags


def test_the_example_in_the_docs_is_one(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## Several Moodle sites")[2]
    example = text.partition("```yaml")[2].partition("```")[0]
    with environment(written(tmp_path, example)):
        assert [site.site for site in all_sites()] == ["north", "south"]


def test_what_is_remembered_of_one_site_is_not_taken_for_the_other(
    two: tuple[Settings, Settings],
) -> None:
    north, south = two
    assert len({_name(site, HOURS, fresh=False) for site in two}) == 2
    with open_instance() as instance:
        now = time.time()
        record_heartbeat(instance, north, now)
        assert (is_followed(instance, north, now), is_followed(instance, south, now)) == (
            True,
            False,
        )
        assert not is_followed(instance, north, now - 3600)  # the clock was set back

        def had(site: Settings, status: dg.DagsterRunStatus, tags: Mapping[str, str]) -> str:
            named = {SITE_TAG: site.site or ""}
            run = dg.DagsterRun(job_name="any", status=status, tags={**tags, **named})
            return instance.add_run(run).run_id

        hour = {
            REASON_TAG: Reason.NEW_ROWS.value,
            **range_tags(HourRange(HOURS.start, HOURS.start + 1)),
        }
        runs = [had(site, dg.DagsterRunStatus.SUCCESS, hour) for site in (north, south, south)]
        assert (
            delete_superseded_runs(instance, north),
            delete_superseded_runs(instance, south),
        ) == (0, 1)
        assert {run.run_id for run in instance.get_runs()} == {runs[0], runs[2]}

        had(north, dg.DagsterRunStatus.STARTED, {BACKLOG_TAG: "warehouse"})
        assert _BacklogRuns(instance, north, "warehouse").is_active
        assert not _BacklogRuns(instance, south, "warehouse").is_active


def test_a_command_is_for_a_site(
    two: tuple[Settings, Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    hours = ("--from", str(HOURS.start), "--to", str(HOURS.end))
    for command in (
        *(("backfill", *hours), ("resend", *hours), ("rejected", *hours), ("coverage", *hours)),
        *(("translate", *hours, "--out", "-"), ("recipes", "diff", *hours), ("follow",)),
    ):
        assert main(command) == 2
        assert capsys.readouterr().err == (
            "--site is needed, for CALIPER_SITES names several sites: north, south.\n"
        )
        assert main((*command, "--site", "west")) == 2
        assert capsys.readouterr().err == "--site west is none of north, south.\n"
    assert main(("doctor", "--site", "south")) == 2
    assert "north" not in capsys.readouterr().out
    assert main(("doctor",)) == 2
    lines = capsys.readouterr().out.splitlines()
    assert "ok      north  Site address      https://north.example.org" in lines
    assert "ok      south  Site address      https://south.example.org" in lines
    assert sum("stores its runs in" in line for line in lines) == 1


def test_the_assets_of_a_site_are_partitioned_from_its_own_start(
    two: tuple[Settings, Settings],
) -> None:
    starts = [build_assets(site)[0].partitions_def.get_first_partition_key() for site in two]
    assert starts == ["2026-03-01-00:00", "2025-01-01-00:00"]
