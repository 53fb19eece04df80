"""What importing the package reads and imports, in a process of its own."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.paths import ROOT

OURS = ("CALIPER_", "MOODLE_")


def python(code: str) -> str:
    """What a fresh interpreter prints where no variable of ours is set, not even one of the tests'.

    Libraries copy the whole environment; such a copy would look as if it asked for ours.
    """
    environment = {
        name: value
        for name, value in clean_environment(dict(os.environ)).items()
        if not name.startswith(OURS)
    }
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What importing for another project's definitions does, and then loading our own."""
    found = python(
        """
import json, os, sys
os.umask(0o27)
asked, touched = [], []
class Watched(type(os.environ)):
    def __getitem__(self, name):
        asked.append(name)
        return super().__getitem__(name)
os.environ.__class__ = Watched
import dagster, pandas, pyarrow, sqlalchemy
watched = ("socket.connect", "socket.bind", "sqlite3.connect", "subprocess.Popen")
sys.addaudithook(lambda name, arguments: touched.append(name) if name in watched else None)
import caliper_dagster, caliper_dagster.dagster.build
told = {"asked": [*asked], "umask": os.umask(0o27)}
import caliper_dagster.definitions
print(json.dumps(told | {"touched": touched, "modules": sorted(sys.modules)}))
"""
    )
    answer: dict[str, Any] = json.loads(found)
    return answer


def test_importing_what_another_project_imports_reads_no_variable_of_ours(
    told: dict[str, Any],
) -> None:
    ours = [name for name in told["asked"] if name.startswith(OURS)]
    assert (ours, told["umask"]) == ([], 0o27)


def test_loading_touches_neither_database_nor_network_nor_the_parts(told: dict[str, Any]) -> None:
    """The code server loads them without a setting, and never needs what only a step needs."""
    assert told["touched"] == []
    heavy = {"pymysql", "psycopg2", "uvicorn", "starlette", "rich.progress"}
    parts = {
        f"caliper_dagster.{part}" for part in ("expander", "translator", "emitter", "embedded")
    }
    assert not (heavy | parts) & set(told["modules"])


def test_importing_the_package_imports_neither_dagster_nor_pandas() -> None:
    told = python("import caliper_dagster, sys; print([*sys.modules])")
    assert "'dagster'" not in told
    assert "'pandas'" not in told


def test_the_package_imports_nothing_heavy_and_reads_no_environment() -> None:
    program = (
        "import os, sys\n"
        "read = []\n"
        "class Watched(dict):\n"
        "    def __getitem__(self, key): read.append(key); return super().__getitem__(key)\n"
        "    def get(self, key, default=None): read.append(key); return super().get(key, default)\n"
        "os.environ = Watched(os.environ)\n"
        "import caliper_dagster\n"
        "assert 'load_hours' in dir(caliper_dagster)\n"
        "print(read, sorted({'pandas', 'pyarrow', 'dagster', 'sqlalchemy'} & set(sys.modules)))\n"
        "caliper_dagster.load_hours\n"
        "print('pandas' in sys.modules, 'dagster' in sys.modules)\n"
        "try: caliper_dagster.load_days\n"
        "except AttributeError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert said.splitlines() == [
        "[] []",
        "False False",
        "module 'caliper_dagster' has no attribute 'load_days'",
    ]
