"""Files of events in an S3-compatible store: whole or not there, and no credential in an error."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import fsspec
import orjson
import pytest
from fsspec.core import url_to_fs

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.emitter import FileDestination, Ledger, RetryPolicy, Send, emit
from caliper_dagster_tests.harness.half_way import HalfWay
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    SENSOR,
    SITE,
    as_hours,
    event_id,
    events_table,
)
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.services import ObjectStore

OBJECT = "site=moodle.example.org/date=2026-01-31/2026-01-31T14.ndjson"


def write(
    count: int, destination: FileDestination, ledger: Ledger, send: Send = Send.UNACKNOWLEDGED
) -> int:
    hours = as_hours([(HOUR, events_table(count=count))])
    policy = RetryPolicy(attempts=1)
    options = {"sensor": SENSOR, "site": SITE, "send": send, "retry_policy": policy}
    (hour,) = emit(hours, destination, ledger, **options)  # type: ignore[arg-type]
    return hour.counts.sent


def read(url: str) -> bytes:
    files, path = url_to_fs(url)
    return bytes(files.cat_file(path))


def ids(content: bytes) -> list[str]:
    return [orjson.loads(line)["id"] for line in content.splitlines()]


def all_ids(count: int) -> list[str]:
    return [event_id(HOUR, number) for number in range(count)]


@pytest.mark.parametrize("compressed", [False, True])
def test_an_object_has_every_event_once_also_after_a_late_row_and_a_resend(
    bucket: str, ledger: Ledger, compressed: bool
) -> None:
    unpack = gzip.decompress if compressed else bytes
    url = f"{bucket}/{OBJECT}" + (".gz" if compressed else "")
    with FileDestination(f"{bucket}/", compressed=compressed) as destination:
        assert destination.name == bucket
        assert destination.limits() is not None
        assert write(10, destination, ledger) == 10
        assert write(10, destination, ledger) == 0
        assert write(11, destination, ledger) == 11
        before = read(url)
        assert ids(unpack(before)) == all_ids(11)
    with FileDestination(bucket, compressed=compressed) as again:
        assert write(11, again, ledger, Send.ALL) == 11
    assert read(url) == before
    files, path = url_to_fs(bucket)
    files.invalidate_cache()
    names = {found.rpartition("/")[2] for found in files.find(path)}
    assert names == {"_caliper_dagster.json", url.rpartition("/")[2]}


def test_a_folder_of_somebody_else_is_left_alone(bucket: str, ledger: Ledger) -> None:
    files, path = url_to_fs(f"{bucket}/{OBJECT}")
    files.pipe_file(path, b"of somebody else")
    with FileDestination(bucket) as destination, pytest.raises(DeliveryError) as error:
        write(2, destination, ledger)
    assert str(error.value) == (
        f"The event store's folder {bucket}/site=moodle.example.org holds files that this project "
        "has not written: name another folder in CALIPER_EVENT_STORE_URL, or empty this one."
    )
    assert files.cat_file(path) == b"of somebody else"


CHILD = """
import sys
from caliper_dagster.emitter import FileDestination, Ledger, emit
from caliper_dagster_tests.harness.hostile_store import HOUR, SENSOR, SITE, as_hours, events_table
hours = as_hours([(HOUR, events_table(count=2000))])
with FileDestination(sys.argv[1]) as folder, Ledger(sys.argv[2]) as ledger:
    list(emit(hours, folder, ledger, sensor=SENSOR, site=SITE))
"""


def test_kill_9_in_the_middle_of_an_upload_leaves_the_object_as_it_was(
    object_store: ObjectStore, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with FileDestination(bucket) as destination, Ledger(ledger_url) as ledger:
        write(3, destination, ledger)
    with HalfWay(object_store.endpoint, 100_000) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.endpoint)
        command = [sys.executable, "-c", CHILD, bucket, ledger_url]
        with subprocess.Popen(command, cwd=ROOT) as child:
            assert way.stuck.wait(120), child.poll()
            child.kill()
            assert child.wait() == -9
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.endpoint)
    assert ids(read(f"{bucket}/{OBJECT}")) == all_ids(3)
    with FileDestination(bucket) as destination, Ledger(ledger_url) as ledger:
        assert write(2_000, destination, ledger) == 2_000
        assert write(2_000, destination, ledger) == 0
    assert ids(read(f"{bucket}/{OBJECT}")) == all_ids(2_000)


def test_a_store_that_is_down_refuses_the_key_or_lacks_the_bucket_names_the_setting(
    bucket: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FileDestination("s3://no-such-bucket/events") as destination:
        with pytest.raises(DeliveryError, match="no such bucket") as error:
            write(2, destination, ledger)
        assert not error.value.transient
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3 = fsspec.get_filesystem_class("s3")
    s3.clear_instance_cache()
    with FileDestination(bucket) as destination:
        for attempt in (lambda: write(2, destination, ledger), destination.limits):
            with pytest.raises(DeliveryError, match="cannot be written to") as error:
                attempt()
            assert error.value.transient
            assert "secret" not in str(error.value)
            assert error.value.__suppress_context__ or error.value.__context__ is None
    s3.clear_instance_cache()
    assert ledger.batches(bucket, [HOUR], site=SITE) == {HOUR: []}
