"""The jobs of commands are those that the web UI loads, so that it knows their runs."""

from pathlib import Path

import pytest

from caliper_dagster.config.sites import all_sites
from caliper_dagster.dagster.build import project_definitions
from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster_tests.harness.environment import environment

SITES = """
north: {MOODLE_DB_URL: {env: NORTH}, MOODLE_WWWROOT: "https://north.example.org"}
south: {MOODLE_DB_URL: {env: SOUTH}, MOODLE_WWWROOT: "https://south.example.org"}
"""
STORES = """
near: {url: "https://near.example.org"}
far: {url: "https://far.example.org"}
"""


@pytest.mark.parametrize(
    ("setting", "text"),
    [("CALIPER_RECIPES", ""), ("CALIPER_SITES", SITES), ("CALIPER_EVENT_STORES", STORES)],
    ids=["one of each", "two sites", "two event stores"],
)
def test_a_job_with_a_replaced_resource_has_the_same_snapshot(
    setting: str, text: str, tmp_path: Path
) -> None:
    """A command replaces the storage by one that it watches."""
    file = tmp_path / "file.yaml"
    file.write_text(text)
    with environment({setting: str(file)}):
        loaded = project_definitions()
        for settings in all_sites():
            own = project_definitions(resources={settings.site_name("storage"): object()})
            for name in map(settings.site_name, (CHAIN_JOB, RESEND_JOB)):
                jobs = [definitions.resolve_job_def(name) for definitions in (loaded, own)]
                assert len({job.get_job_snapshot_id() for job in jobs}) == 1, name
