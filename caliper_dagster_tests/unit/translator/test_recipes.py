"""Recipes: those that are shipped load, and every mistake is a sentence that says where it is."""

from __future__ import annotations

import pytest

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.versions import V1P1
from caliper_dagster.core.errors import RecipeError
from caliper_dagster.translator.recipes import (
    PathEntity,
    Recipes,
    action_of,
    load_recipes,
    read_recipes,
)

RECIPE = {
    "events": r"[\mod_x\event\thing_viewed]",
    "pattern": "P99",
    "type": "ViewEvent",
    "action": "Viewed",
    "object": "activity",
}


def text(**changes: str | None) -> str:
    """A recipe in YAML with other values for some keys; None leaves a key out."""
    lines = [f"{key}: {value}" for key, value in {**RECIPE, **changes}.items() if value is not None]
    return "- " + "\n  ".join(lines)


def shipped():
    recipes = load_recipes()
    return [*recipes.exact.items(), *recipes.families]


def test_every_shipped_recipe_is_legal_in_both_versions():
    for name, recipe in shipped():
        for shape in (recipe, *(variant for _, variant in recipe.when)):
            event = vocabulary.EVENT_TYPES[shape.event_type]
            found = shape.action or action_of(name, None)
            assert event.actions is None or found in event.actions, name
            older, action = vocabulary.event_in(V1P1, shape.event_type, found)
            assert vocabulary.has_action(shape.action_1_1 or action, V1P1), name
            assert V1P1.has(vocabulary.EVENT_TYPES[older].since), name


def test_every_recipe_says_where_it_is_from():
    recipes = load_recipes()
    assert {recipe.resolution for recipe in recipes.exact.values()} == {"exact"}
    assert {recipe.resolution for _, recipe in recipes.families} == {"family"}
    assert all(recipe.source.endswith(".yaml") for _, recipe in shipped())
    assert not [recipe for _, recipe in shipped() if recipe.source == "fallback.yaml"]


def test_a_recipe_is_read_as_it_is_written():
    source = text(
        events=r"[\mod_x\event\a_viewed, '*_b_viewed']",
        object="{type: WebPage, path: 'mod/x/{other.view}.php?id={objectid}'}",
        actor="learner",
        action_1_1="Reviewed",
        session="ends",
        other="[mode]",
        extensions="[submitted_by]",
        derived="[thread_created]",
        when="{grade_removed: {type: Event, action: Removed, object: assign_score}}",
    )
    (name, first), (family, second) = read_recipes("mine.yaml", source)
    assert (name, family) == (r"\mod_x\event\a_viewed", "*_b_viewed")
    assert first == second
    assert (first.pattern, first.event_type, first.action) == ("P99", "ViewEvent", "Viewed")
    assert first.object == PathEntity(type="WebPage", path="mod/x/{other.view}.php?id={objectid}")
    assert (first.actor, first.ends_session, first.other) == ("learner", True, {"mode"})
    assert (first.extensions, first.derived) == (("submitted_by",), ("thread_created",))
    assert (first.action_1_1, first.resolution, first.source) == (
        "Reviewed", "exact", "mine.yaml"
    )  # fmt: skip
    ((condition, variant),) = first.when
    assert condition == "grade_removed"
    assert (variant.event_type, variant.object, variant.actor) == (
        "Event", "assign_score", "learner"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("former", "name"),
    [
        ("part", "fallback_object"),
        ("part_attempt", "fallback_attempt"),
        ("page", "fallback_page"),
    ],
)
def test_a_former_name_of_an_entity_still_counts(former, name):
    (_, recipe), (_, same) = (
        next(read_recipes("mine.yaml", text(type="Event", object=each, generated=each)))
        for each in (former, name)
    )
    assert recipe == same
    assert (recipe.object, recipe.generated) == (name, name)


def test_the_former_key_unless_still_counts():
    variant = "{grade_removed: {type: Event, action: Removed, object: part}}"
    (_, recipe), (_, same) = (
        next(read_recipes("mine.yaml", text(**{key: variant}))) for key in ("unless", "when")
    )
    assert recipe == same
    assert [(name, each.object) for name, each in recipe.when] == [
        ("grade_removed", "fallback_object")
    ]


def test_without_an_action_the_last_word_of_the_name_decides():
    source = text(events=r"[\mod_x\event\a_exported, '*_b_exported']", type="Event", action=None)
    (_, exact), (_, family) = read_recipes("mine.yaml", source)
    assert (exact.action, family.action) == ("Downloaded", "")
    found = Recipes({}, (("*_b_exported", family),)).find(r"\mod_y\event\the_b_exported")
    assert found.action == "Downloaded"


def test_a_variant_of_a_family_takes_the_word_of_the_name_too():
    source = text(
        events="['*_b_exported']",
        type="Event",
        action=None,
        when="{grade_removed: {type: Event, object: site}}",
    )
    found = Recipes({}).with_user_recipes([("mine.yaml", source)]).find(r"\x\event\b_b_exported")
    assert [variant.action for _, variant in found.when] == ["Downloaded"]


def test_an_empty_file_holds_no_recipes():
    assert list(read_recipes("empty.yaml", "# nothing yet\n")) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"events": None}, "events"),
        ({"events": "[]"}, "events"),
        ({"events": "mod_x"}, "events"),
        ({"events": "['mod_x viewed']"}, "no event name"),
        ({"events": r"[\Mod_X\event\viewed]"}, "no event name"),
        ({"pattern": None}, "pattern"),
        ({"type": None}, "type"),
        ({"type": "WatchEvent"}, "'WatchEvent' is no event type"),
        ({"type": "[ViewEvent]"}, "type"),
        ({"action": "Watched"}, "'Watched' is no action"),
        ({"action": "Graded"}, "ViewEvent has no action Graded"),
        ({"action": None, "events": r"[\mod_x\event\thing_exported]"}, "has no action Downloaded"),
        ({"object": None}, "object"),
        ({"object": "thing"}, "there is no entity 'thing'"),
        ({"object": "5"}, "object"),
        ({"object": "{type: Thing, path: x}"}, "'Thing' is no entity type"),
        ({"object": "{type: [WebPage], path: x}"}, "object.type: "),
        ({"object": "{type: WebPage}"}, "path"),
        ({"object": "{type: WebPage, path: x, name: y}"}, "name"),
        ({"object": "{type: Person, path: x}"}, "must be DigitalResource or Result, not Person"),
        ({"object": "{type: WebPage, path: 'x?id={username}'}"}, "there is no {username}"),
        ({"object": "{type: WebPage, path: 'x?id={other}{other.}'}"}, "there is no {other.}"),
        ({"object": "{type: WebPage, path: 'x?id={}'}"}, "there is no {}"),
        ({"object": "{type: WebPage, path: 'x?s={other.sessionid}'}"}, "secret"),
        ({"object": "{type: WebPage, path: 'x?s={other.Token}'}"}, "secret"),
        ({"target": "thing"}, "target"),
        ({"generated": "thing"}, "generated"),
        ({"actor": "teacher"}, "actor"),
        ({"session": "begins"}, "session"),
        ({"other": "mode"}, "other"),
        ({"extensions": "[colour]"}, "extensions: there is no 'colour'; there are assign_result, "),
        ({"derived": "[colours]"}, "derived: there is no 'colours'; there are feedback_items, "),
        ({"events": "['*event viewed']"}, "no event name"),
        ({"action_1_1": "[Viewed]"}, "action_1_1"),
        ({"action_1_1": "Sent"}, "action_1_1: 'Sent' is no action of Caliper 1.1"),
        ({"when": "{full_moon: {type: Event, action: Removed, object: site}}"}, "full_moon"),
        ({"when": "{grade_removed: {type: Event, action: Lost, object: site}}"}, "Lost"),
        ({"when": "{grade_removed: {type: Event}}"}, "when.grade_removed"),
        ({"unless": "{grade_removed: {type: Event}}"}, "unless.grade_removed"),
        ({"unless": "{}", "when": "{}"}, "unless: "),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence_that_names_file_and_line(changes, words):
    before = "# mine\n" + text() + "\n\n"
    with pytest.raises(RecipeError) as mistake:
        list(read_recipes("mine.yaml", before + text(**changes)))
    sentence = str(mistake.value)
    assert sentence.startswith(f"mine.yaml, line {before.count(chr(10)) + 1}: ")
    assert words in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("- events: [", "no YAML"),
        ("events: x", "list of recipes"),
        ("just text", "list of recipes"),
        ("- just text", "line 1"),
        ("\n- ", "line 2"),
        ("- !!python/object:os.system {}", "no YAML"),
        ("- events: 2001-99-99", "no YAML"),
        ("- events: \0", "no YAML"),
    ],
)
def test_a_file_that_holds_no_recipes_is_refused_by_name(source, words):
    with pytest.raises(RecipeError, match=words) as mistake:
        list(read_recipes("mine.yaml", source))
    assert str(mistake.value).startswith("mine.yaml")
    assert "\n" not in str(mistake.value)
