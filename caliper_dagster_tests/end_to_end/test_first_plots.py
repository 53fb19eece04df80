"""The example with the three plots, on the sample site."""

import importlib.util
import os
import subprocess
import sys
from types import ModuleType

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from caliper_dagster.core.frames import CALIPER_EVENTS, WITH_EVENT
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.sample_installation import HOURS, SampleInstallation

SCRIPT = ROOT / "examples" / "first_plots.py"


@pytest.fixture(scope="module")
def site(shared_site: SampleInstallation) -> SampleInstallation:
    """The sample site, whose hours are materialized."""
    assert shared_site.run(CHAIN_JOB, HOURS).success
    return shared_site


@pytest.fixture(scope="module")
def example() -> ModuleType:
    described = importlib.util.spec_from_file_location("first_plots", SCRIPT)
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def test_the_plots_are_drawn(site: SampleInstallation) -> None:
    file = site.folder / "plots.png"
    result = subprocess.run(
        [
            *(sys.executable, "-W", "error::UserWarning", SCRIPT),
            *("--storage", site.settings.storage_url(), "--out", file),
            *("--from", str(HOURS.start), "--to", str(HOURS.end)),
        ],
        env=clean_environment(dict(os.environ)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{site.arrived().events:,} events of {HOURS.start} to ")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_their_numbers_are_those_of_the_stored_hours(
    site: SampleInstallation, example: ModuleType
) -> None:
    stored = site.storage.read(CALIPER_EVENTS, HOURS)
    outcomes = stored["outcome"].cast(pa.string())
    stored = stored.filter(pc.is_in(outcomes, pa.array(WITH_EVENT)))
    events = example.load(str(HOURS.start), str(HOURS.end), site.settings.storage_url())

    by_hour = example.events_by_hour(events)
    assert by_hour.to_numpy().sum() == stored.num_rows
    assert [int(hour.timestamp()) for hour in by_hour.index] == [hour.start for hour in HOURS]
    assert by_hour["ViewEvent"].sum() == stored["event_type"].to_pylist().count("ViewEvent")

    by_course = example.events_by_course(events)
    assert by_course.sum() == stored.num_rows - stored["group_id"].null_count
    assert 'Algorithms & Data "Structures" I' in by_course.index

    shares = example.scores(events)
    assert len(shares) == stored.num_rows - stored["generated_score"].null_count > 0
    assert shares.between(0, 1).all()


def test_hours_without_events_are_drawn_too(site: SampleInstallation, example: ModuleType) -> None:
    events = example.load(str(HOURS.start), str(HOURS.end), site.settings.storage_url())
    file = site.folder / "empty.png"
    example.draw(events.iloc[:0], str(file))
    assert file.read_bytes().startswith(b"\x89PNG")
