"""What `doctor` says of a site that is a component in the project of a host."""

from pathlib import Path

import pytest

from caliper_dagster.config.component import settings_from
from caliper_dagster.config.settings import Settings
from caliper_dagster.operations.doctor import examine
from caliper_dagster_tests.harness.environment import environment


@pytest.mark.parametrize("in_host", [True, False])
def test_the_variables_of_components_are_no_settings_with_a_wrong_name(
    in_host: bool, tmp_path: Path
) -> None:
    with environment({"MOODLE_DB_URL_NORTH": "sqlite:////none", "DAGSTER_HOME": str(tmp_path)}):
        component = settings_from(
            {
                "asset_key_prefix": "north",
                "moodle_db_url": "{{ env.MOODLE_DB_URL_NORTH }}",
                "moodle_wwwroot": "https://north.example.org",
            },
            lambda value: value,
            "defs.yaml",
        )
        found = list(examine([component if in_host else Settings()]))
    assert ("Settings" in {finding.subject for finding in found}) != in_host
