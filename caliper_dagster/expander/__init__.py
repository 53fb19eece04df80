"""Log rows to expanded rows: everything this project knows about Moodle's database.

Plain functions on Arrow tables; knows Moodle, not Caliper. A newcomer reads ``database`` (how it is
asked), ``log`` (the log itself), ``expand`` (what is joined to a row), ``known`` (rows that need no
joining any more), and then the lookups.
"""

from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.expand import expand
from caliper_dagster.expander.incremental import expand_new
from caliper_dagster.expander.log import (
    RowsAbove,
    count_rows,
    id_before,
    ids_above,
    read_log,
    rows_above,
)

__all__ = [
    "MoodleDatabase",
    "RowsAbove",
    "count_rows",
    "expand",
    "expand_new",
    "id_before",
    "ids_above",
    "read_log",
    "rows_above",
]
