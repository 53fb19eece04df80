from pathlib import Path

import pytest

from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore

FIRST = Hour.from_key("2026-01-31-23:00")


@pytest.mark.parametrize("url", ["{folder}", "memory://sizes/{name}"])
def test_the_hours_that_are_stored_have_the_size_of_their_files(url: str, tmp_path: Path) -> None:
    storage = PartitionStore(url.format(folder=tmp_path / "data", name=tmp_path.name))
    assert storage.hour_sizes() == storage.hour_sizes(MOODLE_LOG) == {}

    log = [storage.write(MOODLE_LOG, FIRST + number, MOODLE_LOG.empty()) for number in range(2)]
    expanded = storage.write(EXPANDED_LOG, FIRST, EXPANDED_LOG.empty())
    storage.write_note("site.json", b"{}")

    assert storage.hour_sizes(MOODLE_LOG) == {FIRST: log[0], FIRST + 1: log[1]}
    assert storage.hour_sizes() == {FIRST: log[0] + expanded, FIRST + 1: log[1]}
