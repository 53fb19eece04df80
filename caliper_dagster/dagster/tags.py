"""Tags on runs and names that Dagster stores: their strings never change."""

LATE_ROWS_SENSOR = "late_rows"
"""The name of the sensor that watches the log; Dagster keeps its switch and its cursor by it."""

BACKLOG_SENSOR = "event_stores_catch_up"
"""The name of the sensor that sends the backlogs of event stores; Dagster keeps its switch and its
cursor by this name."""

SITE_TAG = "caliper_dagster/site"
"""On every run of one of several sites, with the name of the site."""

REASON_TAG = "caliper_dagster/reason"
"""On a run that a sensor requested: ``late rows``, ``new rows``, ``unfinished``, ``left over``."""

LATE_ROWS_TAG = "caliper_dagster/late_rows"
"""On a run for late rows, with the name of its site (``true`` for a single site). The concurrency
limit in ``dagster.yaml`` allows one such run per site."""

RESEND_ALL_TAG = "caliper_dagster/resend_all"
"""On a run, with the value ``true``: the same as ``resend_all`` in the run config."""

SEND_TAG = "caliper_dagster/send"
"""On a run, with a value of ``emitter.Send``: which events of its hours are sent."""

BACKLOG_TAG = "caliper_dagster/event_store"
"""On a run that sends the backlog of one event store, with the name of that event store."""

FRESH_TAG = "caliper_dagster/fresh"
"""On a run, with the value ``true``: the same as ``fresh`` in the run config."""

PROCESS_TAG = "caliper_dagster/process"
"""On a run of the command line: the process that executes it (``core.process_identity``)."""

PII_TAGS = {"pii": ""}
"""On an asset with personal data; Dagster shows a tag with an empty value as its key."""
