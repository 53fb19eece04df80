"""The page for other Dagster projects: what it shows is accepted, and names what there is."""

import re

import pytest
import yaml

from caliper_dagster.config.component import attributes_model
from caliper_dagster.dagster.component import MoodleSite
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.paths import ROOT

PAGE = (ROOT / "docs" / "reuse-in-dagster.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "host_project" / "src" / "school_analytics" / "defs"


def described() -> list[str]:
    """The `defs.yaml` of the page, and those of the example."""
    return re.findall(r"```yaml\n(.*?)```", PAGE, re.S) + [
        file.read_text(encoding="utf-8") for file in sorted(EXAMPLE.glob("*/defs.yaml"))
    ]


@pytest.mark.parametrize("text", described())
def test_each_component_is_accepted_and_names_the_variables_that_it_reads(text: str) -> None:
    document = yaml.load(text, yaml.BaseLoader)
    assert document["type"] == "caliper_dagster.MoodleSite"
    with environment({"SCHOOL_DATA": "/srv/school", "EVENT_STORE_URL": "https://e.example.org"}):
        component = MoodleSite.from_attributes_dict(attributes=document["attributes"])
    assert component.settings.prefix
    used = set(re.findall(r"\{\{ env\.(\w+) \}\}", text))
    assert set(document["requirements"]["env"]) == used


def test_the_attributes_that_the_page_names_are_there() -> None:
    schema = attributes_model().model_json_schema()
    for block in ("checks", "alerts", "event_store"):
        fields = schema["$defs"][f"MoodleSiteAttributes_{block}"]["properties"]
        (row,) = re.findall(rf"^\| `{block}` \| (.*) \|$", PAGE, re.M)
        named = set(re.findall(r"`([a-z][a-z_]+)`", row)) - {"event_stores"}
        assert named <= set(fields)
    for name in ("asset_key_prefix", "group", "tags"):
        assert f"| `{name}` |" in PAGE
        assert name in schema["properties"]
