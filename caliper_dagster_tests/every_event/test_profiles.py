"""No raised id of a person, or of a personal record, in the events of any recipe."""

from __future__ import annotations

import csv
import json
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.caliper.versions import VersionName
from caliper_dagster.translator import Translator
from caliper_dagster.translator.example import example_table
from caliper_dagster_tests.harness.paths import DATA
from caliper_dagster_tests.harness.tainting import INSTITUTIONAL_TABLES, TAINTED, tainted_rows
from caliper_dagster_tests.unit.translator.support import W
from caliper_dagster_tests.unit.translator.test_derived import EVERY
from caliper_dagster_tests.unit.translator.test_profiles import KEY, KEYED, VERSION
from caliper_dagster_tests.unit.translator.variations import rows


@cache
def raised() -> pa.Table:
    with (DATA / "mapping.csv").open(encoding="utf-8", newline="") as file:
        tables = {row["eventname"]: row["moodle_objecttable"] for row in csv.DictReader(file)}
    known = []
    for row in rows(EVERY.values()):
        table = tables.get(row["eventname"]) or row.get("objecttable")
        of_course = row["eventname"].startswith((r"\tool_recyclebin", r"\core\event\grade_letter"))
        if of_course and row["contextlevel"] == 30:
            continue  # there are none in the context of a user
        other = row.get("other")
        named = {**other, "itemtype": "user"} if isinstance(other, dict) else other
        known.append({**row, "objecttable": table, "other": named})
    found = []
    for row in tainted_rows(known):
        if row["objecttable"] in INSTITUTIONAL_TABLES and isinstance(row.get("object"), dict):
            row["object"]["id"] = row["objectid"]
        found.append(row)
    return example_table(found)


@cache
def identified(version: VersionName) -> pa.Table:
    """The events under the profile that sends ids as they are."""
    return Translator(W, version=version).translate(raised())


@VERSION
@KEYED
def test_no_id_of_a_person_or_of_a_personal_record_leaves_in_any_event(profile, version):
    plain = identified(version)
    # What fails is not valid Caliper for a property that the anonymous form may not have.
    failed = plain["log_id"].filter(pc.equal(plain["outcome"].cast(pa.string()), "failed"))
    rows = raised().filter(pc.invert(pc.is_in(raised()["id"], failed.combine_chunks())))
    table = Translator(W, version=version, profile=profile, key=KEY).translate(rows)
    kept = plain.filter(pc.invert(pc.is_in(plain["log_id"], failed.combine_chunks())))
    assert table["outcome"].to_pylist() == kept["outcome"].to_pylist()
    leaks = {}
    for row in table.select(["event_name", "json", "actor_id", "object_id"]).to_pylist():
        name, text = row.pop("event_name"), row.pop("json")
        if TAINTED.search(text or "") or TAINTED.search(str(row)):
            leaks[name] = TAINTED.sub("<<>>", text)
    assert not leaks
    for text in table["json"].to_pylist()[::29]:
        assert text is None or not validate(json.loads(text), strict=True)
