"""The definitions beside those of another project, which has names and an executor of its own."""

from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import all_sites
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster_tests.harness.environment import environment

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
