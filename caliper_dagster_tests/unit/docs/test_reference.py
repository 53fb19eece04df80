"""The tables in ``docs`` are made from recipes, frames and data (``make docs``)."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import jsonschema
import pytest
import yaml

from caliper_dagster.config.event_stores import EventStoreDefinition
from caliper_dagster.config.personal_data import INVENTORY
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.core.privacy import PROFILES
from caliper_dagster.delivery.metrics import METRICS
from caliper_dagster.operations.recipes import reference
from caliper_dagster.translator import load_recipes, read_recipes
from caliper_dagster.translator.actors import USER_IDS
from caliper_dagster.translator.conditions import CONDITIONS
from caliper_dagster.translator.derived import DERIVED_EVENTS
from caliper_dagster.translator.entities.generic import PATH_COLUMNS
from caliper_dagster.translator.extensions import EXTENSION_FUNCTIONS
from caliper_dagster.translator.recipes import schema
from caliper_dagster_tests.harness.paths import DATA as CSV
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.unit.docs.test_settings import SETTINGS, settings_table

DATA = ROOT / "docs" / "data.md"
EVENTS = ROOT / "docs" / "events.md"
MAPPING = ROOT / "docs" / "mapping.md"
RECIPES = ROOT / "docs" / "recipes.md"
SCHEMA = ROOT / "docs" / "recipes.schema.json"


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


def rows_of(name: str) -> list[dict[str, str]]:
    with (CSV / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def table(header: tuple[str, ...], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def patterns_table() -> str:
    """Each pattern with the number of core events that have it."""
    events = Counter(row["pattern"] for row in rows_of("mapping.csv"))
    rows = [
        (row["pattern"], row["name"], events[row["pattern"]], row["sentence"])
        for row in rows_of("patterns.csv")
    ]
    return table(("Pattern", "Name", "Events", "What it means"), rows)


def patterns_in_short() -> str:
    """Each pattern with its sentence."""
    rows = [(row["pattern"], row["sentence"]) for row in rows_of("patterns.csv")]
    return table(("Pattern", "What it means"), rows)


def verbs_table() -> str:
    return table(("Action", "Verbs"), [row.values() for row in rows_of("verbs.csv")])


def object_tables_table() -> str:
    rows = []
    for row in rows_of("object_tables.csv"):
        versions = [
            name.removeprefix("in_")
            for name, there in row.items()
            if name.startswith("in_") and there == "1"
        ]
        since = f"{versions[0]} to {versions[-1]}" if versions else "none of these"
        rows.append((code(row["objecttable"]), row["entity_type"], code(row["iri"]), since))
    return table(("Table", "Type", "IRI", "Versions"), rows)


def mapping_table() -> str:
    rows = []
    for row in rows_of("mapping.csv"):
        others = [row["generated"], f"target {row['target']}" if row["target"] else ""]
        rows.append(
            (
                code(row["eventname"]),
                row["pattern"],
                f"{row['event_type']} {row['action']}",
                row["object_type"],
                code(row["object_iri"].replace("|", "or")),
                "; target ".join(others)
                if row["generated"]
                else "target " * bool(others) + "".join(others),
                row["caliper_1_1"],
            )
        )
    header = (
        *("Moodle event", "Pattern", "Event", "Object", "IRI of the object"),
        *("Generated and target", "Caliper 1.1"),
    )
    return table(header, rows)


def metrics_table() -> str:
    rows = [
        (code(metric.name), ", ".join(map(code, metric.labels)), metric.meaning)
        for metric in METRICS
    ]
    return table(("Metric", "Labels", "Meaning"), rows)


def profiles_table() -> str:
    """What leaves under each profile, without any other setting."""
    stores = [EventStoreDefinition(privacy=name) for name in PROFILES]
    forms = [store.effective_privacy for store in stores]
    rows = [
        (item.name, *(item.form(privacy) or "not sent" for privacy in forms))
        for item in INVENTORY
        if item.events
    ]
    return table(("Data", *map(code, PROFILES)), rows)


def inventory_table() -> str:
    """Where personal data comes from, where it ends up, and which setting decides."""
    rows = [
        (
            item.name,
            item.whose,
            item.moodle,
            ", ".join(map(code, item.events)) or "not sent",
            ", ".join(map(code, item.stored)),
            item.text or "",
            ", ".join(map(code, filter(None, (*item.switches, item.at_rest)))) or "none",
        )
        for item in INVENTORY
    ]
    header = ("Data", "Of whom", "From", "In events", "Stored in", "Class of text", "Switch")
    return table(header, rows)


WRITTEN = {
    MAPPING: {
        "patterns": patterns_table,
        "verbs": verbs_table,
        "object tables": object_tables_table,
        "events": mapping_table,
    },
    EVENTS: {"patterns": patterns_in_short, "events": reference},
    DATA: {"columns": columns_text},
    SETTINGS: {"settings": settings_table},
    ROOT / "docs" / "metrics.md": {"metrics": metrics_table},
    ROOT / "docs" / "privacy.md": {"profiles": profiles_table, "inventory": inventory_table},
}
"""What ``make docs`` writes between the marks of each file."""


def between(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<=<!-- {name}: written by `make docs` -->\n).*?(?=<!-- end of {name} -->)", re.S
    )


PARTS = [(file, name) for file, parts in WRITTEN.items() for name in parts]


@pytest.mark.parametrize(
    ("file", "name"), PARTS, ids=[f"{name} in {file.name}" for file, name in PARTS]
)
def test_what_make_docs_writes_is_what_the_file_has(file: Path, name: str) -> None:
    assert between(name).findall(file.read_text(encoding="utf-8")) == [WRITTEN[file][name]()]


def test_every_event_with_a_recipe_is_in_the_table() -> None:
    names = re.findall(r"^\| `([^`]+)` \|", reference(), re.M)
    assert names == sorted(load_recipes().exact)


@pytest.mark.parametrize("file", [ROOT / "README.md", MAPPING], ids=lambda file: file.name)
def test_the_number_of_events_is_that_of_the_recipes(file: Path) -> None:
    stated = re.findall(r"(\d+) (?:events of Moodle's own|names over)", file.read_text("utf-8"))
    assert stated == [str(len(load_recipes().exact))]


def test_every_pattern_has_a_sentence() -> None:
    named = {row["pattern"] for row in rows_of("patterns.csv")}
    recipes = load_recipes()
    used = {recipe.pattern for recipe in recipes.exact.values()}
    used |= {recipe.pattern for _, recipe in recipes.families}
    assert used | {row["pattern"] for row in rows_of("mapping.csv")} == named


def schema_text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def test_the_schema_is_what_recipes_are_checked_by() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text()


def test_the_schema_takes_the_recipes_that_are_shipped() -> None:
    folder = ROOT / "caliper_dagster" / "translator" / "recipes"
    for file in sorted(folder.glob("*.yaml")):
        if file.name != "fallback.yaml":
            jsonschema.validate(yaml.safe_load(file.read_text(encoding="utf-8")), schema())


def test_the_guide_names_every_key_and_every_function() -> None:
    text = RECIPES.read_text(encoding="utf-8")
    keys = schema()["$defs"]["_RecipeSource"]["properties"]
    names = [*CONDITIONS, *DERIVED_EVENTS, *EXTENSION_FUNCTIONS, *keys]
    assert [name for name in names if f"`{name}" not in text] == []
    placeholders = {column for column in PATH_COLUMNS if column not in {"object", "module"}}
    assert {"objectid", *USER_IDS} - placeholders == {"realuserid"}
    assert [name for name in placeholders if f"{{{name}}}" not in text] == []


def test_the_examples_of_the_guide_are_recipes() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", RECIPES.read_text(encoding="utf-8"), re.S)
    assert len(list(read_recipes("recipes.md", example))) == 2


if __name__ == "__main__":
    for file, parts in WRITTEN.items():
        text = file.read_text(encoding="utf-8")
        for name, make in parts.items():
            made = make().replace("\\", r"\\")
            text = between(name).sub(made, text)
        file.write_text(text, encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")
