"""Rows as they are stored: without the personal fields that the settings leave out.

`StoredFields` says what is left out. Everything here works on the distinct values of a column, and
has no effect on rows that were treated before. So it is applied to all rows of an hour whenever the
hour is written, whether they were read now or kept from before. `with_names` is for those who look
for names of persons: it fills them in, and its rows are not stored.

Of event data (the column ``other``) texts go, numbers stay. The exceptions are in this module:
`WORDS`, `NAMES` and `NUMBERS` list the keys whose texts the expander or the translator reads. A
test finds those keys in the code, and another one compares the events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.addresses import truncate_column
from caliper_dagster.core.stored_fields import WHOLE, StoredFields
from caliper_dagster.expander.bulk_read import REPLACEMENT
from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.event_data import UNDECODABLE, decode

WORDS = frozenset(
    """
    badgetype capability cmielement compare comparewith contenthash enrol function itemmodule
    itemtype mode modulename newstatus pagetype publishstate reportmode reportname requestedqtype
    status submissionstatus
    """.split()
)
"""Keys of event data that hold words of Moodle's own."""

NAMES = frozenset(
    "concept fieldname fullname itemname name newtitle sectionname shortname title".split()
)
"""Keys of event data that hold names which the institution or a group gave. Texts that are numbers
also stay under `NUMBERS` and under keys that end in ``id``."""

NUMBERS = frozenset(
    """
    cmivalue completionstate coursesectionnumber currentgrade discussion finalgrade grade page slot
    timestart timeend timecreated timemodified
    """.split()
)

_NAMED = r"^\\(core|core_[a-z]+|mod_data|mod_glossary|mod_quiz)\\event\\"
_NAMED_BY_PERSONS = r"^\\core\\event\\(calendar_event|tag)_"
"""Events whose texts of `NAMES` stay, except those whose names persons give for themselves."""

KEYS_OF_NAMES = frozenset(
    """
    email extrauserinfo firstname idnumber lastname loggedinasusername nickname originalusername
    username
    """.split()
)
"""Keys of event data that hold names of persons."""

_ADDRESSES = frozenset({"ip", "useragent"})
_SECRETS = frozenset({"sessionid", "sesskey", "sid", "token"})

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,20})?")
_NUMBERS_OF_ANSWER = re.compile(r"[-\d.|]*")
_RECORDING = re.compile(r"[0-9a-f]{8,64}-\d+")
_SCORM_STATES = frozenset(
    {"passed", "completed", "failed", "incomplete", "browsed", "not attempted", "notattempted"}
)

_NOT_DECODABLE = "a:"
"""Stored for event data that cannot be decoded: it cannot be decoded either, and tells nothing."""

_USERS = ("user", "realuser", "relateduser")
_USER_NAMES = ("username", "idnumber", "firstname", "lastname", "email")
_NAMELESS = '"username": ?null'
_TEXTS_OF_TABLES: Mapping[str, Collection[str]] = {
    "blog_external": ("name",),
    "competency_plan": ("name",),
    "competency_userevidence": ("name",),
    "forum_discussions": ("name",),
    "forum_posts": ("subject",),
    "post": ("subject",),
    "tag": ("name", "rawname"),
    "tag_instance": ("name",),
    "wiki_pages": ("name",),
    "wiki_versions": ("name",),
    "workshop_submissions": ("title",),
}
"""Texts in the records of the column ``object`` that persons wrote."""

_ANSWERS = ("responsesummary", "useranswer", "response", "responses")
_RATED_ANSWERS = ("value", "answer1", "answer2")
"""Answers that are numbers of options or points on a scale, or texts; only the texts go."""


def log_as_stored(log: pa.Table, fields: StoredFields) -> pa.Table:
    """Log rows without what is left out; event data becomes JSON text.

    Args:
        log: a table with ``eventname``, ``ip`` and ``other`` as in ``MOODLE_LOG``.
        fields: what is stored.
    """
    if fields == WHOLE:
        return log
    log = _set(log, "ip", addresses_as_stored(log["ip"], fields))
    if fields.names and fields.texts and fields.addresses == "whole":
        return log
    other = log["other"].cast(pa.string()).combine_chunks().dictionary_encode()
    if isinstance(other, pa.ChunkedArray):
        other = other.combine_chunks()
    names = log["eventname"].cast(pa.string())
    named = pc.and_not(
        pc.match_substring_regex(names, _NAMED), pc.match_substring_regex(names, _NAMED_BY_PERSONS)
    )
    # Each distinct text is treated once, or twice: with the names that it has, and without.
    codes = 2 * other.indices.fill_null(-1).to_numpy().astype(np.int64)
    codes += named.fill_null(False).to_numpy()
    distinct, positions = np.unique(codes, return_inverse=True)
    texts = [*other.dictionary.to_pylist(), None]
    kept = [
        _event_data(texts[code // 2], WORDS | NAMES if code % 2 else WORDS, fields)
        for code in distinct.tolist()
    ]
    return _set(log, "other", pa.array(kept, pa.string()).take(pa.array(positions)))


def expanded_as_stored(rows: pa.Table, fields: StoredFields) -> pa.Table:
    """``EXPANDED_LOG`` rows without what is left out."""
    if fields == WHOLE:
        return rows
    rows = log_as_stored(rows, fields)
    if not fields.names:
        for name in _USERS:
            rows = _set(rows, name, _records(rows[name], _without_names))
    if not (fields.names and fields.texts):
        rows = _set(rows, "object", _records(rows["object"], partial(_object, fields)))
    return rows


def with_names(database: MoodleDatabase, rows: pa.Table) -> pa.Table:
    """``EXPANDED_LOG`` rows whose persons have the names that are not stored, by one statement.

    They are those that Moodle's table has now. A person whom it no longer has gets empty ones.

    Args:
        database: an open Moodle database.
        rows: a table with the record columns of persons and ``object``.
    """
    columns = (*_USERS, "object")
    ids = {
        record["id"]
        for name in columns
        for chunk in rows[name].chunks
        for record in _nameless(chunk.dictionary).values()
    }
    if not ids:
        return rows
    users = {
        user["id"]: user for user in database.records("user", ("id", *_USER_NAMES), {"id": ids})
    }
    for name in columns:
        rows = _set(rows, name, _with_names(rows[name], users))
    return rows


def addresses_as_stored(column: pa.ChunkedArray, fields: StoredFields) -> pa.ChunkedArray:
    """A column of IP addresses as it is stored."""
    if fields.addresses == "whole":
        return column
    if fields.addresses == "truncated":
        return truncate_column(column)
    return pa.nulls(len(column), pa.string())


def _set(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    field = table.schema.field(name)
    index = table.schema.get_field_index(name)
    return table.set_column(index, field, column.cast(field.type))


def _event_data(stored: str | None, texts: Collection[str], fields: StoredFields) -> str | None:
    """Event data as it is stored: JSON text, or null where there is nothing.

    Args:
        stored: the event data.
        texts: keys whose texts stay.
        fields: what is stored.
    """
    value = decode(stored or "")
    if value is None:
        return None
    if value is UNDECODABLE:
        return _NOT_DECODABLE
    try:
        kept = _value("", value, partial(_is_kept_text, fields, texts), fields)
        text = orjson.dumps(kept).decode()
        if REPLACEMENT in (stored or "") and REPLACEMENT not in text:
            # That a part cannot be read stays known, not what is around it.
            text = orjson.dumps({**kept, "": REPLACEMENT}).decode()
    except (orjson.JSONEncodeError, RecursionError, TypeError):
        # Nested too deeply; or it cannot be read, and is no map.
        return _NOT_DECODABLE
    return None if kept is None else text


def _value(
    key: str,
    value: Any,  # noqa: ANN401 - any JSON value
    is_kept_text: Callable[[str, str], bool],
    fields: StoredFields,
) -> Any:  # noqa: ANN401 - any JSON value
    """A value without the texts that go; None for a text that goes itself."""
    if isinstance(value, dict):
        kept = {}
        for name, item in value.items():
            # A map by numbers below a key is a list of values of that key.
            is_item = bool(key) and name.isdigit()
            if is_item or _is_kept_key(name, fields):
                held = _value(key if is_item else name, item, is_kept_text, fields)
                if held is not None or item is None:
                    kept[name] = held
        return kept
    if isinstance(value, list):
        items = (_value(key, item, is_kept_text, fields) for item in value)
        return [item for item in items if item is not None]
    if isinstance(value, str):
        return value if is_kept_text(key, value) else None
    return value


def _is_kept_key(key: str, fields: StoredFields) -> bool:
    name = key.lower()
    if name in KEYS_OF_NAMES and not fields.names:
        return False
    if name in _ADDRESSES and fields.addresses != "whole":
        return False
    return fields.texts or (bool(_KEY.fullmatch(key)) and name not in _SECRETS)


def _is_kept_text(fields: StoredFields, texts: Collection[str], key: str, value: str) -> bool:
    if fields.texts or key in texts or key in fields.keys:
        return True
    if key == "":
        return bool(_RECORDING.fullmatch(value) or _NUMBER.fullmatch(value))
    if key == "cmivalue" and value in _SCORM_STATES:
        return True
    return bool((key in NUMBERS or key.lower().endswith("id")) and _NUMBER.fullmatch(value))


def _records(column: pa.ChunkedArray, change: Callable[[Any], Any]) -> pa.ChunkedArray:
    """A record column with other records, each distinct one changed once."""
    chunks = []
    for chunk in column.chunks:
        changed = [
            text if text is None else orjson.dumps(change(orjson.loads(text))).decode()
            for text in chunk.dictionary.to_pylist()
        ]
        # Records that differed may be equal now; each must stand in the dictionary once.
        values = pa.array(changed, pa.string()).dictionary_encode()
        indices = values.indices.take(chunk.indices)
        chunks.append(pa.DictionaryArray.from_arrays(indices, values.dictionary))
    return pa.chunked_array(chunks, column.type)


def _without_names(user: Any) -> Any:  # noqa: ANN401 - JSON values
    """The record of a user with null in place of names: it still shows that the user exists."""
    return {key: None if key in _USER_NAMES else value for key, value in user.items()}


def _nameless(records: pa.Array) -> dict[int, Any]:
    """Those of some records that `_without_names` has made, by their positions."""
    suspected = np.flatnonzero(pc.match_substring_regex(records, _NAMELESS).fill_null(False))
    texts = records.take(pa.array(suspected)).to_pylist()
    found = zip(suspected.tolist(), map(orjson.loads, texts), strict=True)
    return {position: record for position, record in found if _lacks_names(record)}


def _lacks_names(record: Any) -> bool:  # noqa: ANN401 - JSON values
    if not isinstance(record, dict) or not isinstance(record.get("id"), int):
        return False
    return all(record.get(name, "") is None for name in _USER_NAMES)


def _with_names(column: pa.ChunkedArray, users: Mapping[int, Record]) -> pa.ChunkedArray:
    chunks = []
    for chunk in column.chunks:
        texts = chunk.dictionary.to_pylist()
        for position, record in _nameless(chunk.dictionary).items():
            user = users.get(record["id"], {})
            names = {name: user.get(name) or "" for name in _USER_NAMES}
            texts[position] = orjson.dumps({**record, **names}).decode()
        dictionary = pa.array(texts, chunk.dictionary.type)
        chunks.append(pa.DictionaryArray.from_arrays(chunk.indices, dictionary))
    return pa.chunked_array(chunks, column.type)


def _object(fields: StoredFields, value: Any) -> Any:  # noqa: ANN401 - JSON values
    """A record of the column ``object``, and the records in it."""
    if isinstance(value, list):
        return [_object(fields, item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("table") == "user" and not fields.names:
        value = _without_names(value)
    if not fields.texts:
        value = _without_texts(value)
    return {key: _object(fields, item) for key, item in value.items()}


def _without_texts(record: Mapping[str, Any]) -> dict[str, Any]:
    table = record.get("table")
    gone = {*_ANSWERS, *_TEXTS_OF_TABLES.get(str(table), ())}
    if table == "event" and record.get("eventtype") == "user":
        gone.add("name")
    gone.update(
        key
        for key in _RATED_ANSWERS
        if isinstance(record.get(key), str) and not _NUMBERS_OF_ANSWER.fullmatch(record[key])
    )
    return {key: item for key, item in record.items() if key not in gone}
