"""Rights of persons where nothing is a file, and beside other protection of what is stored.

The hours are in an object store, and the ledger is in PostgreSQL. `storage protect` writes the same
hours as an erasure: without names and encrypted. What is searched are the bytes, as in
``test_persons``.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import sqlalchemy as sa

from caliper_dagster.cli.main import main
from caliper_dagster.config.connections import open_store
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.stored_fields import stored_fields_of
from caliper_dagster.embedded.event_store import running
from caliper_dagster_tests.end_to_end.test_persons import (
    RANGE,
    accounts,
    bodies,
    change,
    export,
    found_in,
    number,
    person,
    texts,
)
from caliper_dagster_tests.harness import commands
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    KEY,
    SampleInstallation,
    sample_installation,
)

FRAMES = (MOODLE_LOG, EXPANDED_LOG, CALIPER_EVENTS)
PROTECTED = {
    "CALIPER_STORED_NAMES": "false",
    "CALIPER_STORED_ADDRESSES": "none",
    "CALIPER_STORAGE_KEY": "the storage key of the tests 0123456789",
}


class Installation(SampleInstallation):
    """One whose storage has the keys of the settings."""

    @property
    def storage(self) -> PartitionStore:
        return open_store(self.settings)

    def everything(self) -> dict[str, str]:
        """All that is kept, by the name of its place: decoded rows, objects as they are, ledger."""
        return texts(self) | self.objects() | self.ledger_rows()

    def objects(self) -> dict[str, str]:
        """The bytes of all objects, or files, of the storage."""
        files, root = fsspec.url_to_fs(self.settings.storage_url())
        files.invalidate_cache()
        return {path: files.cat_file(path).decode("utf-8", "replace") for path in files.find(root)}

    def ledger_rows(self) -> dict[str, str]:
        engine = sa.create_engine(self.settings.ledger(), poolclass=sa.NullPool)
        tables = sa.MetaData()
        with engine.connect() as connection:
            tables.reflect(connection)
            found = {
                f"ledger {table.name}": "\n".join(map(repr, connection.execute(sa.select(table))))
                for table in tables.sorted_tables
            }
        engine.dispose()
        return found


def protect(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PROTECTED.items():
        monkeypatch.setenv(name, value)
    assert main(["storage", "protect"]) == 0


def write_note(site: SampleInstallation) -> None:
    """A learner's name in a row of somebody else."""
    change(
        site,
        "UPDATE mdl_logstore_standard_log SET other = "
        """'{"note":"written for ' || (SELECT firstname || ' ' || lastname FROM mdl_user """
        """WHERE username = 'student1') || '"}' WHERE id = """
        "(SELECT max(id) FROM mdl_logstore_standard_log WHERE userid = "
        "(SELECT id FROM mdl_user WHERE username = 'student2'))",
    )


@pytest.fixture
def site(
    tmp_path: Path, bucket: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """An installation that has sent its four hours, and keeps nothing of them in files."""
    monkeypatch.chdir(tmp_path)
    with sample_installation(tmp_path, students=5) as found:
        monkeypatch.setenv("CALIPER_STORAGE", bucket)
        monkeypatch.setenv("CALIPER_LEDGER_URL", postgres_url)
        write_note(found)
        assert main(["backfill", *RANGE]) == 0
        yield Installation(found.folder, found.environment)


def test_after_an_erasure_nothing_tells_of_the_person_in_any_place(
    site: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    id_, names = person(site)
    assert found_in(site.everything(), id_, names)
    before, sent = export(site, "before", "student1"), site.folder / "event_store.sqlite"
    exported = {
        event["event_id"]
        for path in (before / "sent").iterdir()
        for event in json.loads(path.read_text())
    }
    first, kept, rows_before = len(bodies(sent)), site.objects(), accounts(site)
    assert main(["person", "erase", "student1"]) == 0
    assert site.objects() == kept

    assert main(["person", "erase", "student1", "--yes"]) == 0
    told = capsys.readouterr().err
    assert found_in(site.everything(), id_, names) == []
    # The list for the owner of the event store is an object, too.
    (place,) = re.findall(r"s3://\S+/erased_events/\w+\.json", told)
    (listed,) = (text for path, text in site.objects().items() if path in place)
    assert {event["id"] for event in json.loads(listed)["events"]} == exported != set()
    assert "unfinished" not in str(site.objects().keys())

    export(site, "after", str(id_))
    assert number(before, "moodle_log.json") > 10
    assert not list((site.folder / "after").rglob("*.json"))
    for old, new in zip(rows_before, accounts(site), strict=True):
        assert (new.counted, new.rows, new.unexplained) == (old.counted, old.rows, 0)
    assert main(["resend", *RANGE]) == 0
    assert len(bodies(sent)) == first

    for frame in FRAMES:
        site.storage.delete(frame, list(HOURS))
    assert main(["backfill", *RANGE, "--again", "--fresh"]) == 0
    assert main(["resend", *RANGE, "--all"]) == 0
    assert len(bodies(sent)) > first
    assert found_in(bodies(sent, first), id_, names) == []
    with running(site.folder / "new_store.sqlite", KEY) as url:
        monkeypatch.setenv("CALIPER_EVENT_STORE_URL", url)
        assert main(["resend", *RANGE, "--all"]) == 0
    assert found_in(bodies(site.folder / "new_store.sqlite"), id_, names) == []
    assert found_in(site.everything(), id_, names) == []


@pytest.mark.parametrize("order", ["before", "between", "after"])
def test_hours_are_protected_before_an_erasure_while_it_is_cut_off_or_after_it(
    site: Installation, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure finds the person although the names are not stored, and both stay."""
    id_, names = person(site)
    rows_before = accounts(site)
    if order == "before":
        protect(monkeypatch)
    assert found_in(site.everything(), id_, names)
    if order == "between":
        cut_off(site, id_)
        protect(monkeypatch)
    assert main(["person", "erase", str(id_), "--yes"]) == 0
    if order == "after":
        protect(monkeypatch)
    assert found_in(site.everything(), id_, names) == []
    _assert_protected(site)
    assert [it.unexplained for it in accounts(site)] == [0] * len(HOURS)
    assert [it.rows for it in accounts(site)] == [it.rows for it in rows_before]

    # What is read again is neither about the person nor open.
    assert main(["backfill", *RANGE, "--again", "--fresh"]) == 0
    assert found_in(site.everything(), id_, names) == []
    _assert_protected(site)


def cut_off(site: Installation, id_: int) -> None:
    """An erasure that is killed when it has begun to write hours."""
    store, frame = site.storage, CALIPER_EVENTS
    versions = [store.version(frame, hour) for hour in HOURS]
    command = commands.start(("person", "erase", str(id_), "--yes"), dict(os.environ), site.folder)
    deadline = time.monotonic() + 120
    while [store.version(frame, hour) for hour in HOURS] == versions:
        assert not command.ends_within(0), "it ended before it was killed"
        assert time.monotonic() < deadline
    command.kill()
    assert any(path.endswith("unfinished_erasures.json") for path in site.objects())


def _assert_protected(site: Installation) -> None:
    store = site.storage
    for frame in FRAMES:
        for hour in HOURS:
            assert store.is_protected(frame, hour)
    fields = stored_fields_of(store.footer_stats(EXPANDED_LOG, HOURS.start))
    assert not fields.names
    _, others = person(site, "student2")
    # Without the key, the bytes tell nobody's name; with it, they tell no account.
    for name in others:
        assert not [path for path, text in site.objects().items() if name in text]
        assert name not in str(store.read(EXPANDED_LOG, HOURS)["user"].to_pylist())
