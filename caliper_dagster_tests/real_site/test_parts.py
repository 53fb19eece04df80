"""Hours that are expanded in parts get the rows of the whole log expanded together."""

from __future__ import annotations

import pyarrow as pa
import pytest

from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.core.partition_store import split_by_hour
from caliper_dagster.expander import EarlierParts, LogLifecycle, MoodleDatabase, expand_new
from caliper_dagster.expander.log import read_log
from caliper_dagster_tests.harness.moodle_dump import DUMP_HOURS

FULLEST_HOURS = 12
ROWS = 250


@pytest.mark.parametrize("with_existing", [False, True], ids=["anew", "beside existing rows"])
def test_a_row_has_the_same_records_in_parts(
    moodle_dump_mariadb: str, expanded: pa.Table, with_existing: bool
) -> None:
    together = dict(split_by_hour(expanded, list(DUMP_HOURS)))
    hours = sorted(together, key=lambda hour: -together[hour].num_rows)[:FULLEST_HOURS]
    assert together[hours[-1]].num_rows > ROWS
    found: dict[str, int] = {"session": 0, "samegradingas": 0}
    with MoodleDatabase.open(moodle_dump_mariadb) as database:
        lifecycle = LogLifecycle(database)
        logs = {hour: log for hour, log in read_log(database, DUMP_HOURS) if hour in hours}
        for hour, log in logs.items():
            existing = EXPANDED_LOG.empty()
            if with_existing:
                existing = together[hour].take(list(range(0, log.num_rows, 3)))
            earlier, parts = EarlierParts(), []
            for begin in range(0, log.num_rows, ROWS):
                part = log.slice(begin, ROWS)
                parts.append(expand_new(database, part, existing, lifecycle, earlier)[0])
            rows = pa.concat_tables(parts).to_pylist()
            assert rows == together[hour].to_pylist()
            found["session"] += sum(row["session"] is not None for row in rows)
            found["samegradingas"] += sum("samegradingas" in (row["object"] or "") for row in rows)
    assert min(found.values()) > 20
