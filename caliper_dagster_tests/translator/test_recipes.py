"""Recipes: those that are shipped load, and every mistake is a sentence that says where it is."""

from __future__ import annotations

import pytest

from caliper_dagster.errors import RecipeError
from caliper_dagster.translator import vocabulary
from caliper_dagster.translator.recipes import PathEntity, load_recipes, read_recipes

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


def test_the_thirty_events_of_the_plugin_have_recipes():
    recipes = load_recipes()
    assert len(recipes) == 30
    assert all(name == recipe.event_name for name, recipe in recipes.items())


@pytest.mark.parametrize("recipe", [*load_recipes().values()], ids=lambda recipe: recipe.event_name)
def test_a_shipped_recipe_is_legal_in_both_versions(recipe):
    for shape in (recipe, *(variant for _, variant in recipe.unless)):
        event = vocabulary.EVENT_TYPES[shape.event_type]
        assert event.actions is None or shape.action in event.actions
        older, action = vocabulary.event_in_1_1(shape.event_type, shape.action)
        assert action in vocabulary.ACTIONS["v1p1"]
        assert not vocabulary.EVENT_TYPES[older].new_in_1_2


def test_a_recipe_is_read_as_it_is_written():
    source = text(
        events=r"[\mod_x\event\a_viewed, \mod_x\event\b_viewed]",
        object="{type: WebPage, path: 'mod/x/{other.view}.php?id={objectid}'}",
        actor="learner",
        session="ends",
        other="[mode]",
        extensions="[submitted_by]",
        unless="{grade_removed: {type: Event, action: Removed, object: assign_score}}",
    )
    first, second = read_recipes("mine.yaml", source)
    assert (first.event_name, second.event_name) == (
        r"\mod_x\event\a_viewed", r"\mod_x\event\b_viewed"
    )  # fmt: skip
    assert first.name == "P99"
    assert first.object == PathEntity(type="WebPage", path="mod/x/{other.view}.php?id={objectid}")
    assert (first.actor, first.ends_session, first.other) == ("learner", True, {"mode"})
    assert first.extensions == ("submitted_by",)
    ((condition, variant),) = first.unless
    assert condition == "grade_removed"
    assert (variant.event_type, variant.object, variant.actor) == (
        "Event", "assign_score", "learner"
    )  # fmt: skip


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
        ({"action": None}, "action"),
        ({"object": None}, "object"),
        ({"object": "thing"}, "there is no entity 'thing'"),
        ({"object": "5"}, "object"),
        ({"object": "{type: Thing, path: x}"}, "'Thing' is no entity type"),
        ({"object": "{type: [WebPage], path: x}"}, "no entity type"),
        ({"object": "{type: WebPage}"}, "path"),
        ({"object": "{type: WebPage, path: x, name: y}"}, "name"),
        ({"object": "{type: Person, path: x}"}, "must be DigitalResource or Result, not Person"),
        ({"object": "{type: WebPage, path: 'x?id={userid}'}"}, "there is no {userid}"),
        ({"object": "{type: WebPage, path: 'x?id={}'}"}, "there is no {}"),
        ({"object": "{type: WebPage, path: 'x?s={other.sessionid}'}"}, "secret"),
        ({"object": "{type: WebPage, path: 'x?s={other.Token}'}"}, "secret"),
        ({"target": "thing"}, "target"),
        ({"generated": "thing"}, "generated"),
        ({"actor": "teacher"}, "actor"),
        ({"session": "begins"}, "session"),
        ({"other": "mode"}, "other"),
        ({"extensions": "[colour]"}, "there is no extension 'colour'"),
        ({"unless": "{full_moon: {type: Event, action: Removed, object: site}}"}, "full_moon"),
        ({"unless": "{grade_removed: {type: Event, action: Lost, object: site}}"}, "Lost"),
        ({"unless": "{grade_removed: {type: Event}}"}, "unless.grade_removed"),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence_that_names_file_and_recipe(changes, words):
    with pytest.raises(RecipeError) as mistake:
        list(read_recipes("mine.yaml", text() + "\n" + text(**changes)))
    sentence = str(mistake.value)
    assert sentence.startswith("mine.yaml: recipe 2")
    assert words in sentence
    assert "\n" not in sentence
    if "events" not in changes:
        assert r"\mod_x\event\thing_viewed" in sentence


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("- events: [", "no YAML"),
        ("events: x", "list of recipes"),
        ("just text", "list of recipes"),
        ("- just text", "recipe 1"),
        ("- ", "recipe 1"),
        ("- !!python/object:os.system {}", "no YAML"),
    ],
)
def test_a_file_that_holds_no_recipes_is_refused_by_name(source, words):
    with pytest.raises(RecipeError, match=words) as mistake:
        list(read_recipes("mine.yaml", source))
    assert str(mistake.value).startswith("mine.yaml")
    assert "\n" not in str(mistake.value)
