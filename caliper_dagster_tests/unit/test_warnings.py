"""Warnings that our code causes fail a test; those of other packages do not (`pyproject.toml`)."""

import warnings

import pytest

DEPRECATED = """
import warnings
def deprecated():
    warnings.warn("there is a newer way", {category}, stacklevel={stacklevel})
"""


def call_from(module: str, category: str, stacklevel: int = 2) -> None:
    """Call a deprecated function of another package from a module of this name."""
    library: dict[str, object] = {"__name__": "some_library"}
    exec(DEPRECATED.format(category=category, stacklevel=stacklevel), library)
    exec("deprecated()", {"__name__": module, "deprecated": library["deprecated"]})


@pytest.mark.parametrize(
    "module", ["caliper_dagster.core.hours", "caliper_dagster_tests.harness", "benchmarks.site"]
)
@pytest.mark.parametrize(
    "category", ["DeprecationWarning", "FutureWarning", "RuntimeWarning", "ResourceWarning"]
)
def test_a_warning_that_our_code_causes_is_an_error(module: str, category: str) -> None:
    with pytest.raises(Warning, match="there is a newer way"):
        call_from(module, category)


@pytest.mark.parametrize("module", ["dagster._core.events", "some_other_library"])
def test_what_others_do_among_themselves_is_no_error(module: str) -> None:
    with warnings.catch_warnings(record=True) as found:
        call_from(module, "DeprecationWarning")
        call_from("caliper_dagster.core.hours", "DeprecationWarning", stacklevel=1)
    assert len(found) == 2
