"""The contract of each frame that passes between the parts: columns, types, key, personal data.

Frames are Arrow tables. The partition store writes them as they are, checks compare against them,
and ``docs/data.md`` is generated from them. The *meaning* of a column is defined here and nowhere
else.

A *record column* holds JSON text of one database record (an object with Moodle's column names), the
same text in every row that refers to the same record, dictionary-encoded: a thousand views by one
person share one record. Null means that the row refers to no record, or, if the row has an id for
it, that the record was not found.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import pyarrow as pa

from caliper_dagster.core.errors import StorageError

TEXT = pa.string()
REPEATED = pa.dictionary(pa.int32(), pa.string())
RECORD = REPEATED
INTEGER = pa.int64()
DECIMAL = pa.float64()

WITH_EVENT = ("event", "derived")
"""Outcomes of the rows of ``caliper_events`` that hold an event; only these are sent."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its Arrow type, what it means, and whether it can identify a person.

    Ids of what belongs to one person (a log row, an event, a record) can: one look at Moodle's
    tables gives the person. Times are not marked, although few things happen in the same second.
    """

    name: str
    type: pa.DataType
    meaning: str
    personal: bool = False
    added: bool = False
    """Whether files of earlier releases lack it; it reads as null there."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The contract of one asset's table.

    Attributes:
        schema: the Arrow schema, the same for every hour.
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    schema: pa.Schema = field(init=False, repr=False, compare=False)
    _empty: list[pa.Table] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        schema = pa.schema([pa.field(column.name, column.type) for column in self.columns])
        object.__setattr__(self, "schema", schema)
        object.__setattr__(self, "_empty", [])

    def empty(self) -> pa.Table:
        """A table without rows. It is made once: Arrow takes as long as for a small file."""
        if not self._empty:
            # Not with the frame: Arrow imports pandas with its first array.
            self._empty.append(self.schema.empty_table())
        return self._empty[0]

    def with_later_columns(self, table: pa.Table, names: Collection[str]) -> pa.Table:
        """The table, with nulls in the columns that it lacks because a later release added them.

        Args:
            table: some columns of the contract.
            names: the columns that it should have; others are not added.
        """
        present = {*table.column_names}
        for column in self.columns:
            if column.added and column.name in names and column.name not in present:
                values = pa.nulls(table.num_rows, column.type)
                table = table.append_column(pa.field(column.name, column.type), values)
        return table

    def conform(self, table: pa.Table) -> pa.Table:
        """The table with exactly the columns of the contract, in its order and types.

        Raises:
            StorageError: a column is missing or cannot be cast; the sentence names it.
        """
        if table.schema.equals(self.schema):
            return table
        table = self.with_later_columns(table, self.schema.names)
        present = {*table.column_names}
        if missing := [name for name in self.schema.names if name not in present]:
            raise StorageError(f"{self.name} lacks columns: {', '.join(missing)}.")
        selected = table.select(self.schema.names)
        if selected.schema.equals(self.schema):
            return selected
        return selected.cast(self.schema)


_LOG_COLUMNS = (
    Column("id", INTEGER, "id of the log row", True),
    Column("eventname", REPEATED, "class name of the Moodle event, with its leading backslash"),
    Column("component", REPEATED, "plugin that raised it, such as mod_quiz"),
    Column("action", REPEATED, "what was done: the last word of the class name"),
    Column("target", REPEATED, "what it was done to: the rest of the class name"),
    Column(
        "objecttable", REPEATED, "table of objectid, as the event declares it (sometimes wrong)"
    ),
    Column("objectid", INTEGER, "id of the object in objecttable", True),
    Column("crud", REPEATED, "c, r, u or d, as the event declares it (sometimes wrong)"),
    Column("edulevel", INTEGER, "0 other, 1 teaching, 2 participating"),
    Column("contextid", INTEGER, "id of the context", True),
    Column(
        "contextlevel", INTEGER, "10 system, 30 user, 40 category, 50 course, 70 module, 80 block"
    ),
    Column(
        "contextinstanceid",
        INTEGER,
        "id of what the context belongs to, by level: user, category, course, course module, block",
        True,
    ),
    Column("userid", INTEGER, "user who acted; 0 for nobody, below 0 for the system", True),
    Column("courseid", INTEGER, "id of the course; 0 for none, 1 for the front page"),
    Column("relateduserid", INTEGER, "user whom the event affects", True),
    Column("anonymous", INTEGER, "1 if the acting user must not be named"),
    Column("timecreated", INTEGER, "Unix time of the event, in whole seconds"),
    Column("origin", REPEATED, "web, ws, cli or restore; null in restored rows"),
    Column("ip", TEXT, "IP address of the client", True),
    Column("realuserid", INTEGER, "user who was logged in as userid", True),
)

MOODLE_LOG = Frame(
    "moodle_log",
    "one row of logstore_standard_log, with the fields that the settings store",
    (*_LOG_COLUMNS, Column("other", TEXT, "event data as stored: PHP serialize or JSON", True)),
)

EXPANDED_LOG = Frame(
    "expanded_log",
    "one log row with the database records that it referred to when it was expanded",
    (
        *_LOG_COLUMNS,
        Column("other", RECORD, "event data, decoded; null when there is none", True),
        Column("site", RECORD, "the site: its Moodle release"),
        Column("user", RECORD, "user of userid; null in anonymous rows", True),
        Column("user_membership", RECORD, "roles and status of userid in the course", True),
        Column("realuser", RECORD, "user of realuserid", True),
        Column("realuser_membership", RECORD, "roles and status of realuserid in the course", True),
        Column("relateduser", RECORD, "user of relateduserid; null in anonymous rows", True),
        Column(
            "relateduser_membership",
            RECORD,
            "roles and status of relateduserid in the course",
            True,
        ),
        Column("course", RECORD, "course of courseid"),
        Column("module", RECORD, "course module with its activity, dates and grade item", True),
        Column("object", RECORD, "record of the object, such as a quiz attempt", True),
        Column(
            "session", RECORD, "log-in that began the session: id, time, user of its log row", True
        ),
        Column(
            "unresolved", RECORD, "JSON list of references without a record, as `table:id`", True
        ),
    ),
)

CALIPER_EVENTS = Frame(
    "caliper_events",
    "the outcome of one log row: its event, or why there is none; a derived event is a row more",
    (
        Column("log_id", INTEGER, "id of the log row", True),
        Column("timecreated", INTEGER, "Unix time of the log row, which decides its hour"),
        Column("event_name", REPEATED, "class name of the Moodle event"),
        Column("outcome", REPEATED, "event, derived, filtered or failed"),
        Column(
            "reason",
            REPEATED,
            "rule that filtered the row, or the error; of an event: invalid, if it is withheld "
            "because it is not valid Caliper, otherwise null",
        ),
        Column("recipe", REPEATED, "pattern of the recipe that made the event, such as P13"),
        Column("resolution", REPEATED, "how the recipe was found: exact, family, fallback, user"),
        Column("event_id", TEXT, "id of the event, a urn:uuid; null if there is none", True),
        Column("event_type", REPEATED, "Caliper type of the event"),
        Column("action", REPEATED, "Caliper action"),
        Column("profile", REPEATED, "Caliper profile (1.2)"),
        Column("caliper_version", REPEATED, "v1p2 or v1p1"),
        Column("actor_id", REPEATED, "IRI of the actor", True, added=True),
        Column("object_type", REPEATED, "Caliper type of the object", added=True),
        Column("object_id", REPEATED, "IRI of the object", True, added=True),
        Column("group_id", REPEATED, "IRI of the course", added=True),
        Column("generated_score", DECIMAL, "scoreGiven of a generated Score", added=True),
        Column("generated_max_score", DECIMAL, "maxScore of that Score", added=True),
        Column("json", TEXT, "the event as it is sent", True),
    ),
)

EMISSION_RESULTS = Frame(
    "emission_results",
    "one batch that an event store has answered",
    (
        Column("event_store", REPEATED, "name of the event store"),
        Column("batch_id", TEXT, "id of the batch, a urn:uuid"),
        Column("outcome", REPEATED, "acknowledged, or rejected: a batch of one event"),
        Column("events", INTEGER, "number of events in the envelope"),
        Column("bytes", INTEGER, "size of the envelope"),
        Column("attempts", INTEGER, "number of requests"),
        Column("http_status", INTEGER, "HTTP status of the answer"),
        Column("sent_at", pa.timestamp("ms", "UTC"), "time of the last request"),
        Column("answered_at", pa.timestamp("ms", "UTC"), "time of the answer"),
        Column("error", TEXT, "message of the event store if it rejected the event", True),
        Column("event_ids", pa.list_(pa.string()), "events in the envelope, in their order", True),
    ),
)

FRAMES = (MOODLE_LOG, EXPANDED_LOG, CALIPER_EVENTS, EMISSION_RESULTS)
