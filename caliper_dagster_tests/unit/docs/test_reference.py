"""The reference in ``docs`` is made from the recipes themselves (``make docs``)."""

from __future__ import annotations

import json
import re

import jsonschema
import yaml

from caliper_dagster.core.frames import FRAMES
from caliper_dagster.operations.recipes import reference
from caliper_dagster.translator import load_recipes, read_recipes
from caliper_dagster.translator.actors import USER_IDS
from caliper_dagster.translator.conditions import CONDITIONS
from caliper_dagster.translator.derived import DERIVED_EVENTS
from caliper_dagster.translator.entities.generic import PATH_COLUMNS
from caliper_dagster.translator.extensions import EXTENSION_FUNCTIONS
from caliper_dagster.translator.recipes import schema
from caliper_dagster_tests.harness.paths import ROOT

DATA = ROOT / "docs" / "data.md"
EVENTS = ROOT / "docs" / "events.md"
RECIPES = ROOT / "docs" / "recipes.md"
SCHEMA = ROOT / "docs" / "recipes.schema.json"
_TABLE = re.compile(r"^\| Moodle event \|.*\Z", re.M | re.S)


_COLUMNS = re.compile(r"^## `moodle_log`.*\Z", re.M | re.S)


def columns_text() -> str:
    """The columns of every frame as they are in the files."""
    lines = []
    for frame in FRAMES:
        lines += [f"## `{frame.name}`", "", f"A row is {frame.row}.", ""]
        lines += ["| Column | Type | Meaning | Personal |", "|---|---|---|---|"]
        for column in frame.columns:
            kind = getattr(column.type, "value_type", column.type)
            kind = f"list of {kind}" if str(column.type).startswith("list") else kind
            personal = "yes" if column.personal else ""
            lines.append(f"| `{column.name}` | {kind} | {column.meaning} | {personal} |")
        lines.append("")
    return "\n".join(lines)


def test_the_columns_are_those_of_the_frames() -> None:
    assert DATA.read_text(encoding="utf-8").endswith("\n" + columns_text())


def schema_text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def test_the_table_of_events_is_what_the_recipes_make() -> None:
    (shown,) = _TABLE.findall(EVENTS.read_text(encoding="utf-8"))
    assert shown == reference()
    names = re.findall(r"^\| `([^`]+)` \|", shown, re.M)
    assert names == sorted(load_recipes().exact)


def test_the_schema_is_what_recipes_are_checked_by() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text()


def test_the_schema_takes_the_recipes_that_are_shipped() -> None:
    folder = ROOT / "caliper_dagster" / "translator" / "recipes"
    for file in sorted(folder.glob("*.yaml")):
        if file.name != "fallback.yaml":
            jsonschema.validate(yaml.safe_load(file.read_text(encoding="utf-8")), schema())


def test_the_guide_names_every_key_and_every_function() -> None:
    text = RECIPES.read_text(encoding="utf-8")
    keys = schema()["$defs"]["_Source"]["properties"]
    names = [*CONDITIONS, *DERIVED_EVENTS, *EXTENSION_FUNCTIONS, *keys]
    assert [name for name in names if f"`{name}" not in text] == []
    placeholders = {column for column in PATH_COLUMNS if column not in {"object", "module"}}
    assert {"objectid", *USER_IDS} - placeholders == {"realuserid"}
    assert [name for name in placeholders if f"{{{name}}}" not in text] == []


def test_the_examples_of_the_guide_are_recipes() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", RECIPES.read_text(encoding="utf-8"), re.S)
    assert len(list(read_recipes("recipes.md", example))) == 2


if __name__ == "__main__":
    text = EVENTS.read_text(encoding="utf-8")
    EVENTS.write_text(_TABLE.sub(lambda _: reference(), text), encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    text = DATA.read_text(encoding="utf-8")
    DATA.write_text(_COLUMNS.sub(lambda _: columns_text(), text), encoding="utf-8")
