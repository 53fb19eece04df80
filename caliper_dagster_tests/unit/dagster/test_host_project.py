"""The definitions beside those of another project, which has names and an executor of its own."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import all_sites
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.paths import ROOT

SITES = """
north: {MOODLE_DB_URL: {env: NORTH}, MOODLE_WWWROOT: "https://north.example.org"}
south: {MOODLE_DB_URL: {env: SOUTH}, MOODLE_WWWROOT: "https://south.example.org"}
"""


def host() -> dg.Definitions:
    @dg.asset
    def report(storage: dg.ResourceParam[str], moodle: dg.ResourceParam[str]) -> None:
        """An asset that uses resources with names that are ours, too."""
        assert (storage, moodle) == ("the host's storage", "the host's Moodle")

    return dg.Definitions(
        assets=[report],
        resources={
            "storage": "the host's storage",
            "moodle": "the host's Moodle",
            "ledger": "the host's ledger",
            "event_stores": "the host's event stores",
            "io_manager": dg.InMemoryIOManager(),  # type: ignore[no-untyped-call]
        },
        executor=dg.multiprocess_executor,
    )


@pytest.mark.parametrize("names_sites", [False, True])
def test_resources_and_executor_of_the_host_are_left_alone(
    names_sites: bool, tmp_path: Path
) -> None:
    file = tmp_path / "sites.yaml"
    file.write_text(SITES)
    with environment({"CALIPER_SITES": str(file)} if names_sites else {}):
        ours = [build_definitions(site) for site in all_sites()]
        merged = dg.Definitions.merge(host(), *ours)
        dg.Definitions.validate_loadable(merged)
        job = merged.resolve_implicit_global_asset_job_def()
        assert job.executor_def is dg.multiprocess_executor
        done = job.execute_in_process(asset_selection=[dg.AssetKey("report")])
        assert done.success
        for name in ("caliper_events_of_the_hour", "resend_caliper_events"):
            site = "north_" if names_sites else ""
            assert merged.resolve_job_def(f"{site}{name}").executor_def is dg.in_process_executor


def test_no_definitions_bring_an_executor() -> None:
    assert build_definitions(Settings()).executor is None


def test_importing_what_another_project_imports_reads_no_variable_of_ours() -> None:
    code = """
import os
asked = []
class Watched(type(os.environ)):
    def __getitem__(self, name):
        asked.append(name)
        return super().__getitem__(name)
os.environ.__class__ = Watched
import dagster, pandas, pyarrow, sqlalchemy
import caliper_dagster, caliper_dagster.dagster.build
print([name for name in asked if name.startswith(("CALIPER_", "MOODLE_"))], os.umask(0o27))
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.umask(0o27)\n{code}"],
        cwd=ROOT,
        # A copy of the whole environment would ask for those of the tests.
        env={name: value for name, value in os.environ.items() if not name.startswith("CALIPER_")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[0] == f"[] {0o27}"
