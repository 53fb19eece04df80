"""A name without a recipe is answered with names that have one."""

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.operations.recipes import similar_names
from caliper_dagster.translator import load_recipes
from caliper_dagster_tests.harness.environment import environment

STARTED = r"\mod_quiz\event\attempt_started"


@pytest.mark.parametrize(
    "typed",
    [r"\mod_quiz\event\attempt_startd", r"\mod_qiuz\event\attempt_started", "attempt_started"],
)
def test_the_most_similar_names_are_suggested(typed: str) -> None:
    found = similar_names(load_recipes(), typed)
    assert STARTED in found
    assert len(found) <= 3
    assert found[0] == STARTED or typed == "attempt_started"


def test_a_name_like_no_other_has_no_suggestion() -> None:
    assert similar_names(load_recipes(), r"\zzz\event\qqq") == []


def test_the_command_suggests_names(capsys: pytest.CaptureFixture[str]) -> None:
    with environment({}):
        assert main(["recipes", "show", r"mod_quiz\event\attempt_startd"]) == 0
        told = capsys.readouterr()
        assert told.out.startswith(r"\mod_quiz\event\attempt_startd: no recipe")
        assert STARTED in told.err
        assert main(["recipes", "show", STARTED]) == 0
        assert capsys.readouterr().err == ""
        assert main(["recipes", "show", r"\mod_facetoface\event\course_module_viewed"]) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("typed", "hint"), [("attempt_started", f"Did you mean {STARTED}"), ("nothing", "")]
)
def test_what_is_no_name_of_an_event_is_an_error(
    typed: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment({}):
        assert main(["recipes", "show", typed]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"{typed} is not the name of a Moodle event")
    assert hint in told.err
    assert told.err.count("\n") == 1
