"""Only `dagster/instance` uses what Dagster does not document."""

import ast
from collections.abc import Iterator
from pathlib import Path

import caliper_dagster

PACKAGE = Path(caliper_dagster.__file__).parent
DAGSTER = ("dagster.", "dagster_postgres.", "dagster_celery.", "dagster_shared.")


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_undocumented_modules_of_dagster_are_used_in_one_folder() -> None:
    users = {
        file.relative_to(PACKAGE).parent.as_posix()
        for file in PACKAGE.rglob("*.py")
        if any(
            name.startswith(DAGSTER) and any(word.startswith("_") for word in name.split("."))
            for name in imported(file)
        )
    }
    assert users == {"dagster/instance"}
