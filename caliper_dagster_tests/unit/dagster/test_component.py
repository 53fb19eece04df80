"""The component as Dagster loads it: definitions, names, and what its lists find."""

import traceback
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

import caliper_dagster
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.dagster.component import MoodleSite, MoodleSiteScaffolder


def site(name: str, **attributes: object) -> dg.Definitions:
    component = MoodleSite.from_attributes_dict(
        attributes={
            "asset_key_prefix": name,
            "moodle_db_url": f"{{{{ env.{name.replace('/', '_').upper()}_DB }}}}",
            "moodle_wwwroot": f"https://{name.replace('/', '.')}.example.org",
            **attributes,
        }
    )
    return component.build_defs(dg.ComponentTree.for_test().load_context)


def test_the_component_is_in_the_package_that_lists_of_components_read() -> None:
    (found,) = entry_points(group="dagster_dg_cli.registry_modules", name="caliper_dagster")
    assert found.load().MoodleSite is MoodleSite
    assert "MoodleSite" in dir(caliper_dagster)


def test_two_sites_and_the_assets_of_the_host_are_one_project() -> None:
    @dg.asset
    def report(storage: dg.ResourceParam[str]) -> None:
        """An asset of the host."""

    host = dg.Definitions(
        assets=[report],
        resources={"storage": "the host's storage"},
        executor=dg.multiprocess_executor,
    )
    merged = dg.Definitions.merge(host, site("north"), site("lms/south", automation=True))
    dg.Definitions.validate_loadable(merged)
    repository = merged.get_repository_def()
    keys = {key.to_user_string() for key in repository.assets_defs_by_key}
    for prefix in ("north", "lms/south"):
        assert {f"{prefix}/{frame.name}" for frame in FRAMES} <= keys
    jobs = {job.name for job in repository.get_all_jobs()}
    assert {"north_retention", "lms_south_caliper_events_of_the_hour"} <= jobs
    running = {it.name for it in repository.schedule_defs if it.default_status.value == "RUNNING"}
    assert running == {
        "lms_south_caliper_events_of_the_hour_schedule",
        "lms_south_standing_checks_schedule",
    }


def test_group_owners_and_tags_are_those_of_the_attributes() -> None:
    graph = site(
        "north", group="campus", owners=["team:lms"], tags={"tier": "gold"}
    ).resolve_asset_graph()
    events = graph.get(dg.AssetKey(["north", "caliper_events"]))
    assert (events.group_name, events.owners) == ("campus", ("team:lms",))
    assert events.tags["tier"] == "gold"
    assert "pii" in events.tags
    assert graph.get(dg.AssetKey(["north", "moodle", "user"])).group_name == "campus_moodle"


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"moodle_db_url": "mysql://u:hush@db/m"}, "moodle_db_url must be"),
        ({"event_store": {"api_kye": "hush"}}, "api_kye"),
    ],
)
def test_no_value_of_an_attribute_that_is_wrong_is_repeated(
    attributes: dict[str, object], problem: str
) -> None:
    with pytest.raises(Exception, match=problem) as refused:
        site("north", **attributes)
    cause: BaseException | None = refused.value
    while cause is not None:
        assert "hush" not in str(cause)
        cause = cause.__cause__ or cause.__context__


@pytest.mark.parametrize(
    "lines",
    [
        "event_store: {api_kye: hush}",
        "event_store: {api_key: [hush]}",
        "event_store: hush",
        "moodle_db_ulr: mysql://u:hush@db/m",
    ],
)
def test_the_error_that_dagster_makes_for_a_file_repeats_no_value(lines: str) -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "north"
        folder.mkdir()
        (folder / "defs.yaml").write_text(
            "type: caliper_dagster.MoodleSite\nattributes:\n"
            '  moodle_db_url: "{{ env.NORTH_DB }}"\n'
            f"  moodle_wwwroot: https://north.example.org\n  {lines}\n"
        )
        with (
            pytest.raises(Exception, match="Error while loading component") as refused,
            sandbox.load_component_and_build_defs(Path("north")),
        ):
            pass
    shown = "".join(traceback.format_exception(refused.value))
    assert "defs.yaml:5" in shown
    assert "hush" not in shown


@pytest.mark.parametrize("append", [False, True])
def test_what_is_scaffolded_is_a_component(append: bool, tmp_path: Path) -> None:
    folder = tmp_path / "north-campus"
    folder.mkdir()
    file = folder / "defs.yaml"
    if append:
        file.write_text("type: dagster.DefsFolderComponent\n")
    request = dg.ScaffoldRequest[Any](
        type_name="caliper_dagster.MoodleSite",
        target_path=file if append else folder,
        scaffold_format="yaml",
        project_root=tmp_path,
        params={},
        append=append,
    )
    MoodleSiteScaffolder().scaffold(request)
    *_, document = yaml.load_all(file.read_text(), yaml.BaseLoader)
    assert document["type"] == "caliper_dagster.MoodleSite"
    component = MoodleSite.from_attributes_dict(attributes=document["attributes"])
    assert component.settings.prefix == ("north_campus",)
    assert component.settings.moodle_db_url is not None
    assert component.settings.moodle_db_url.env == "NORTH_CAMPUS_MOODLE_DB_URL"
    assert document["requirements"]["env"] == [
        "NORTH_CAMPUS_MOODLE_DB_URL",
        "NORTH_CAMPUS_EVENT_STORE_KEY",
    ]
