"""Documents name modules and functions that exist, and their links lead somewhere."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from caliper_dagster_tests.harness.paths import ROOT

PACKAGE = ROOT / "caliper_dagster"
DOCS = ROOT / "docs"
DOCUMENTS = ("docs/architecture.md", "docs/decisions.md", "CONTRIBUTING.md")

_CODE = re.compile(r"`([^`\s]+)`")
_FENCES = re.compile(r"^```.*?^```", re.M | re.S)
_ROOMS = sorted(folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file())


def named(document: str) -> list[str]:
    """What a document sets as code, outside of examples."""
    return _CODE.findall(_FENCES.sub("", (ROOT / document).read_text(encoding="utf-8")))


def paths(document: str) -> list[str]:
    """The files and folders in a room, in the package or in its tests, and modules on top."""
    places = "|".join((*_ROOMS, "caliper_dagster", "caliper_dagster_tests"))
    path = re.compile(rf"({places})/([\w/]+\.\w+|[\w/]*/|)$|\w+\.py$")
    return [name for name in named(document) if path.match(name)]


@cache
def defined() -> set[str]:
    """The functions and classes of the package."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {
        node.name
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, kinds)
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_paths_in_it_exist(document: str) -> None:
    wanted = paths(document)
    assert wanted
    assert [name for name in wanted if not any((p / name).exists() for p in (PACKAGE, ROOT))] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_functions_in_it_are_defined(document: str) -> None:
    functions = {name.removesuffix("()") for name in named(document) if name.endswith("()")}
    assert functions - defined() == set()


def test_the_architecture_shows_every_room() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert [room for room in _ROOMS if f"{room}/" not in text] == []


def test_the_walk_shows_the_recipe_of_its_event() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    assert example in (PACKAGE / "translator/recipes/assessment.yaml").read_text(encoding="utf-8")


def anchors(file: Path) -> set[str]:
    """The fragments by which GitHub links to the headings of a document."""
    text = _FENCES.sub("", file.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "document", sorted(str(f.relative_to(ROOT)) for f in (*ROOT.glob("*.md"), *DOCS.glob("*.md")))
)
def test_its_links_lead_somewhere(document: str) -> None:
    file = ROOT / document
    text = _FENCES.sub("", file.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, fragment = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link
