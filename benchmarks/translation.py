"""How fast is translation, and where does the time go?

Run ``python -m benchmarks.translation``. The rows are those of a sample site; ``--rows`` names a
Parquet file of ``EXPANDED_LOG`` rows or a database's SQLAlchemy URL to take them from a real one.
They are repeated to any length (:func:`longer`) and translated in chunks as the assets do.

It prints, all of one process: events per second for several chunk lengths and shares of new things;
how that compares with making a dict per event from entities that are ready, and ``orjson.dumps``;
and the share of each stage.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase, count_rows, expand, read_log
from caliper_dagster.frames import EXPANDED_LOG
from caliper_dagster.hours import HourRange
from caliper_dagster.translator import Translator

WWWROOT = "https://moodle.example.org"
FACULTIES = 32
"""Sets of persons, courses and activities among which copies of rows are divided."""

_BLOCKS = 4
"""Parts of a copy that belong to different sets."""

_STEP = 10_000_000
_STANDING = frozenset(
    """
    user userid relateduserid realuserid course courseid category categoryid module instance cmid
    contextid contextinstanceid coursemoduleid
    """.split()
)
"""Keys of what stays while things are made in it: persons, courses, activities."""

_OF_THINGS = ("other", "object", "session", "unresolved")
_OF_STANDING = tuple(
    column.name
    for column in EXPANDED_LOG.columns[-12:]
    if column.name not in (*_OF_THINGS, "site")
)


# Rows


def longer(expanded: pa.Table, rows: int, new: float) -> pa.Table:
    """The rows over and over, with log ids and times that go on.

    Every copy is divided among sets of persons, courses and activities (32 sets take turns, so that
    their number is that of a large site), by shifting the ids in columns and records. What people
    made (attempts, posts, grades, log-ins) has other ids in a share of the copies, and the ids of
    an earlier copy in the others: with share 1 a row is as likely to be the first about its thing as
    in the rows given, however long the table is.

    Args:
        expanded: ``EXPANDED_LOG`` rows.
        rows: how many to make.
        new: share of the copies with things of their own.
    """
    order = pc.sort_indices(expanded["timecreated"])
    texts = {
        column.name: expanded[column.name].cast(pa.string()).take(order)
        if pa.types.is_dictionary(column.type)
        else expanded[column.name].take(order)
        for column in EXPANDED_LOG.columns
    }
    one = pa.table(texts)
    span = 3600 * (1 + (pc.max(one["timecreated"]).as_py() - pc.min(one["timecreated"]).as_py()) // 3600)
    copies = -(-rows // one.num_rows)
    parts, made = [], 0
    for copy in range(copies):
        made += (copy * new) // 1 > ((copy - 1) * new) // 1
        for block in range(_BLOCKS):
            low, high = (one.num_rows * at // _BLOCKS for at in (block, block + 1))
            thing = made * _BLOCKS + block if made else 0
            faculty = thing % FACULTIES
            parts.append(_moved(one.slice(low, high - low), copy, span, faculty, thing))
    return EXPANDED_LOG.conform(pa.concat_tables(parts).unify_dictionaries().slice(0, rows))


def _moved(rows: pa.Table, copy: int, span: int, faculty: int, thing: int) -> pa.Table:
    """Rows of another time, set and generation of things."""
    columns: dict[str, Any] = {name: rows[name] for name in rows.column_names}
    columns["id"] = pc.add(rows["id"], copy * _STEP)
    columns["timecreated"] = pc.add(rows["timecreated"], copy * span)
    for name in ("userid", "relateduserid", "realuserid", "courseid", "contextid", "contextinstanceid"):
        above = pc.greater(rows[name], 1)  # 1 is the guest, the front page, the system
        columns[name] = pc.if_else(above, pc.add(rows[name], faculty * _STEP), rows[name])
    columns["objectid"] = pc.if_else(
        pc.greater(rows["objectid"], 1), pc.add(rows["objectid"], thing * _STEP), rows["objectid"]
    )
    for names, number in ((_OF_THINGS, thing), (_OF_STANDING, faculty)):
        for name in names:
            column = rows[name].combine_chunks().dictionary_encode()
            moved = [
                orjson.dumps(_shifted(orjson.loads(text), faculty, number)).decode()
                for text in column.dictionary.to_pylist()
            ]
            columns[name] = pa.DictionaryArray.from_arrays(column.indices, pa.array(moved, pa.string()))
    schema = EXPANDED_LOG.schema
    return pa.table(
        [
            column
            if pa.types.is_dictionary(column.type) or not pa.types.is_dictionary(schema.field(name).type)
            else column.combine_chunks().dictionary_encode()
            for name, column in columns.items()
        ],
        names=list(columns),
    ).cast(schema)


def _shifted(value: Any, faculty: int, thing: int, key: str = "") -> Any:
    if isinstance(value, dict):
        return {
            name: _shifted(part, faculty, faculty if name in _STANDING else thing, name)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_shifted(part, faculty, thing, key) for part in value]
    if not (key == "id" or key.endswith("id") or key in _STANDING):
        return value
    step = (faculty if key in _STANDING else thing) * _STEP
    if isinstance(value, int) and not isinstance(value, bool) and value > 1:
        return value + step
    if isinstance(value, str) and value.isdecimal() and int(value) > 1:
        return str(int(value) + step)
    return value
