"""The file that node_exporter reads: its format, its names, and how it is replaced."""

import os
import re
import stat
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.delivery.metrics import (
    BACKLOG_HOURS,
    COLLECTED,
    LEDGER_SIZE,
    METRICS,
    WITHHELD_EVENTS,
    Sample,
    check_name,
    exposition,
    write_file,
)


def test_prometheus_reads_what_is_written() -> None:
    odd = 'a "b"\\c\nd'
    text = exposition(
        [
            Sample(BACKLOG_HOURS, {"site": "north", "event_store": odd}, 3),
            Sample(COLLECTED, {"site": ""}, 1),
            Sample(BACKLOG_HOURS, {"site": "south", "event_store": "lrw"}, 0),
            Sample(LEDGER_SIZE, {"site": ""}, 123456789012),
            Sample(WITHHELD_EVENTS, {"site": "", "event_store": "", "reason": "invalid"}, 2.5),
        ]
    )
    families = list(text_string_to_metric_families(text))
    read = [(s.name, s.labels, s.value) for family in families for s in family.samples]
    assert read == [
        ("caliper_metrics_collected", {}, 1),
        ("caliper_backlog_hours", {"site": "north", "event_store": odd}, 3),
        ("caliper_backlog_hours", {"site": "south", "event_store": "lrw"}, 0),
        ("caliper_last_day_withheld_events", {"reason": "invalid"}, 2.5),
        ("caliper_ledger_size_bytes", {}, 123456789012),
    ]
    assert [family.documentation for family in families][:2] == [
        COLLECTED.meaning,
        BACKLOG_HOURS.meaning,
    ]
    assert {family.type for family in families} == {"gauge"}
    assert text.endswith("\n")


def test_names_follow_the_conventions() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"caliper(_[a-z]+)+", metric.name)
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket")), "it is a gauge"
        is_time = metric.meaning.startswith(("Time", "End"))
        assert metric.name.endswith("_timestamp_seconds") == is_time
        assert metric.name.endswith("_bytes") == metric.meaning.startswith("Size")
        assert re.fullmatch(r"[A-Z0-9][^\n\\]*\.", metric.meaning)


def test_the_file_is_replaced_as_a_whole_and_the_exporter_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "caliper.prom"
    umask = os.umask(0o077)
    try:
        write_file(file, "first\n")
    finally:
        os.umask(umask)
    before = file.stat().st_ino
    write_file(file, "second\n")

    assert file.read_text() == "second\n"
    assert file.stat().st_ino != before
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    folder = tmp_path / "caliper.prom"
    folder.mkdir()
    with pytest.raises(ConfigurationError, match=r"^--out cannot be written to: .*Is a directory"):
        write_file(folder, "text")
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        write_file(tmp_path / "none" / "caliper.prom", "text")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["caliper.txt", "caliper", ".prom", ".caliper.prom"])
def test_a_name_that_node_exporter_does_not_read_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        check_name(Path("textfiles") / name)
    assert str(error.value) == (
        f"--out must end in .prom, not {name}: node_exporter reads no other file."
    )
