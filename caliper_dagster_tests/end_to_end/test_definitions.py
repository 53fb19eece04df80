"""Dagster's own check of the definitions, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.paths import ROOT


@pytest.mark.parametrize("sites", [(), ("north", "south")])
def test_dagster_finds_the_definitions_valid(sites: tuple[str, ...], tmp_path: Path) -> None:
    environment = clean_environment(dict(os.environ)) | {"DAGSTER_HOME": str(tmp_path)}
    if sites:
        said = "{0}: {{MOODLE_DB_URL: {{env: DB_OF_{0}}}, MOODLE_WWWROOT: 'https://{0}.example'}}\n"
        (tmp_path / "sites.yaml").write_text("".join(said.format(site) for site in sites))
        environment["CALIPER_SITES"] = str(tmp_path / "sites.yaml")
    (tmp_path / "dagster.yaml").symlink_to(ROOT / "caliper_dagster" / "dagster.yaml")
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "dagster", "definitions", "validate"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "All code locations passed validation" in result.stdout + result.stderr
