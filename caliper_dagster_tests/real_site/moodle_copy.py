"""The real Moodle site as an SQLite file, whole or with the tables of an older Moodle.

An older site is the real one without the tables and columns that its version lacks, and with the
tables that it had instead, filled from what replaced them.
"""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa

from caliper_dagster.expander import MoodleDatabase
from caliper_dagster_tests.harness.paths import DATA

OBJECT_TABLES = DATA / "object_tables.csv"

_NEVER_READ = ("sessions", "cache", "task", "upgrade", "mnet", "tool_brickfield", "stats", "backup")

_BEFORE_4_3 = (
    "CREATE TABLE mdl_scorm_scoes_track AS SELECT v.id, a.userid, a.scormid, v.scoid, a.attempt, "
    "e.element, v.value, v.timemodified FROM mdl_scorm_scoes_value v "
    "JOIN mdl_scorm_attempt a ON a.id = v.attemptid JOIN mdl_scorm_element e ON e.id = v.elementid",
    # Rows of these versions name the attempt by its number, and the table of tracks.
    "UPDATE mdl_logstore_standard_log SET objecttable = 'scorm_scoes_track', "
    'other = \'{"attemptid":1,"cmielement":"cmi.core.score.raw","cmivalue":"7"}\' '
    "WHERE objecttable = 'scorm_scoes_value'",
    *(f"DROP TABLE mdl_scorm_{table}" for table in ("scoes_value", "attempt", "element")),
)
_BEFORE_4 = (
    "ALTER TABLE mdl_question ADD COLUMN category INTEGER",
    "ALTER TABLE mdl_question ADD COLUMN version TEXT",
    *(
        f"DROP TABLE mdl_question_{table}"
        for table in ("versions", "bank_entries", "references", "set_references")
    ),
    "DROP TABLE IF EXISTS mdl_message",
    "DROP TABLE IF EXISTS mdl_message_read",
    "CREATE TABLE mdl_message AS SELECT id, useridfrom, timecreated FROM mdl_messages",
    "CREATE TABLE mdl_message_read AS SELECT id + 1000 AS id, useridfrom, timecreated, "
    "timecreated AS timeread FROM mdl_messages",
    "UPDATE mdl_logstore_standard_log SET objecttable = NULL WHERE objecttable = 'messages'",
    "UPDATE mdl_logstore_standard_log SET objecttable = 'message_read' "
    "WHERE objecttable = 'message_user_actions'",
    *(
        f"DROP TABLE mdl_{table}"
        for table in ("message_conversations", "course_modules_viewed", "tool_policy_versions")
    ),
    "ALTER TABLE mdl_assign_submission DROP COLUMN timestarted",
    "ALTER TABLE mdl_course_modules_completion DROP COLUMN overrideby",
)
_BEFORE_3 = ("ALTER TABLE mdl_course DROP COLUMN enddate",)

OLDER = {
    "4.2": _BEFORE_4_3,
    "4.1": _BEFORE_4_3,
    "3.3": (*_BEFORE_4_3, *_BEFORE_4),
    "2.9": (*_BEFORE_4_3, *_BEFORE_4, *_BEFORE_3),
}


def object_tables() -> list[dict[str, str]]:
    """``object_tables.csv``: the tables that log rows name, and the versions that have them."""
    with OBJECT_TABLES.open(newline="") as file:
        return list(csv.DictReader(file))


def copy_to_sqlite(url: str, path: Path) -> None:
    """Copy the tables that an expander could read into an SQLite file."""
    engine = sa.create_engine(url)
    with engine.connect() as source, closing(sqlite3.connect(path)) as target:
        names = sa.inspect(engine).get_table_names()
        for name in names:
            if name.removeprefix("mdl_").startswith(_NEVER_READ):
                continue
            rows = source.execute(sa.text(f"SELECT * FROM `{name}`"))
            columns = [f'"{column}"' for column in rows.keys()]  # noqa: SIM118 - of a cursor
            key = " INTEGER PRIMARY KEY" if columns[0] == '"id"' else ""
            target.execute(f"CREATE TABLE {name} ({columns[0]}{key}, {', '.join(columns[1:])})")
            marks = ", ".join("?" * len(columns))
            target.executemany(
                f"INSERT INTO {name} VALUES ({marks})",
                ([float(v) if isinstance(v, Decimal) else v for v in row] for row in rows),
            )
        target.execute(
            "CREATE INDEX by_course ON mdl_logstore_standard_log (courseid, timecreated)"
        )
        target.execute("CREATE INDEX by_user ON mdl_logstore_standard_log (userid)")
        target.commit()
    engine.dispose()


def make_older(path: Path, version: str) -> None:
    """Turn the copy into a site of an older version."""
    with closing(sqlite3.connect(path)) as site:
        for statement in OLDER[version]:
            site.execute(statement)
        if version != "4.2":
            for row in object_tables():
                if row[f"in_{version}"] == "0":
                    site.execute(f"DROP TABLE IF EXISTS mdl_{row['objecttable']}")
        site.commit()


def open_copy(path: Path) -> MoodleDatabase:
    return MoodleDatabase.open(f"sqlite:///{path}")
