"""A file of settings is read, or refused with a sentence that names it; nothing else is raised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import all_sites
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster_tests.harness.hostile_recipes import TAGS, TEXTS

FORMS = (
    "{value}",
    "north: {value}",
    "north:\n  url: {value}",
    "north:\n  MOODLE_DB_URL: {value}\n  MOODLE_WWWROOT: https://a.example",
    "north:\n  filter:\n    moodle_events: {{include: [{value}]}}",
    "rows: {value}",
    "rows: {{courses: {{include: [{value}]}}}}",
    "{value}: 1\n{value}: 2",
)


def read_sites(path: str) -> object:
    return all_sites({"CALIPER_SITES": path})


def read_event_stores(path: str) -> object:
    return event_stores(Settings.from_environment({"CALIPER_EVENT_STORES": path}))


def read_event_filter(path: str) -> object:
    return event_stores(Settings.from_environment({"CALIPER_EVENT_FILTER": path}))


READERS = {
    "CALIPER_SITES": read_sites,
    "CALIPER_EVENT_STORES": read_event_stores,
    "CALIPER_EVENT_FILTER": read_event_filter,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("variable", "read"), READERS.items(), ids=READERS)
def test_a_hostile_file_is_one_sentence_that_names_it(
    tmp_path: Path, variable: str, read: Callable[[str], object], form: str
) -> None:
    file = tmp_path / "settings.yaml"
    refused = 0
    for value in (*TAGS, *map(repr, TEXTS)):
        file.write_text(form.format(value=value), encoding="utf-8")
        try:
            read(str(file))
        except ConfigurationError as error:
            refused += 1
            sentence = str(error)
            assert sentence.startswith(variable), value
            assert str(file) in sentence, value
            assert sentence.isprintable(), value
            assert len(sentence) < 1_000, value
    assert refused > len(TAGS) / 2


def test_a_date_that_does_not_exist_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "stores.yaml"
    file.write_text("north:\n  url: 2026-02-30\n")
    with pytest.raises(ConfigurationError) as error:
        read_event_stores(str(file))
    problem = "a value is not of the type that its form or its tag says"
    assert str(error.value) == f"CALIPER_EVENT_STORES is wrong: {file}: {problem} (line 2)."
