"""A checkout of its own, as a user has it who has just cloned the repository, and its README."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Mapping
from pathlib import Path

from caliper_dagster_tests.harness.paths import ROOT

_NOT_TRACKED = (".*cache", ".demo", ".dagster_home", ".env", ".hypothesis", ".venv", "*.egg-info")
_COMMAND = "import sys\nfrom caliper_dagster.cli.main import main\nsys.exit(main())\n"


def clone(folder: Path) -> Path:
    """A clone of the last commit in the folder, with an empty working tree beside it.

    Where the tests run in a copy of the tracked files (``.ci/run``), that copy is copied.
    """
    checkout = folder / ROOT.name
    if (ROOT / ".git").exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
    else:
        ignored = shutil.ignore_patterns("__pycache__", *_NOT_TRACKED)
        shutil.copytree(ROOT, checkout, symlinks=True, ignore=ignored)
    return checkout


def prepare_environment(checkout: Path) -> None:
    """The ``.venv`` that ``make`` would set up, with the packages of this Python: no download."""
    environment = checkout / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    here = sysconfig.get_path("purelib")
    (packages / "checkout.pth").write_text(f"{checkout}\n{here}\n")
    command = environment / "bin" / "caliper-dagster"
    command.write_text(f"#!{environment}/bin/python\n{_COMMAND}")
    command.chmod(0o755)
    (environment / "ready").touch()


def readme_examples(checkout: Path, heading: str) -> list[str]:
    """The examples of code below a heading of the README, in their order."""
    text = (checkout / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    found = re.findall(r"^ *```\w+\n(.*?)^ *```$", section, re.M | re.S)
    return [textwrap.dedent(example) for example in found]


def filled_in(example: str, values: Mapping[str, str]) -> str:
    """An example with the reader's own values in place of those that it shows.

    Args:
        example: from the README.
        values: by what it shows, each of which it must contain.
    """
    for shown, value in values.items():
        assert shown in example, f"the README no longer shows {shown}"
        example = example.replace(shown, value)
    return example
