"""The real site's hours, stored without addresses, names and texts: no event changes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.stored_fields import NOTHING
from caliper_dagster.delivery.materialize import write_events, write_expanded, write_log
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.moodle_dump import DUMP_HOURS
from caliper_dagster_tests.real_site.site import WWWROOT, Site, Translation


def test_no_person_is_stored_by_name_and_the_events_stay_the_same(
    moodle_dump_mariadb: str, site: Site, translations: dict[str, Translation], tmp_path: Path
) -> None:
    store = PartitionStore(str(tmp_path), fields=NOTHING)
    with MoodleDatabase.open(moodle_dump_mariadb) as database:
        write_log(database, store, DUMP_HOURS)
        write_expanded(database, store, DUMP_HOURS, fresh=False)
        columns = ("username", "idnumber", "firstname", "lastname", "email")
        persons = database.records("user", columns)
    written, _ = write_events(
        Translator(WWWROOT),
        store,
        CALIPER_EVENTS,
        DUMP_HOURS,
        open_moodle=lambda: MoodleDatabase.open(moodle_dump_mariadb),
    )
    # Searched for the names that are not stored; no false alarm.
    assert not any(hour.verdict.fields for hour in written)

    before = {row["event_id"]: row for row in translations["v1p2"].table.to_pylist()}
    after = {row["event_id"]: row for row in store.read(CALIPER_EVENTS, DUMP_HOURS).to_pylist()}
    assert after.keys() == before.keys()
    changed = [it for it, row in before.items() if row["json"] != after[it]["json"]]
    assert changed == []

    stored = set[str]()
    for frame in (MOODLE_LOG, EXPANDED_LOG):
        table = store.read(frame, DUMP_HOURS)
        assert table["ip"].null_count == table.num_rows
        for column in table.select(["other", *({"user", "object"} & {*table.column_names})]):
            stored.update(text for text in column.cast(pa.string()).unique().to_pylist() if text)
    everything = "\n".join(stored)
    named = {person["email"] for person in persons}
    named |= {f'"{person["username"]}"' for person in persons if len(person["username"]) > 5}
    named |= {f"{person['firstname']} {person['lastname']}" for person in persons}
    assert {it for it in named if len(it) > 5 and it in everything} == set()
