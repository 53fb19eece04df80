"""What the recipes say, told to people, and what a site's own recipes would change."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.cli.main import main
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.translator import build_translator, configured_recipes
from caliper_dagster.core.errors import ConfigurationError, RecipeError, StorageError
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.operations import recipes
from caliper_dagster.translator import load_recipes
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.unit.caliper.documents import EVENT, changed

END = Hour.from_key("2026-03-02-12:00")
HOURS = HourRange(END + -3, END)
RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]

PAGE = r"\core\event\course_viewed"
OTHER_PLUGIN = r"\mod_facetoface\event\course_module_viewed"
OWN = rf"""
- events: [{PAGE}]
  pattern: own
  type: Event
  action: Linked
  object: course
"""
WRONG = (
    OWN
    + r"""
- events: [\mod_x\event\y_viewed]
  pattern: own
  type: ViewEvent
  action: Graded
  object: activity
"""
)


@dataclass(frozen=True)
class Site:
    """A sample site whose hours are stored."""

    folder: Path
    variables: dict[str, str]

    def settings(self, *own: str, **more: str) -> Settings:
        return Settings.from_environment(self.variables | self.with_own(*own) | more)

    def with_own(self, *texts: str) -> dict[str, str]:
        """The setting that names files with these recipes."""
        names = []
        for number, text in enumerate(texts):
            names.append(str(self.folder / f"own-{number}.yaml"))
            Path(names[-1]).write_text(text, encoding="utf-8")
        return {"CALIPER_RECIPES": ", ".join(names)} if names else {}

    @property
    def storage(self) -> PartitionStore:
        return PartitionStore(self.variables["CALIPER_STORAGE"])

    def changes(self, settings: Settings) -> dict[str, recipes.Changes]:
        return dict(recipes.differences(settings, self.storage, HOURS))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    sample = write_sample(
        folder / "moodle.sqlite", students=10, hours=len(HOURS), seed=7, end=HOURS.end
    )
    variables = {
        "MOODLE_DB_URL": f"sqlite:///{folder / 'moodle.sqlite'}",
        "MOODLE_WWWROOT": sample.wwwroot,
        "CALIPER_STORAGE": str(folder / "data"),
    }
    found = Site(folder, variables)
    translate = build_translator(found.settings()).translate
    with MoodleDatabase.open(variables["MOODLE_DB_URL"]) as database:
        for hour, log in read_log(database, HOURS):
            expanded = expand(database, log)
            found.storage.write(EXPANDED_LOG, hour, expanded)
            found.storage.write(CALIPER_EVENTS, hour, translate(expanded))
    return found


@pytest.fixture
def at_home(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings of the site, and no others."""
    monkeypatch.chdir(tmp_path)
    with environment(site.variables):
        yield


def names_in(site: Site) -> Counter[str]:
    names: Counter[str] = Counter()
    for table in (site.storage.read(EXPANDED_LOG, [hour]) for hour in HOURS):
        names.update(table["eventname"].to_pylist())
    return names


# Recipes of the settings


def test_the_files_of_the_setting_are_read_in_their_order(site: Site) -> None:
    assert configured_recipes(site.settings()).find(PAGE).resolution == "exact"
    later = OWN.replace("pattern: own", "pattern: later")
    for own, pattern in (((OWN,), "own"), ((OWN, later), "later"), ((later, OWN), "own")):
        found = configured_recipes(site.settings(*own)).find(PAGE)
        assert (found.pattern, found.resolution) == (pattern, "user")


def test_a_file_that_is_wrong_is_one_sentence(site: Site) -> None:
    with pytest.raises(RecipeError, match=r"own-0\.yaml, line 8: ViewEvent has no action Graded\."):
        configured_recipes(site.settings(WRONG))
    missing = str(site.folder / "missing.yaml")
    with pytest.raises(ConfigurationError, match=r"CALIPER_RECIPES: .*missing\.yaml.*No such file"):
        configured_recipes(site.settings(CALIPER_RECIPES=missing))
    binary = site.folder / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"binary\.yaml.*not UTF-8 text"):
        configured_recipes(site.settings(CALIPER_RECIPES=str(binary)))


# Coverage


def test_coverage_counts_every_row_of_the_log_by_its_recipe(site: Site, at_home: None) -> None:
    found = recipes.coverage(site.settings(), load_recipes(), HOURS)
    assert {event.event_name: event.rows for event in found} == names_in(site)
    assert [event.rows for event in found] == sorted((e.rows for e in found), reverse=True)
    by_name = {event.event_name: event for event in found}
    page, other = by_name[PAGE], by_name[OTHER_PLUGIN]
    assert (page.resolution, page.pattern) == ("exact", "P02")
    assert (page.event_type, page.action) == ("NavigationEvent", "NavigatedTo")
    assert (other.resolution, other.pattern) == ("family", "P03")


def test_coverage_knows_the_sites_own_recipes_and_only_the_hours(site: Site, at_home: None) -> None:
    settings = site.settings(OWN)
    found = {
        e.event_name: e for e in recipes.coverage(settings, configured_recipes(settings), HOURS)
    }
    assert (found[PAGE].resolution, found[PAGE].pattern) == ("user", "own")
    first = HourRange(HOURS.start, HOURS.start + 1)
    rows = site.storage.read(EXPANDED_LOG, [HOURS.start]).num_rows
    assert sum(e.rows for e in recipes.coverage(settings, load_recipes(), first)) == rows
    nothing = HourRange(HOURS.end + 5, HOURS.end + 6)
    assert recipes.coverage(settings, load_recipes(), nothing) == []


# Which recipe wins, and why


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (PAGE, "has a recipe for exactly this event (P02)."),
        (r"\mod_zoom\event\course_module_viewed", "families.yaml has a family to which this event"),
        (r"\mod_zoom\event\thing_created", "its last word and the columns of its rows decide"),
        (r"\local_x\event\attempt_started", "its last word and the columns of its rows decide"),
    ],
)
@pytest.mark.parametrize("version", ["v1p2", "v1p1"])
def test_the_winning_recipe_is_shown_with_the_event_of_an_example(
    name: str, why: str, version: str
) -> None:
    shown = recipes.show(load_recipes(), name, version=version)
    assert shown.why.startswith(f"{name}: ")
    assert why in shown.why
    assert validate(shown.event, strict=True) == []
    if version == "v1p2":
        assert shown.event["action"] == shown.recipe["action"]


def test_a_recipe_of_the_site_is_shown_as_such(site: Site) -> None:
    shown = recipes.show(configured_recipes(site.settings(OWN)), PAGE, "v1p2")
    assert "own-0.yaml, a recipe file of the site, has a recipe for it (own)" in shown.why
    assert shown.recipe == {
        "pattern": "own", "type": "Event", "action": "Linked", "actor": "user", "object": "course"
    }  # fmt: skip
    assert shown.event["action"] == "Linked"


# What would change


def test_nothing_changes_when_nothing_is_changed(site: Site) -> None:
    assert site.changes(site.settings()) == {}


def test_only_the_events_of_a_changed_recipe_would_change(site: Site) -> None:
    changes = site.changes(site.settings(OWN))
    assert set(changes) == {PAGE}
    number = names_in(site)[PAGE]
    found = changes[PAGE]
    assert (found.changed, found.added, found.removed) == (number, 0, 0)
    assert {"action", "type"} <= set(found.where)
    assert not {"id", "eventTime", "actor.id", "extensions.moodle.logId"} & set(found.where)
    assert max(found.where.values()) == number


def test_further_events_of_a_changed_recipe_would_be_new(site: Site) -> None:
    name = r"\mod_quiz\event\attempt_started"
    own = rf"""
- events: [{name}]
  pattern: P08
  type: AssessmentEvent
  object: activity
  generated: quiz_attempt
  derived: [thread_created]
"""
    changes = site.changes(site.settings(own))
    number = names_in(site)[name]
    assert number
    assert changes == {name: recipes.Changes(0, number, 0, Counter())}


def test_events_that_would_not_be_made_any_more_are_gone(site: Site) -> None:
    name = r"\mod_lti\event\course_module_viewed"
    own = rf"""
- events: [{name}]
  pattern: P03
  type: ViewEvent
  object: activity
"""
    assert names_in(site)[name]
    changes = site.changes(site.settings(own))
    assert changes == {name: recipes.Changes(0, 0, names_in(site)[name], Counter())}


def test_a_setting_changes_what_it_is_about_in_all_events(site: Site) -> None:
    changes = site.changes(site.settings(CALIPER_IP_ADDRESSES="true"))
    assert set(changes) <= set(names_in(site))
    assert {path for found in changes.values() for path in found.where} == {"extensions.moodle.ip"}


def test_hours_that_are_not_stored_cannot_be_compared(site: Site) -> None:
    later = HourRange(HOURS.start, HOURS.end + 1)
    with pytest.raises(StorageError):
        list(recipes.differences(site.settings(), site.storage, later))


# The command line


@pytest.mark.usefixtures("at_home")
def test_checking_recipes_says_how_many_or_where_the_mistake_is(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    good, wrong, empty = (
        site.with_own(OWN, WRONG, "# nothing yet\n")["CALIPER_RECIPES"].split(", ")
    )  # fmt: skip
    assert main(["recipes", "check", good, empty]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{good}: 1 event, all well formed",
        f"{empty}: 0 events, all well formed",
    ]
    assert main(["recipes", "check", good, wrong]) == 2
    assert capsys.readouterr().err == f"{wrong}, line 8: ViewEvent has no action Graded.\n"
    assert main(["recipes", "check", f"{wrong}.missing"]) == 2
    told = capsys.readouterr().err
    assert f"{wrong}.missing" in told
    assert "No such file" in told
    assert "CALIPER_RECIPES" not in told


@pytest.mark.usefixtures("at_home")
def test_validity_of_a_file_is_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text(json.dumps(EVENT))
    assert main(["validate", str(file)]) == 0
    assert capsys.readouterr().out == "1 document, all valid.\n"
    file.write_text(json.dumps(changed(EVENT, "profile")))
    assert main(["validate", str(file)]) == 0
    assert main(["validate", "--strict", str(file)]) == 1
    told = capsys.readouterr()
    assert "1 of 1 document not valid" in told.out
    assert told.err == ""
    assert main(["validate", str(tmp_path / "missing")]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.usefixtures("at_home")
def test_coverage_is_told_as_a_table(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", *RANGE]) == 0
    told = capsys.readouterr().out
    names = names_in(site)
    assert all(name in told for name in names)
    rows = names.total()
    assert f"all     {rows:,} rows\n" in re.sub(r" +\n", "\n", told)
    family = names[OTHER_PLUGIN]
    assert f"family  {family:,} rows, {family / rows:.2%}" in told
    assert "…" not in told


@pytest.mark.usefixtures("at_home")
def test_a_narrow_terminal_shows_all_of_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")  # a dumb one always has 80 columns
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["coverage", *RANGE]) == 0
    told = capsys.readouterr().out
    assert "…" not in told
    assert max(len(line) for line in told.splitlines() if "\x1b" not in line) <= 60


@pytest.mark.usefixtures("at_home")
def test_coverage_of_hours_without_rows_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", "--from", "2020-01-01T00", "--to", "2020-01-01T01"]) == 0
    assert "0 rows" in capsys.readouterr().out


@pytest.mark.usefixtures("at_home")
def test_a_recipe_is_shown_with_or_without_the_leading_backslash(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []
    for name in (PAGE, PAGE.removeprefix("\\")):
        assert main(["recipes", "show", name]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert told[0].startswith(f"{PAGE}: ")
    recipe, event = told[0].partition("\n")[2].split("\n}\n")[:2]
    assert json.loads(recipe + "}")["pattern"] == "P02"
    assert json.loads(event + "}")["type"] == "NavigationEvent"


@pytest.mark.usefixtures("at_home")
def test_what_recipes_would_change_is_told_before_anything_is_sent(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipes", "diff", *RANGE]) == 0
    assert capsys.readouterr().out == "Nothing would change.\n"
    os.environ.update(site.with_own(OWN))
    before = [site.storage.read(CALIPER_EVENTS, [hour]) for hour in HOURS]
    assert main(["recipes", "diff", *RANGE]) == 0
    told = capsys.readouterr().out
    assert PAGE in told
    assert f"action ({names_in(site)[PAGE]})" in told
    assert before == [site.storage.read(CALIPER_EVENTS, [hour]) for hour in HOURS]
    os.environ.update(site.with_own(WRONG))
    assert main(["recipes", "diff", *RANGE]) == 2
    assert "line 8" in capsys.readouterr().err


@pytest.mark.usefixtures("at_home")
def test_table_and_schema_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "table"]) == 0
    assert capsys.readouterr().out == recipes.reference()
    assert main(["recipes", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Recipes of caliper_dagster"


def test_stored_events_of_the_site_are_one_for_each_row(site: Site) -> None:
    for hour in HOURS:
        rows = site.storage.read(EXPANDED_LOG, [hour])
        events = site.storage.read(CALIPER_EVENTS, [hour])
        own = events.filter(pc.not_equal(events["outcome"].cast("string"), "derived"))
        assert own["log_id"].to_pylist() == rows["id"].to_pylist()
