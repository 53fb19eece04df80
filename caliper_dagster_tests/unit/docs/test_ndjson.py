"""The page about files of events: its settings are read, its files are read by other tools."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pandas as pd

from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour
from caliper_dagster.emitter import FileDestination, Ledger, emit
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.hostile_store import (
    SENSOR,
    SITE,
    as_hours,
    event_id,
    events_table,
)
from caliper_dagster_tests.harness.paths import ROOT

PAGE = (ROOT / "docs" / "ndjson.md").read_text("utf-8")
HOUR = Hour.from_key("2026-03-25-14:00")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def test_its_settings_and_its_file_of_event_stores_are_read(tmp_path: Path) -> None:
    (single,) = blocks("sh")
    settings = dict(line.split("=", 1) for line in single.splitlines())
    with environment(settings):
        (store,) = event_stores(Settings.from_environment())
        name = store.ledger_name()
        assert (store.is_folder, store.gzip, name) == (True, True, "/srv/caliper_events")
    (file,) = blocks("yaml")
    (tmp_path / "stores.yaml").write_text(file)
    several = event_stores(
        Settings.from_environment({"CALIPER_EVENT_STORES": str(tmp_path / "stores.yaml")})
    )
    assert [store.is_folder for store in several] == [False, True, True]


def test_duckdb_and_pandas_read_the_files_as_it_shows(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    hours = as_hours((HOUR + n, events_table(HOUR + n, 3 + n)) for n in range(2))
    with (
        FileDestination(str(folder), compressed=True) as destination,
        Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger,
    ):
        list(emit(hours, destination, ledger, sensor=SENSOR, site=SITE))
    (written,) = folder.glob("*/*/*T14.ndjson.gz")
    # One that is being written, and what a killed process leaves.
    (written.parent / f".{written.name}.123-0a1b2c3d").write_bytes(written.read_bytes()[:20])
    by_duckdb, by_pandas = blocks("python")
    with duckdb.connect() as connection:
        given = {"duckdb": connection, "pd": pd, "folder": str(folder)}
        exec(by_duckdb, given)
        exec(by_pandas, given)
    assert given["by_type"]["events"].tolist() == [7]
    assert given["by_type"]["type"].tolist() == ["ViewEvent"]
    assert given["hour"]["id"].tolist() == [event_id(HOUR, number) for number in range(3)]
