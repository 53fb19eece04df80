import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import caliper_dagster

PACKAGE = Path(caliper_dagster.__file__).parent
PARTS = ("expander", "translator", "emitter", "embedded")
SHARED = (
    "errors",
    "frames",
    "garbage",
    "hours",
    "settings",
    "settings_file",
    "sites",
    "storage",
    "accounting",
    "translation",
    "processes",
)
PRIVATE = {"celery_launcher", "dagster_bulk", "dagster_storage"}


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(*names: str) -> list[Path]:
    found = [
        file
        for name in names
        for file in [PACKAGE / f"{name}.py", *(PACKAGE / name).rglob("*.py")]
        if file.exists()
    ]
    return sorted(found)


@pytest.mark.parametrize("part", PARTS)
def test_the_parts_know_neither_dagster_nor_each_other(part: str) -> None:
    others = {"dagster", *(f"caliper_dagster.{name}" for name in PARTS if name != part)}
    assert files(part)
    for file in files(part):
        for name in imported(file):
            assert not any(name == other or name.startswith(f"{other}.") for other in others), (
                f"{file.relative_to(PACKAGE)} imports {name}"
            )


def test_what_the_parts_share_does_not_know_dagster() -> None:
    for file in [PACKAGE / "__init__.py", *files(*SHARED)]:
        names = list(imported(file))
        assert not [name for name in names if name.split(".")[0] == "dagster"], file


def test_few_modules_use_what_dagster_does_not_document() -> None:
    users = {
        file.stem
        for file in PACKAGE.rglob("*.py")
        if any(
            name.startswith(("dagster.", "dagster_postgres.", "dagster_shared."))
            and any(word.startswith("_") for word in name.split("."))
            for name in imported(file)
        )
    }
    assert users == PRIVATE
