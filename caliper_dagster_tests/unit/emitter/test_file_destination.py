"""Files of events: what is in them, whose folder it is, and what a kill or a failure leaves."""

from __future__ import annotations

import gzip
import os
import resource
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from caliper_dagster.core.errors import ConfigurationError, DeliveryError
from caliper_dagster.core.hours import Hour
from caliper_dagster.emitter import (
    EmissionCounts,
    FileDestination,
    HourOfEvents,
    Ledger,
    RetryPolicy,
    Send,
    emit,
)
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    SENSOR,
    SITE,
    as_hours,
    event_id,
    events_table,
)

QUICK = RetryPolicy(attempts=2, first_wait=0.01)
FILE = "site=moodle.example.org/date=2026-01-31/2026-01-31T14.ndjson"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "events"
    made.mkdir(0o700)
    return made


def write(
    hours: list[HourOfEvents],
    destination: FileDestination,
    ledger: Ledger,
    send: Send = Send.UNACKNOWLEDGED,
    site: str = SITE,
) -> list[EmissionCounts]:
    emitted = emit(
        hours, destination, ledger, sensor=SENSOR, site=site, send=send, retry_policy=QUICK
    )
    return [hour.counts for hour in emitted]


def an_hour(count: int, hour: Hour = HOUR, text: str = "") -> list[HourOfEvents]:
    return as_hours([(hour, events_table(hour, count, text=text))])


def ids(content: bytes) -> list[str]:
    return [orjson.loads(line)["id"] for line in content.splitlines()]


def all_ids(count: int, hour: Hour = HOUR) -> list[str]:
    return [event_id(hour, number) for number in range(count)]


def test_a_file_holds_the_hour_in_its_order_one_event_in_a_line(
    folder: Path, ledger: Ledger
) -> None:
    destination = FileDestination(str(folder))
    (counts,) = write(an_hour(10), destination, ledger)
    content = (folder / FILE).read_bytes()
    assert ids(content) == all_ids(10)
    assert content.endswith(b"}\n")
    (batch,) = ledger.batches(str(folder), [HOUR], site=SITE)[HOUR]
    assert (batch.outcome, batch.http_status, batch.bytes) == ("acknowledged", None, len(content))
    assert (counts.sent, counts.bytes, counts.envelopes) == (10, len(content), 1)


def test_a_late_row_and_a_resend_leave_every_event_once(folder: Path, ledger: Ledger) -> None:
    destination = FileDestination(f"file://{folder}/")
    write(an_hour(10), destination, ledger)
    assert [counts.sent for counts in write(an_hour(10), destination, ledger)] == [0]
    assert [counts.sent for counts in write(an_hour(11), destination, ledger)] == [11]
    assert ids((folder / FILE).read_bytes()) == all_ids(11)
    before = (folder / FILE).read_bytes()
    assert [counts.sent for counts in write(an_hour(11), destination, ledger, Send.ALL)] == [11]
    assert (folder / FILE).read_bytes() == before
    assert [path.name for path in (folder / FILE).parent.iterdir()] == [Path(FILE).name]
    (batch,) = ledger.batches(destination.name, [HOUR], site=SITE)[HOUR]
    assert batch.event_ids() == all_ids(11)


def test_an_event_that_was_withheld_for_a_while_comes_back(folder: Path, ledger: Ledger) -> None:
    destination = FileDestination(str(folder))
    write(an_hour(5), destination, ledger)
    other = events_table(count=6)
    without_third = as_hours([(HOUR, pa.concat_tables([other.slice(0, 2), other.slice(3)]))])
    write(without_third, destination, ledger)
    assert ids((folder / FILE).read_bytes()) == [*all_ids(2), *all_ids(6)[3:]]
    assert [counts.sent for counts in write(an_hour(6), destination, ledger)] == [6]
    assert ids((folder / FILE).read_bytes()) == all_ids(6)


def test_an_hour_in_parts_makes_the_bytes_of_the_whole_one(folder: Path, ledger: Ledger) -> None:
    table = events_table(count=2_500)
    reads = []

    def parts() -> Iterator[pa.Table]:
        reads.append(1)
        return (table.slice(first, 700) for first in range(0, 2_500, 700))

    destination = FileDestination(str(folder))
    write(as_hours([(HOUR, table)]), destination, ledger)
    whole = (folder / FILE).read_bytes()
    (folder / FILE).unlink()
    (counts,) = write([HourOfEvents(HOUR, parts)], destination, ledger, Send.ALL)
    assert (folder / FILE).read_bytes() == whole
    assert counts.bytes == len(whole)
    assert len(reads) == 2  # once to look, once to write


def test_the_same_hour_compressed_at_another_time_makes_the_same_bytes(
    folder: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, now = tmp_path / "other", time.time
    other.mkdir()
    for place, later in ((folder, 0), (other, 60)):
        monkeypatch.setattr(time, "time", lambda: now() + later)  # noqa: B023 - of this turn
        destination = FileDestination(str(place), compressed=True)
        write(an_hour(50), destination, ledger)
    first, second = ((place / f"{FILE}.gz").read_bytes() for place in (folder, other))
    assert first == second
    assert ids(gzip.decompress(first)) == all_ids(50)


def test_an_hour_that_another_run_wrote_anew_is_read_again_under_the_lease(
    folder: Path, ledger: Ledger
) -> None:
    destination = FileDestination(str(folder))
    stale = events_table(count=3, text="before")
    current = HourOfEvents(HOUR, events_table(count=4, text="after"))
    write([current], destination, ledger)
    hours = [HourOfEvents(HOUR, stale, reload=lambda: current)]
    write(hours, destination, ledger)
    content = (folder / FILE).read_bytes()
    assert ids(content) == all_ids(4)
    assert b"before" not in content
    gone = [HourOfEvents(HOUR, stale, reload=lambda: None)]
    assert write(gone, destination, ledger) == []
    assert (folder / FILE).read_bytes() == content


def test_two_sites_have_a_folder_each(folder: Path, ledger: Ledger) -> None:
    destination = FileDestination(str(folder))
    write(an_hour(2), destination, ledger)
    write(an_hour(3), destination, ledger, site="https://moodle.example.org/north")
    assert ids((folder / FILE).read_bytes()) == all_ids(2)
    north = FILE.replace("moodle.example.org", "moodle.example.org_north")
    assert ids((folder / north).read_bytes()) == all_ids(3)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("foreign", "holds files that this project has not written: name another folder in"),
        ("site", "holds the files of the site https://moodle.example.org: name another folder in"),
        ("store", "holds the files of an event store without a name: name another folder in"),
        ("gzip", r"holds \*.ndjson: set CALIPER_GZIP as it was, or name another folder in"),
    ],
)
def test_a_folder_that_is_somebody_elses_is_left_alone(
    folder: Path, ledger: Ledger, what: str, words: str
) -> None:
    if what == "foreign":
        (folder / FILE).parent.mkdir(parents=True)
        (folder / FILE).write_bytes(b"of somebody else")
    else:
        write(an_hour(2), FileDestination(str(folder)), ledger)
    before = (folder / FILE).read_bytes()
    destination = FileDestination(
        str(folder), compressed=what == "gzip", name="research" if what == "store" else None
    )
    # The same name of a folder for another id of a site.
    site = "http://moodle.example.org" if what == "site" else SITE
    with pytest.raises(DeliveryError, match=words) as error:
        write(an_hour(4), destination, ledger, Send.ALL, site)
    assert not error.value.transient
    assert (folder / FILE).read_bytes() == before


def test_a_file_of_ours_that_is_damaged_is_written_again(folder: Path, ledger: Ledger) -> None:
    write(an_hour(5), FileDestination(str(folder)), ledger)
    good = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(good[:100])
    write(an_hour(5), FileDestination(str(folder)), ledger, Send.ALL)
    assert (folder / FILE).read_bytes() == good


def test_nobody_writes_into_a_folder_whose_owner_cannot_be_read(
    folder: Path, ledger: Ledger
) -> None:
    write(an_hour(5), FileDestination(str(folder)), ledger)
    (folder / FILE).parent.parent.joinpath("_caliper_dagster.json").write_bytes(b"{")
    with pytest.raises(DeliveryError, match="is damaged: restore it, or remove it") as error:
        write(an_hour(5), FileDestination(str(folder), compressed=True), ledger, Send.ALL)
    assert not error.value.transient


def test_nobody_else_may_read_the_files(folder: Path, ledger: Ledger) -> None:
    former = os.umask(0o077)  # as ``core.file_modes`` sets it
    try:
        write(an_hour(2), FileDestination(str(folder)), ledger)
    finally:
        os.umask(former)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})


def test_a_folder_that_is_missing_is_not_made(tmp_path: Path, ledger: Ledger) -> None:
    destination = FileDestination(str(tmp_path / "not_mounted"))
    with pytest.raises(DeliveryError) as error:
        write(an_hour(2), destination, ledger)
    assert str(error.value) == (
        f"The event store's folder {tmp_path}/not_mounted does not exist: create it, or correct "
        "CALIPER_EVENT_STORE_URL."
    )
    with pytest.raises(DeliveryError, match="does not exist"):
        destination.limits()
    assert list(tmp_path.glob("not_mounted")) == []
    assert ledger.batches(destination.name, [HOUR], site=SITE) == {HOUR: []}


def test_an_hour_whose_place_is_taken_is_not_acknowledged(folder: Path, ledger: Ledger) -> None:
    destination = FileDestination(str(folder))
    write(an_hour(2), destination, ledger)
    (folder / FILE).unlink()
    (folder / FILE).mkdir()
    (folder / FILE / "in the way").touch()
    with pytest.raises(DeliveryError, match="cannot be written to") as error:
        write(an_hour(3), destination, ledger)
    assert not error.value.transient
    assert [path.name for path in (folder / FILE).parent.iterdir()] == [Path(FILE).name]
    (batch,) = ledger.batches(destination.name, [HOUR], site=SITE)[HOUR]
    assert len(batch.fingerprints) == 2


def test_a_disk_that_is_full_is_tried_again_and_the_file_stays_as_it_was(
    folder: Path, ledger: Ledger
) -> None:
    destination = FileDestination(str(folder))
    write(an_hour(2), destination, ledger)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
    try:
        with pytest.raises(DeliveryError, match=r"\(File too large\)\. The run gave up after 2 "):
            write(an_hour(10_000, text="long" * 50), destination, ledger)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ids((folder / FILE).read_bytes()) == all_ids(2)
    assert [path.name for path in (folder / FILE).parent.iterdir()] == [Path(FILE).name]


def test_doctor_learns_whether_the_folder_can_be_written_to(folder: Path) -> None:
    limits = FileDestination(str(folder)).limits()
    assert limits is not None
    assert (limits.max_bytes, limits.versions) == (None, ())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("events.example.org/caliper", "must be the absolute path of a folder, or its URL in"),
        ("events/caliper", "must be the absolute path"),
        ("file://events/caliper", "must be the absolute path"),
        ("sftp://host/events", "must be the absolute path"),
        ("s3://", "must be the absolute path"),
        ("s3://key:secret-of-mine@bucket/x", "contains a password or a query: the credentials"),
        ("s3://key:secret-of-mine\u2100@bucket/x", "must be the absolute path"),
        ("s3://bucket/x?secret-of-mine", "contains a password or a query: the credentials"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^CALIPER_EVENT_STORE_URL {words}") as error:
        FileDestination(url)
    assert "secret-of-mine" not in str(error.value)
