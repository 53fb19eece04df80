"""What a run stores about its assets: numbers that plot, the hour's file, observations, log lines.

Dagster stores every event; a run over many hours stores one materialization per hour and asset and,
besides these, as many events as a run over one hour.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from caliper_dagster.core.frames import FRAMES
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
)
from caliper_dagster_tests.unit.dagster.test_assets import FIRST

PER_HOUR = ("ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION_PLANNED")


def shown(asset: str, hour: Hour) -> dict[str, dg.MetadataValue]:
    with open_instance() as instance:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[hour.key])
        records = instance.fetch_materializations(wanted, limit=1).records
    return dict(records[0].asset_materialization.metadata)


def observations() -> list[dict[str, object]]:
    """What stands on the observations of the event store, the newest first."""
    with open_instance() as instance:
        records = instance.fetch_observations(dg.AssetKey("event_store"), limit=100).records
    return [
        {name: value.value for name, value in record.asset_observation.metadata.items()}
        for record in records
    ]


def events_of(result: dg.ExecuteInProcessResult) -> list[dg.EventLogEntry]:
    with open_instance() as instance:
        return list(instance.all_logs(result.run_id))


def test_an_hour_shows_its_file_and_numbers_that_plot(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    for frame in FRAMES:
        for hour in HOURS:
            uri = str(shown(frame.name, hour)["dagster/uri"].value)
            assert Path(uri.removeprefix("file://")) == Path(site.storage.path(frame, hour))
            assert len(pd.read_parquet(uri)) == shown(frame.name, hour)["dagster/row_count"].value

    made = shown("caliper_events", HOURS.start)
    events = site.storage.read(FRAMES[2], [HOURS.start])["profile"].cast("string")
    expected = pd.Series(events.to_pylist()).dropna().value_counts()
    for profile, number in expected.items():
        assert made[f"events {profile}"] == dg.MetadataValue.float(float(number))
    assert made["log rows, recipe fallback"] == dg.MetadataValue.float(0.0)
    lateness = shown("emission_results", HOURS.start)["lateness (minutes)"].value
    assert isinstance(lateness, float)
    assert lateness > 0


def test_only_the_newest_hour_of_a_run_has_a_preview_and_it_names_nobody(
    site: SampleInstallation,
) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    people = {
        str(value)
        for column in ("user", "ip", "other")
        for value in site.storage.read(FRAMES[1], HOURS)[column].to_pylist()
        if value
    }
    for frame in FRAMES:
        with_preview = [hour for hour in HOURS if "preview" in shown(frame.name, hour)]
        assert with_preview == [HOURS.end + -1]
        preview = str(shown(frame.name, with_preview[0])["preview"].value)
        assert preview.count("\n") >= 2
        assert not any(value in preview for value in people)


def test_a_run_observes_the_event_store_once_whatever_its_hours(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    (seen,) = observations()
    assert seen["hours received"] == len(HOURS)
    assert seen["events acknowledged"] == seen["events sent"] == site.arrived().events
    assert seen["backlog (hours)"] == 0
    assert seen["newest hour received"] == str(HOURS.end + -1)

    with environment(dict(site.environment) | {"CALIPER_EVENT_STORE_URL": "http://127.0.0.1:9/x"}):
        assert not site.run(CHAIN_JOB, FIRST).success
    failed, _ = observations()
    assert (failed["hours received"], failed["backlog (hours)"]) == (0, 1)
    assert failed["oldest hour in the backlog"] == str(FIRST.start)


def test_every_step_says_in_words_what_it_did(
    site: SampleInstallation, capfd: pytest.CaptureFixture[str]
) -> None:
    result = site.run(CHAIN_JOB, FIRST)
    lines = [entry.user_message for entry in events_of(result) if entry.dagster_event is None]
    rows = site.storage.read(FRAMES[0], FIRST).num_rows
    said = "\n".join(lines)
    assert f"Reading the log rows of 1 hour, {FIRST}." in said
    assert f"Read {rows} log rows; the database counts {rows}." in said
    assert f"Expanded {rows} log rows and kept 0 of earlier runs; " in said
    assert f"Translated {rows} log rows to " in said
    assert "The event store has received 1 hour: " in said
    assert len(lines) == 8


def test_only_materializations_grow_with_the_hours_of_a_run(site: SampleInstallation) -> None:
    def others(hours: HourRange) -> int:
        found = events_of(site.run(CHAIN_JOB, hours))
        return sum(
            entry.dagster_event is None or entry.dagster_event.event_type_value not in PER_HOUR
            for entry in found
        )

    assert others(HOURS) == others(FIRST)
