"""``CALIPER_SITE_ID``: what ids of events are made of."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import all_sites
from caliper_dagster.config.translator import build_translator
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.site_identity import SiteIdentity

OLD, NEW = "http://moodle.example.org", "https://moodle.example.org"


def test_the_id_is_the_address_unless_it_is_set() -> None:
    default = Settings.from_environment({"MOODLE_WWWROOT": f"{OLD}/"})
    assert default.identity() == SiteIdentity(OLD, OLD)
    kept = Settings.from_environment({"MOODLE_WWWROOT": NEW, "CALIPER_SITE_ID": f"{OLD}/"})
    assert kept.identity() == SiteIdentity(OLD, NEW, chosen=True)
    with pytest.raises(ConfigurationError, match="MOODLE_WWWROOT is not set"):
        Settings.from_environment({"CALIPER_SITE_ID": OLD}).identity()


@pytest.mark.parametrize("value", [" ", "a b", "/", "a\nb"])
def test_an_id_is_a_name(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^CALIPER_SITE_ID is wrong: "):
        Settings.from_environment({"CALIPER_SITE_ID": value})


def test_ids_are_made_of_the_id_and_iris_of_the_address() -> None:
    before = build_translator(Settings.from_environment({"MOODLE_WWWROOT": OLD})).iris
    kept = build_translator(
        Settings.from_environment({"MOODLE_WWWROOT": NEW, "CALIPER_SITE_ID": OLD})
    ).iris
    changed = build_translator(Settings.from_environment({"MOODLE_WWWROOT": NEW})).iris
    # As every release has made them.
    site = uuid.uuid5(uuid.NAMESPACE_URL, OLD)
    assert before.uuid("7:1774000000") == uuid.uuid5(site, "7:1774000000").urn
    assert kept.uuid("7:1774000000") == before.uuid("7:1774000000")
    assert changed.uuid("7:1774000000") != before.uuid("7:1774000000")
    assert kept.user(3) == changed.user(3) == f"{NEW}/user/profile.php?id=3"


SITES = """
north:
  MOODLE_DB_URL: {env: NORTH}
  MOODLE_WWWROOT: https://north.example.org
south:
  MOODLE_DB_URL: {env: SOUTH}
  MOODLE_WWWROOT: https://south.example.org
"""


def test_no_two_sites_have_the_same_id(tmp_path: Path) -> None:
    file = tmp_path / "sites.yaml"
    given = {
        "CALIPER_SITES": str(file),
        "DAGSTER_HOME": str(tmp_path),
        "CALIPER_SITE_ID": "the-id-of-a-single-site",
    }
    file.write_text(f"{SITES}  CALIPER_SITE_ID: http://south.example.org\n")
    north, south = (site.identity() for site in all_sites(given))
    assert (north.site_id, north.name, north.chosen) == (
        *("https://north.example.org", "north"),
        False,
    )
    assert (south.site_id, south.address, south.chosen) == (
        *("http://south.example.org", "https://south.example.org"),
        True,
    )
    file.write_text(f"{SITES}  CALIPER_SITE_ID: https://north.example.org\n")
    with pytest.raises(ConfigurationError, match="north and south have the same CALIPER_SITE_ID"):
        all_sites(given)
