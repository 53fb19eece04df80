from pathlib import Path

import pytest
import yaml

from caliper_dagster.config.sites import all_sites
from caliper_dagster.core.errors import ConfigurationError, RecipeError
from caliper_dagster.core.yaml_limits import YamlLimitError, check_limits
from caliper_dagster.translator.recipes import load_recipes

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
DEEP = "a: " + "[" * 100_000
LOOP = "a: &a [*a]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [(BOMB, "stands for more than"), (DEEP, "nested deeper than"), (LOOP, "holds itself")],
)
def test_a_small_file_that_is_an_endless_document_is_refused(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(YamlLimitError) as error:
        check_limits(text, yaml.SafeLoader)
    assert problem in str(error.value.problem)
    file = tmp_path / "sites.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=rf"CALIPER_SITES is wrong: .*{problem}"):
        all_sites({"CALIPER_SITES": str(file)})
    with pytest.raises(RecipeError, match=problem):
        load_recipes().with_user_recipes([(str(file), text)])


def test_aliases_that_save_typing_are_accepted() -> None:
    check_limits("a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 1}\n", yaml.SafeLoader)
