"""The contract of each frame that passes between the parts: columns, types, key, personal data.

Frames are Arrow tables. The partition store writes them as they are, checks compare against them,
and ``docs/data.md`` is generated from them. The *meaning* of a column is defined here and nowhere
else.

A *record column* holds JSON text of one database record (an object with Moodle's column names), the
same text in every row that refers to the same record, dictionary-encoded: a thousand views by one
person share one record. Null means "no such thing", or "not found" when the row has an id for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from caliper_dagster.core.errors import StorageError

TEXT = pa.string()
REPEATED = pa.dictionary(pa.int32(), pa.string())
RECORD = REPEATED
INTEGER = pa.int64()

WITH_EVENT = ("event", "derived")
"""Outcomes of the rows of ``caliper_events`` that hold an event; only these are sent."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its Arrow type, what it means, and whether it can identify a person."""

    name: str
    type: pa.DataType
    meaning: str
    personal: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """The contract of one asset's table."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, the same for every hour."""
        return pa.schema([pa.field(column.name, column.type) for column in self.columns])

    def empty(self) -> pa.Table:
        """A table without rows."""
        return self.schema.empty_table()

    def conform(self, table: pa.Table) -> pa.Table:
        """The table with exactly the columns of the contract, in its order and types.

        Raises:
            StorageError: a column is missing or cannot be cast; the sentence names it.
        """
        missing = [column.name for column in self.columns if column.name not in table.column_names]
        if missing:
            raise StorageError(f"{self.name} lacks columns: {', '.join(missing)}.")
        selected = table.select([column.name for column in self.columns])
        if selected.schema.equals(self.schema):
            return selected
        return selected.cast(self.schema)


_LOG_COLUMNS = (
    Column("id", INTEGER, "id of the log row"),
    Column("eventname", REPEATED, "class name of the Moodle event, with its leading backslash"),
    Column("component", REPEATED, "plugin that raised it, such as mod_quiz"),
    Column("action", REPEATED, "what was done: the last word of the class name"),
    Column("target", REPEATED, "on what: the rest of the class name"),
    Column("objecttable", REPEATED, "table of objectid; not always true"),
    Column("objectid", INTEGER, "id of the object in objecttable"),
    Column("crud", REPEATED, "c, r, u or d; not always true"),
    Column("edulevel", INTEGER, "0 other, 1 teaching, 2 participating"),
    Column("contextid", INTEGER, "id of the context"),
    Column(
        "contextlevel", INTEGER, "10 system, 30 user, 40 category, 50 course, 70 module, 80 block"
    ),
    Column(
        "contextinstanceid", INTEGER, "id of the context's thing; the course module's at level 70"
    ),
    Column("userid", INTEGER, "who triggered the request; 0 nobody, below 0 the system", True),
    Column("courseid", INTEGER, "course; 0 none, 1 the front page"),
    Column("relateduserid", INTEGER, "user whom the event is about", True),
    Column("anonymous", INTEGER, "1: who acted must not be shown"),
    Column("timecreated", INTEGER, "when, as Unix time in whole seconds"),
    Column("origin", REPEATED, "web, ws, cli, restore; null in restored rows"),
    Column("ip", TEXT, "address of the client", True),
    Column("realuserid", INTEGER, "who was logged in as userid", True),
)

MOODLE_LOG = Frame(
    "moodle_log",
    "one row of logstore_standard_log, as it is",
    (*_LOG_COLUMNS, Column("other", TEXT, "event data as stored: PHP serialize or JSON", True)),
)

EXPANDED_LOG = Frame(
    "expanded_log",
    "one log row with what the Moodle database knew about it when it was expanded",
    (
        *_LOG_COLUMNS,
        Column("other", RECORD, "event data, decoded; null when there is none", True),
        Column("site", RECORD, "release of Moodle"),
        Column("user", RECORD, "user of userid; null in anonymous rows", True),
        Column("user_membership", RECORD, "roles and status of userid in the course"),
        Column("realuser", RECORD, "user of realuserid", True),
        Column("realuser_membership", RECORD, "roles and status of realuserid in the course"),
        Column("relateduser", RECORD, "user of relateduserid; null in anonymous rows", True),
        Column("relateduser_membership", RECORD, "roles and status of relateduserid in the course"),
        Column("course", RECORD, "course of courseid"),
        Column("module", RECORD, "course module with its activity, dates and grade item"),
        Column("object", RECORD, "record of the object, such as the quiz attempt", True),
        Column("session", RECORD, "log-in that the row belongs to: id and time of its log row"),
        Column("unresolved", RECORD, "JSON list of references that were not found, `table:id`"),
    ),
)

CALIPER_EVENTS = Frame(
    "caliper_events",
    "one log row's outcome: its event, or why there is none (and one row more per derived event)",
    (
        Column("log_id", INTEGER, "id of the log row"),
        Column("timecreated", INTEGER, "time of the log row as Unix time: the hour it belongs to"),
        Column("event_name", REPEATED, "class name of the Moodle event"),
        Column("outcome", REPEATED, "event, derived, filtered or failed"),
        Column("reason", REPEATED, "rule that filtered it, or what failed; null for events"),
        Column("recipe", REPEATED, "pattern of the recipe that made the event, such as P13"),
        Column("resolution", REPEATED, "how the recipe was found: exact, family, fallback, user"),
        Column("event_id", TEXT, "urn:uuid of the event; null without an event"),
        Column("event_type", REPEATED, "Caliper type of the event"),
        Column("action", REPEATED, "Caliper action"),
        Column("profile", REPEATED, "Caliper profile (1.2)"),
        Column("caliper_version", REPEATED, "v1p2 or v1p1"),
        Column("json", TEXT, "the event as it will be sent", True),
    ),
)

EMISSION_RESULTS = Frame(
    "emission_results",
    "one batch that an event store has answered",
    (
        Column("event_store", REPEATED, "name of the event store"),
        Column("batch_id", TEXT, "urn:uuid of the batch"),
        Column("outcome", REPEATED, "acknowledged, or rejected: then a single event"),
        Column("events", INTEGER, "number of events in the envelope"),
        Column("bytes", INTEGER, "size of the envelope"),
        Column("attempts", INTEGER, "how often it was posted"),
        Column("http_status", INTEGER, "answer of the event store"),
        Column("sent_at", pa.timestamp("ms", "UTC"), "when it was posted"),
        Column("answered_at", pa.timestamp("ms", "UTC"), "when the answer came"),
        Column("error", TEXT, "words of the event store, when it refused"),
        Column("event_ids", pa.list_(pa.string()), "events in the envelope, in their order"),
    ),
)

FRAMES = (MOODLE_LOG, EXPANDED_LOG, CALIPER_EVENTS, EMISSION_RESULTS)
