"""What the recipes say, told to people: which one an event finds, all of them, a log's coverage.

Here belongs reading recipes, logs and stored hours to answer questions about the mapping; nothing
is written and nothing is sent. How answers look on a terminal is the business of ``cli``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.translator import build_translator
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG
from caliper_dagster.core.hours import HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.translator import Recipe, Recipes, Translator, load_recipes
from caliper_dagster.translator.example import example_row, example_table
from caliper_dagster.translator.recipes import PathEntity

_SITE = "https://moodle.example.edu"


@dataclass(frozen=True, slots=True)
class Covered:
    """An event name in a log.

    Attributes:
        event_name: class name of the event.
        rows: how many rows have it.
        resolution: how they find their recipe: exact, family, fallback or user.
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
    """Which events the log holds and by which recipe they leave; the most frequent first.

    One statement, which counts; no row is read.
    """
    with open_moodle(settings) as database:
        counted = database.execute(
            sa.text(
                "SELECT eventname, crud, objecttable, contextlevel, COUNT(*) "
                f"FROM {database.quoted('logstore_standard_log')} "
                "WHERE timecreated >= :start AND timecreated < :end "
                "GROUP BY eventname, crud, objecttable, contextlevel"
            ),
            start=hours.start.start,
            end=hours.end.start,
        )
    found: Counter[tuple[str, Recipe]] = Counter()
    for name, crud, objecttable, contextlevel, rows in counted:
        found[name, recipes.find(name, crud, objecttable, contextlevel)] += int(rows)
    return [
        Covered(name, rows, recipe.resolution, recipe.pattern, recipe.event_type, recipe.action)
        for (name, recipe), rows in sorted(found.items(), key=lambda item: (-item[1], item[0][0]))
    ]


@dataclass(frozen=True, slots=True)
class Shown:
    """A recipe as it wins for an event, with what it makes of an example.

    Attributes:
        event_name: class name of the event.
        why: a sentence that says which recipe wins, and why.
        recipe: its keys.
        event: the event of an invented row.
    """

    event_name: str
    why: str
    recipe: dict[str, Any]
    event: dict[str, Any]


def show(recipes: Recipes, event_name: str, **options: Any) -> Shown:  # noqa: ANN401
    """Which recipe an event finds, and an example of its event.

    Args:
        recipes: all recipes.
        event_name: class name of the event.
        options: of :class:`Translator`.
    """
    row = example_row(event_name)
    recipe = recipes.find(event_name, row["crud"], row["objecttable"], row["contextlevel"])
    events = Translator(_SITE, recipes=recipes, **options).translate(example_table([row]))
    first = events.slice(0, 1).to_pylist()[0]
    return Shown(
        event_name,
        _why(recipe, event_name),
        _keys(recipe),
        orjson.loads(first["json"]) if first["json"] else {"failed": first["reason"]},
    )


def _why(recipe: Recipe, event_name: str) -> str:
    reasons = {
        "exact": f"{recipe.source} has a recipe for exactly this event",
        "family": f"{recipe.source} has a family that this event belongs to",
        "fallback": "neither a recipe nor a family knows this event, so its last word and the "
        "columns of its rows decide",
        "user": f"{recipe.source}, the site's own recipes, has one for it",
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
        "unless": {
            name: f"{variant.event_type} {variant.action}" for name, variant in recipe.unless
        },
    }
    return {key: value for key, value in keys.items() if value}


def _source(source: str | PathEntity | None) -> object:
    return source.model_dump() if isinstance(source, PathEntity) else source


@dataclass(frozen=True, slots=True)
class Changes:
    """What new recipes would change of one event name.

    Attributes:
        changed: events whose content would be another, and which would be sent again.
        added: events that would be new.
        gone: events that would not be made any more; what was sent stays at the event store.
        where: properties of the event that differ, with in how many events.
    """

    changed: int
    added: int
    gone: int
    where: Counter[str]


def differences(
    settings: Settings, storage: PartitionStore, hours: HourRange
) -> Iterator[tuple[str, Changes]]:
    """What materializing ``caliper_events`` again would change, by event name.

    Reads stored hours, which must be materialized; Moodle is not asked.

    Raises:
        StorageError: an hour is not there.
    """
    translate = build_translator(settings).translate
    found: dict[str, Changes] = {}
    for group, expanded in storage.chunks(EXPANDED_LOG, hours):
        now = _by_id(storage.read(CALIPER_EVENTS, group))
        then = _by_id(translate(expanded))
        for event_id in now.keys() | then.keys():
            _compare(found, now.get(event_id), then.get(event_id))
    yield from sorted(found.items())


def _by_id(events: pa.Table) -> dict[str, tuple[str, str]]:
    sent = events.filter(pc.is_valid(events["event_id"]))
    columns = (sent[name].to_pylist() for name in ("event_id", "event_name", "json"))
    return {event_id: (name, json) for event_id, name, json in zip(*columns, strict=True)}


def _compare(
    found: dict[str, Changes], now: tuple[str, str] | None, then: tuple[str, str] | None
) -> None:
    if now == then:
        return
    name = (then or now or ("", ""))[0]
    known = found.get(name, Changes(0, 0, 0, Counter()))
    where = Counter(known.where)
    if now and then:
        where.update(_paths(orjson.loads(now[1]), orjson.loads(then[1])))
    found[name] = Changes(
        known.changed + bool(now and then),
        known.added + (now is None),
        known.gone + (then is None),
        where,
    )


def _paths(one: Any, other: Any, path: str = "") -> Iterable[str]:  # noqa: ANN401 - JSON
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _paths(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    elif one != other:
        yield path


def reference() -> str:
    """The table of all events that have a recipe of their own, in Markdown, made from examples."""
    recipes = load_recipes()
    names = sorted(recipes.exact)
    rows = [example_row(name, id=number) for number, name in enumerate(names)]
    made = {
        version: {
            event["event_name"]: orjson.loads(event["json"])
            for event in Translator(_SITE, version=version, recipes=recipes)
            .translate(example_table(rows))
            .to_pylist()
            if event["outcome"] == "event"
        }
        for version in ("v1p2", "v1p1")
    }
    lines = [
        "| Moodle event | Pattern | Caliper 1.2 | Object | Profile | Caliper 1.1 |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        newer, older = made["v1p2"][name], made["v1p1"][name]
        new, old = (f"{event['type']} {event['action']}" for event in (newer, older))
        lines.append(
            f"| `{name}` | {recipes.exact[name].pattern} | {new} "
            f"| {newer['object']['type']} | {newer['profile'].removesuffix('Profile')} "
            f"| {'same' if old == new else old} |"
        )
    return "\n".join(lines) + "\n"
