"""Log rows to expanded rows: everything this project knows about Moodle's database.

Plain functions on Arrow tables. This part knows Moodle, not Caliper. Reading order:

1. ``connection``: the read-only connection, and how it reads records by sets of keys
   (``bulk_read`` is the faster reader behind it). ``engines`` opens it, ``snapshot`` says what its
   transaction sees, ``database_failures`` what is wrong with a database.
2. ``log``: the log itself, hour by hour. ``replica``: which of its rows wait for a database that
   lags behind it.
3. ``expand``: what is joined to each log row. ``log_rows`` holds the rows meanwhile,
   ``record_columns`` the columns that it fills, ``event_data`` decodes the column ``other``.
4. ``incremental``: rows that were expanded before stay as they are. ``earlier_parts``: an hour of
   many rows is expanded in parts, with the same result. ``stored_rows``: what the settings leave
   out of rows before they are stored.
5. ``lookups``: people and roles, courses and activities, sessions, and what only the log still
   tells (``log_lifecycle``, ``membership_history``).
6. ``objects``: what each row was done to. ``objects.loader`` defines the types and
   ``objects.registry`` says which loader an event or table has; the other modules are one subject
   of Moodle each.
"""

from caliper_dagster.expander.connection import LOG, LogPlace, MoodleDatabase
from caliper_dagster.expander.earlier_parts import EarlierParts
from caliper_dagster.expander.expand import expand
from caliper_dagster.expander.incremental import expand_new
from caliper_dagster.expander.log import (
    IdStats,
    LogPart,
    count_rows,
    count_waiting_rows,
    first_waiting_id,
    hour_that_waits,
    id_before,
    id_stats_above,
    id_sum,
    ids_above,
    read_log,
    read_log_in_parts,
    with_addresses,
)
from caliper_dagster.expander.lookups.log_lifecycle import LIFECYCLE, LogLifecycle
from caliper_dagster.expander.lookups.log_lifecycle import protect as protect_lifecycle
from caliper_dagster.expander.replica import waiting_after
from caliper_dagster.expander.stored_rows import expanded_as_stored, log_as_stored

__all__ = [
    "LIFECYCLE",
    "LOG",
    "EarlierParts",
    "IdStats",
    "LogLifecycle",
    "LogPart",
    "LogPlace",
    "MoodleDatabase",
    "count_rows",
    "count_waiting_rows",
    "expand",
    "expand_new",
    "expanded_as_stored",
    "first_waiting_id",
    "hour_that_waits",
    "id_before",
    "id_stats_above",
    "id_sum",
    "ids_above",
    "log_as_stored",
    "protect_lifecycle",
    "read_log",
    "read_log_in_parts",
    "waiting_after",
    "with_addresses",
]
