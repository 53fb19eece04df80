"""MariaDB or PostgreSQL, together or hour by hour: the same rows give the same bytes."""

from __future__ import annotations

import pyarrow as pa

from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.moodle_dump import expand_dump
from caliper_dagster_tests.real_site.site import HOURS, WWWROOT, Translation


def test_postgres_gives_the_same_bytes(
    moodle_dump_postgres: str, expanded: pa.Table, translations: dict[str, Translation]
) -> None:
    other = expand_dump(moodle_dump_postgres)

    assert_equal(other, expanded)
    for version, translation in translations.items():
        assert_equal(Translator(WWWROOT, version=version).translate(other), translation.table)


def test_hours_give_the_same_events_alone_as_together(
    moodle_dump_mariadb: str, translations: dict[str, Translation]
) -> None:
    translator = Translator(WWWROOT)
    with MoodleDatabase.open(moodle_dump_mariadb) as database:
        hours = [table for _, table in read_log(database, HOURS)]
        alone = pa.concat_tables(translator.translate(expand(database, hour)) for hour in hours)

    assert_equal(alone, translations["v1p2"].table)


def assert_equal(one: pa.Table, other: pa.Table) -> None:
    """Tables have the same values; how a dictionary orders them does not count."""
    assert one.schema.equals(other.schema)
    for name in one.column_names:
        left, right = (
            table[name].cast(table.schema.field(name).type.value_type)
            if pa.types.is_dictionary(table.schema.field(name).type)
            else table[name]
            for table in (one, other)
        )
        assert left.equals(right), f"{name} differs"
