"""Hours stored without addresses, names and texts, and encrypted: what is found, what is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.core.storage_keys import StorageKeys
from caliper_dagster.core.stored_fields import NOTHING, WHOLE, StoredFields, stored_fields_of
from caliper_dagster.delivery.materialize import write_events, write_expanded, write_log
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.translator import Translator

END = Hour.from_key("2026-03-02-12:00")
HOURS = HourRange(END + -2, END)
KEY = "a key of at least thirty-two letters"
NAMES_NEEDED = StoredFields("none", texts=False)


@dataclass(frozen=True)
class Site:
    """A sample site whose learners have written texts, and who is logged in as others."""

    wwwroot: str
    file: Path

    def store(self, folder: Path, fields: StoredFields, key: str | None = None) -> PartitionStore:
        return PartitionStore(str(folder), StorageKeys([key]) if key else None, fields)

    def read(self, storage: PartitionStore, *, chunk_rows: int = 60_000) -> int:
        """Read and expand the hours; returns how many rows were expanded now."""
        with MoodleDatabase.open(f"sqlite:///{self.file}") as database:
            write_log(database, storage, HOURS)
            hours = write_expanded(database, storage, HOURS, fresh=False, chunk_rows=chunk_rows)
        return sum(hour.expanded_now for hour in hours)

    def translate(
        self, storage: PartitionStore, needed: StoredFields = NOTHING
    ) -> tuple[pa.Table, list[Account]]:
        translator = Translator(self.wwwroot, ip_addresses=needed.addresses != "none")
        hours, _ = write_events(
            translator,
            storage,
            CALIPER_EVENTS,
            HOURS,
            needed=needed,
            open_moodle=lambda: MoodleDatabase.open(f"sqlite:///{self.file}"),
        )
        return storage.read(CALIPER_EVENTS, list(HOURS)), [hour.account for hour in hours]

    def persons(self) -> Iterator[str]:
        """What identifies a person, and what persons wrote."""
        with closing(sa.create_engine(f"sqlite:///{self.file}").raw_connection()) as connection:
            for row in connection.execute(
                "SELECT username, idnumber, email, firstname || ' ' || lastname FROM mdl_user"
            ):
                # Other short ones are also words of Moodle, such as the role ``creator``.
                yield from (value for value in row if len(value) > 7)
            for (ip,) in connection.execute(
                "SELECT DISTINCT ip FROM mdl_logstore_standard_log WHERE ip IS NOT NULL"
            ):
                yield ip
        yield from ("A diary of the flu", "Dear all, I am ill")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    file = tmp_path_factory.mktemp("site") / "moodle.sqlite"
    summary = write_sample(file, students=6, hours=2, seed=3, end=HOURS.end)
    other = {"content": "Dear all, I am ill", "discussionid": "1", "title": "A diary of the flu"}
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        table = "mdl_logstore_standard_log"
        connection.execute(
            sa.text(
                f"UPDATE {table} SET other = :other WHERE id IN (SELECT id FROM {table} "
                r"WHERE eventname = '\mod_page\event\course_module_viewed' LIMIT 3)"
            ),
            {"other": json.dumps(other)},
        )
    engine.dispose()
    return Site(summary.wwwroot, file)


def without_subjects(events: pa.Table) -> list[dict[str, Any]]:
    """The events; those of posts without the subject, which a person wrote."""
    rows = events.to_pylist()
    for row in rows:
        if row["event_name"] == r"\mod_forum\event\post_created":
            event = json.loads(row["json"])
            event["object"].pop("name", None)
            row["json"] = json.dumps(event)
    return rows


def texts(storage: PartitionStore) -> str:
    """All that is stored, decrypted: the columns of all frames, and the lifecycle tables."""
    found: set[str] = set()
    tables = [storage.read(it, list(HOURS)) for it in (MOODLE_LOG, EXPANDED_LOG, CALIPER_EVENTS)]
    pieces = storage.id_range_tables("log_lifecycle")
    tables += [pieces.read(*limits) for limits in pieces.ranges()]
    for table in tables:
        for column in table.columns:
            found.update(map(str, column.unique().to_pylist()))
    return "\n".join(found)


def test_nothing_of_persons_is_stored_and_the_events_are_the_same(
    site: Site, tmp_path: Path
) -> None:
    whole = site.store(tmp_path / "whole", WHOLE)
    strict = site.store(tmp_path / "strict", NOTHING, KEY)
    for storage in (whole, strict):
        assert site.read(storage) > 50
    (events, accounts), (strict_events, strict_accounts) = map(site.translate, (whole, strict))

    assert strict_accounts == accounts
    assert without_subjects(strict_events) == without_subjects(events)
    assert sum("session" in json.loads(it) for it in events["json"].to_pylist() if it) > 20
    everything, kept = texts(whole), texts(strict)
    persons = set(site.persons())
    assert len({it for it in persons if it in everything}) > 20
    assert {it for it in persons if it in kept} == set()
    # Not even compressed texts: the files are encrypted from the first byte to the last.
    files = [*(tmp_path / "strict").rglob("*.parquet")]
    assert len(files) >= 3 * len(HOURS)
    for file in files:
        with pytest.raises(OSError, match="encrypted"):
            pq.ParquetFile(file)
        content = file.read_bytes()
        assert not [it for it in persons if it.encode() in content]


def test_an_hour_in_parts_gets_the_same_sessions(site: Site, tmp_path: Path) -> None:
    storages = [site.store(tmp_path / str(rows), NOTHING) for rows in (17, 60_000)]
    for storage, rows in zip(storages, (17, 60_000), strict=True):
        site.read(storage, chunk_rows=rows)
    parts, together = (storage.read(EXPANDED_LOG, list(HOURS)) for storage in storages)
    assert parts["session"].to_pylist() == together["session"].to_pylist()


def test_hours_written_before_lose_what_is_not_stored_any_more(site: Site, tmp_path: Path) -> None:
    site.read(site.store(tmp_path, WHOLE))
    strict = site.store(tmp_path, NOTHING)
    assert site.read(strict) == 0
    site.translate(strict)
    kept = texts(strict)
    assert not [it for it in site.persons() if it in kept]
    for frame in (MOODLE_LOG, EXPANDED_LOG):
        assert stored_fields_of(strict.footer_stats(frame, HOURS.start)) == NOTHING


def test_hours_without_names_are_not_taken_for_hours_of_people_without_names(
    site: Site, tmp_path: Path
) -> None:
    site.read(site.store(tmp_path, StoredFields(names=False)))
    whole = site.store(tmp_path, WHOLE)
    with pytest.raises(StorageError) as error:
        site.translate(whole, NAMES_NEEDED)
    assert str(error.value) == (
        "expanded_log of 2026-03-02T10:00Z was stored without names of persons, which events are "
        "to tell now: materialize moodle_log and expanded_log for that hour again."
    )
    rows = site.read(whole)
    assert rows == whole.read(EXPANDED_LOG, list(HOURS), ["id"]).num_rows
    site.translate(whole, NAMES_NEEDED)
    assert stored_fields_of(whole.footer_stats(EXPANDED_LOG, HOURS.start)) == WHOLE


def test_truncated_addresses_are_sent_truncated(site: Site, tmp_path: Path) -> None:
    fields = StoredFields("truncated")
    storage = site.store(tmp_path, fields)
    site.read(storage)
    events, _ = site.translate(storage, StoredFields("truncated", names=False, texts=False))
    sent = [json.loads(it) for it in events["json"].to_pylist() if it]
    addresses = {it["extensions"]["moodle"].get("ip") for it in sent} - {None}
    assert addresses
    assert all(it.endswith((".0", "::")) for it in addresses)
