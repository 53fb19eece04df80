"""Questions about the mapping: the recipe of an event, the coverage of a log, changed events.

The functions read recipes, the log and stored hours; they write nothing and send nothing. ``cli``
prints the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from caliper_dagster.caliper.shapes import CANONICAL, ShapeName
from caliper_dagster.caliper.versions import V1P1, V1P2, VersionName
from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.event_stores import events_frame, renderings
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.stored_fields import needed_fields
from caliper_dagster.config.translator import translators
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.core.hours import HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery.materialize import require_fields
from caliper_dagster.expander import LOG
from caliper_dagster.translator import Recipe, Recipes, Translator, load_recipes
from caliper_dagster.translator.example import example_row, example_table
from caliper_dagster.translator.recipes import EVENT_NAME, PathEntity

_SITE = "https://moodle.example.edu"
_SUGGESTIONS = 3


@dataclass(frozen=True, slots=True)
class Covered:
    """The rows of a log with one event name and one recipe.

    Attributes:
        event_name: class name of the event.
        rows: number of rows.
        resolution: how the recipe was found: exact, family, fallback or user.
        pattern: pattern of the recipe.
        event_type: Caliper type (1.2).
        action: Caliper action (1.2).
    """

    event_name: str
    rows: int
    resolution: str
    pattern: str
    event_type: str
    action: str


def coverage(settings: Settings, recipes: Recipes, hours: HourRange) -> list[Covered]:
    """The Moodle events in the log with their recipes, the most frequent first.

    One statement counts the rows; no row is read.
    """
    with open_moodle(settings) as database:
        counted = database.log.execute(
            sa.text(
                "SELECT eventname, crud, objecttable, contextlevel, COUNT(*) "
                f"FROM {database.log.quoted(LOG)} "
                "WHERE timecreated >= :start AND timecreated < :end "
                "GROUP BY eventname, crud, objecttable, contextlevel"
            ),
            start=hours.start.start,
            end=hours.end.start,
        )
    rows_by_recipe: Counter[tuple[str, Recipe]] = Counter()
    for name, crud, objecttable, contextlevel, rows in counted:
        rows_by_recipe[name, recipes.find(name, crud, objecttable, contextlevel)] += int(rows)
    return [
        Covered(name, rows, recipe.resolution, recipe.pattern, recipe.event_type, recipe.action)
        for (name, recipe), rows in sorted(
            rows_by_recipe.items(), key=lambda item: (-item[1], item[0][0])
        )
    ]


@dataclass(frozen=True, slots=True)
class CoveredComponent:
    """The rows of a log of one component of Moodle.

    Attributes:
        name: the component, such as ``mod_quiz``; Moodle's own events are of ``core``.
        rows: number of rows.
        events: number of different events.
        fallback_rows: of the rows, those whose events no recipe and no family names.
    """

    name: str
    rows: int
    events: int
    fallback_rows: int


def by_component(covered: Iterable[Covered]) -> list[CoveredComponent]:
    """The sums of a coverage by component, the one with the most rows first."""
    rows: Counter[str] = Counter()
    fallback_rows: Counter[str] = Counter()
    names: dict[str, set[str]] = {}
    for event in covered:
        component = event.event_name.lstrip("\\").partition("\\")[0]
        rows[component] += event.rows
        fallback_rows[component] += event.rows if event.resolution == "fallback" else 0
        names.setdefault(component, set()).add(event.event_name)
    return [
        CoveredComponent(name, rows[name], len(names[name]), fallback_rows[name])
        for name in sorted(rows, key=lambda name: (-rows[name], name))
    ]


@dataclass(frozen=True, slots=True)
class Shown:
    """The recipe of a Moodle event, with an example.

    Attributes:
        event_name: class name of the event.
        why: a sentence on why this recipe applies.
        similar: names of similar events that have a recipe, if this one has neither recipe nor
            family.
        recipe: its keys.
        event: the Caliper event of an example row.
    """

    event_name: str
    why: str
    similar: list[str]
    recipe: dict[str, Any]
    event: dict[str, Any]


def show(
    recipes: Recipes, event_name: str, version: VersionName, shape: ShapeName = CANONICAL.name
) -> Shown:
    """The recipe of a Moodle event, and an example of its Caliper event.

    Args:
        recipes: all recipes.
        event_name: class name of the event.
        version: Caliper version of the example.
        shape: shape of the example.

    Raises:
        ConfigurationError: it is no name of a Moodle event; names similar ones.
    """
    if not EVENT_NAME.fullmatch(event_name):
        similar = similar_names(recipes, event_name)
        hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
        raise ConfigurationError(
            f"{event_name.removeprefix(chr(92))} is not the name of a Moodle event, such as "
            f"\\mod_quiz\\event\\attempt_started.{hint}"
        )
    row = example_row(event_name)
    recipe = recipes.find(event_name, row["crud"], row["objecttable"], row["contextlevel"])
    translator = Translator(_SITE, recipes=recipes, version=version, shape=shape)
    first = translator.translate(example_table([row])).slice(0, 1).to_pylist()[0]
    return Shown(
        event_name,
        _why(recipe, event_name),
        similar_names(recipes, event_name) if recipe.resolution == "fallback" else [],
        _keys(recipe),
        orjson.loads(first["json"]) if first["json"] else {"failed": first["reason"]},
    )


def similar_names(recipes: Recipes, name: str) -> list[str]:
    """The names of at most three events with a recipe that are the most similar to a name.

    A name without a component is compared with the last words of the events' names.
    """
    similar = get_close_matches(name, recipes.exact, _SUGGESTIONS, cutoff=0.8)
    if not EVENT_NAME.fullmatch(name):
        by_last_word: dict[str, list[str]] = {}
        for event_name in sorted(recipes.exact):
            by_last_word.setdefault(_last_word(event_name), []).append(event_name)
        for word in get_close_matches(_last_word(name), by_last_word, _SUGGESTIONS, cutoff=0.8):
            similar += by_last_word[word]
    return list(dict.fromkeys(similar))[:_SUGGESTIONS]


def _last_word(event_name: str) -> str:
    return event_name.rpartition("\\")[2]


def _why(recipe: Recipe, event_name: str) -> str:
    reasons = {
        "exact": f"{recipe.source} has a recipe for exactly this event",
        "family": f"{recipe.source} has a family to which this event belongs",
        "fallback": "no recipe and no family matches this event, so its last word and the columns "
        "of its rows decide",
        "user": f"{recipe.source}, a recipe file of the site, has a recipe for it",
    }
    return f"{event_name}: {reasons[recipe.resolution]} ({recipe.pattern})."


def _keys(recipe: Recipe) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "pattern": recipe.pattern,
        "type": recipe.event_type,
        "action": recipe.action,
        "actor": recipe.actor,
        "object": _source(recipe.object),
        "target": _source(recipe.target),
        "generated": _source(recipe.generated),
        "derived": list(recipe.derived),
        "extensions": list(recipe.extensions),
        "other": sorted(recipe.other),
        "when": {name: f"{variant.event_type} {variant.action}" for name, variant in recipe.when},
    }
    return {key: value for key, value in keys.items() if value}


def _source(source: str | PathEntity | None) -> object:
    return source.model_dump() if isinstance(source, PathEntity) else source


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed recipes would change in the stored events of one Moodle event.

    Attributes:
        changed: number of events whose content would differ; those acknowledged under the present
            mapping revision would be sent again.
        added: number of new events.
        removed: number of events that would no longer exist; event stores keep those already sent.
        where: paths of the properties that differ, with the number of events.
    """

    changed: int
    added: int
    removed: int
    where: Counter[str]


def differences(
    settings: Settings, storage: PartitionStore, hours: HourRange
) -> Iterator[tuple[str, Changes]]:
    """The changes that materializing ``caliper_events`` again would make, by event name.

    Reads ``expanded_log`` and ``caliper_events`` of the hours; does not query Moodle.

    Raises:
        StorageError: an hour has not been materialized, or was stored without a field that events
            tell.
    """
    rendering = renderings(settings)[0]
    frame = events_frame(settings, rendering)
    changes: dict[str, Changes] = {}
    needed = needed_fields(settings, rendering)
    for part in translators(settings, rendering, hours):
        # An event that would be gone is found by comparing whole hours.
        for chunk_hours, expanded, _, _ in storage.chunks(
            EXPANDED_LOG, part.hours, divide=False, opened=partial(require_fields, needed)
        ):
            stored = _by_id(storage.read(frame, chunk_hours))
            translated = _by_id(part.translator.translate(expanded))
            for event_id in stored.keys() | translated.keys():
                _compare(changes, stored.get(event_id), translated.get(event_id))
    yield from sorted(changes.items())


def _by_id(events: pa.Table) -> dict[str, tuple[str, str]]:
    sent = events.filter(pc.is_valid(events["event_id"]))
    columns = (sent[name].to_pylist() for name in ("event_id", "event_name", "json"))
    return {event_id: (name, json) for event_id, name, json in zip(*columns, strict=True)}


def _compare(
    changes: dict[str, Changes],
    stored: tuple[str, str] | None,
    translated: tuple[str, str] | None,
) -> None:
    if stored == translated:
        return
    name = (translated or stored or ("", ""))[0]
    before = changes.get(name, Changes(0, 0, 0, Counter()))
    where = Counter(before.where)
    if stored and translated:
        where.update(_paths(orjson.loads(stored[1]), orjson.loads(translated[1])))
    changes[name] = Changes(
        before.changed + bool(stored and translated),
        before.added + (stored is None),
        before.removed + (translated is None),
        where,
    )


def _paths(one: Any, other: Any, path: str = "") -> Iterable[str]:  # noqa: ANN401 - JSON
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _paths(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    elif one != other:
        yield path


def reference() -> str:
    """A Markdown table of all Moodle events with a recipe of their own, made from example rows."""
    recipes = load_recipes()
    names = sorted(recipes.exact)
    rows = [example_row(name, id=number) for number, name in enumerate(names)]
    made = {
        version: {
            event["event_name"]: orjson.loads(event["json"])
            for event in Translator(_SITE, version=version.name, recipes=recipes)
            .translate(example_table(rows))
            .to_pylist()
            if event["outcome"] == "event"
        }
        for version in (V1P2, V1P1)
    }
    lines = [
        "| Moodle event | Pattern | Caliper 1.2 | Object | Profile | Caliper 1.1 |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        newer, older = made[V1P2][name], made[V1P1][name]
        new, old = (f"{event['type']} {event['action']}" for event in (newer, older))
        lines.append(
            f"| `{name}` | {recipes.exact[name].pattern} | {new} "
            f"| {newer['object']['type']} | {newer['profile'].removesuffix('Profile')} "
            f"| {'same' if old == new else old} |"
        )
    return "\n".join(lines) + "\n"
