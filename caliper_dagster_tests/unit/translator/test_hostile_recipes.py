"""A recipe file loads, or is refused with a sentence that names the file and the line."""

from __future__ import annotations

import pytest

from caliper_dagster.core.errors import RecipeError
from caliper_dagster.translator.recipes import load_recipes, read_recipes
from caliper_dagster_tests.harness.hostile_recipes import GOOD, examine_files, problem_of
from caliper_dagster_tests.unit.translator.support import W, event


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as error:
        list(read_recipes("mine.yaml", text, resolution="user"))
    return str(error.value)


@pytest.mark.parametrize("seed", range(5))
def test_every_hostile_file_loads_or_is_refused_with_its_line(seed: int) -> None:
    assert problem_of(GOOD) is None
    found = examine_files(40, seed)
    assert found.wrong == []
    assert found.refused > 10


@pytest.mark.parametrize(
    "value", ['!!int ""', '!!float ""', "!!bool x", "!!timestamp x", "2026-02-30", "0b_"]
)
def test_a_value_that_is_not_what_its_form_says_has_its_line(value: str) -> None:
    text = f"# Ours\n- pattern: a\n  action: {value}\n"
    expected = "mine.yaml, line 3: this is no YAML: a value is not of the type that its form"
    assert refusal(text).startswith(expected)


@pytest.mark.parametrize("start", ["- pattern: a\n", "- pattern: Öffnung\n"])
def test_a_character_that_yaml_does_not_allow_has_its_line(start: str) -> None:
    expected = "mine.yaml, line 2: this is no YAML: it holds a character that YAML does not allow."
    assert refusal(f"{start}  action: a\0b\n") == expected


def recipe(**values: str) -> str:
    made = {
        "events": r"[\mod_x\event\y_viewed]", "pattern": "X", "type": "Event", "action": "Viewed",
        "object": "activity", **values,
    }  # fmt: skip
    return "- " + "\n  ".join(f"{key}: {value}" for key, value in made.items())


def test_a_sentence_repeats_neither_a_long_value_nor_what_a_terminal_obeys() -> None:
    sentence = refusal(recipe(action="x" * 100_000))
    assert sentence == f"mine.yaml, line 1: action: '{'x' * 60}…' is no action of Caliper."
    sentence = refusal(recipe(**{'"\\e[2Jkey"': "1"}))
    assert sentence == "mine.yaml, line 1: [2Jkey: extra inputs are not permitted."


@pytest.mark.parametrize("path", ["a b", "a\\tb", "a\\0", "{{objectid}", "a{objectid", "<x>"])
def test_a_path_that_cannot_be_part_of_an_address_is_refused(path: str) -> None:
    sentence = refusal(recipe(object=f'{{type: WebPage, path: "{path}"}}'))
    assert sentence.startswith("mine.yaml, line 1: object.path: ")
    assert sentence.endswith("cannot be a part of an address.")


@pytest.mark.parametrize("key", ["my_token", "Password", "lastsessionid"])
def test_no_path_names_a_secret(key: str) -> None:
    path = f"x.php?a={{other.{key}}}"
    expected = "may hold a secret and is never sent"
    assert expected in refusal(recipe(object=f'{{type: WebPage, path: "{path}"}}'))


def test_a_path_holds_the_name_of_a_person_only_where_names_leave() -> None:
    text = recipe(object='{type: WebPage, path: "x.php?id={objectid}&by={other.nickname}"}')
    recipes = load_recipes().with_user_recipes([("mine.yaml", text)])
    row = {"eventname": r"\mod_x\event\y_viewed", "objectid": 7, "other": {"nickname": "ada"}}
    assert event(row, recipes=recipes)["object"]["id"] == f"{W}/x.php?id=7"
    named = event(row, recipes=recipes, person_names=True)
    assert named["object"]["id"] == f"{W}/x.php?id=7&by=ada"
