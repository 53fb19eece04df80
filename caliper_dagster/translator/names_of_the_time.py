"""Names as they were at the time of a row, which the event data holds.

The tables tell what a thing is called today, or nothing when it is deleted. Where Moodle writes the
name into ``other``, the row tells what it was called then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from caliper_dagster.translator.rows import Indices, Rows


def _events(component: str, target: str, *verbs: str) -> list[str]:
    return [rf"\{component}\event\{target}_{verb}" for verb in verbs]


_LIFE = ("created", "updated", "deleted")


def _table() -> Iterable[tuple[Sequence[str], Mapping[str, Sequence[str]]]]:
    name = {"name": ("name",)}
    core = {
        "calendar_event": _LIFE,
        "contentbank_content": (*_LIFE, "uploaded", "viewed"),
        "course_category": ("deleted",),
        "tag": (*_LIFE, "flagged", "unflagged"),
        "user_info_category": _LIFE,
        "user_info_field": _LIFE,
    }
    for target, verbs in core.items():
        yield _events("core", target, *verbs), name
    yield _events("core_customfield", "category", *_LIFE), name
    yield _events("core_customfield", "field", *_LIFE), name
    yield _events("core_payment", "account", *_LIFE), name
    yield _events("core_reportbuilder", "report", *_LIFE, "viewed"), name
    yield (
        _events("core", "course", *_LIFE, "content_deleted", "started", "ended"),
        {"fullname": ("fullname",), "shortname": ("shortname",)},
    )
    yield _events("core", "course_section", "deleted"), {"name": ("sectionname",)}
    yield _events("core", "grade_item", *_LIFE), {"itemname": ("itemname",)}
    yield _events("core", "role", *_LIFE), {"name": ("name", "shortname")}
    yield _events("core", "tag", "added", "removed"), {"name": ("tagname",)}
    yield _events("mod_data", "field", *_LIFE), {"name": ("fieldname",)}
    yield _events("mod_glossary", "entry", *_LIFE), {"name": ("concept",)}
    yield _events("mod_quiz", "section_break", "created"), {"name": ("title",)}
    yield _events("mod_quiz", "section_title", "updated"), {"name": ("newtitle",)}
    yield _events("mod_wiki", "page", "viewed"), {"name": ("title",)}


NAMES: Mapping[str, Mapping[str, Sequence[str]]] = {
    event: keys for events, keys in _table() for event in events
}
"""By event: the names in the record of the column ``object``, and the keys of ``other`` that hold
each; the first key with a text counts. Names of activities are in the column ``module``."""


_OWN_TABLES = {
    r"\core\event\calendar_event_": "event",
    r"\core\event\tag_added": "tag_instance",
    r"\core\event\tag_removed": "tag_instance",
    r"\core\event\tag_": "tag",
    r"\mod_glossary\event\entry_": "glossary_entries",
    r"\mod_wiki\event\page_": "wiki_pages",
}
"""By the start of an event: the table of a name that is not the institution's, whatever the row
says. The class of the name goes by it."""


def put_into(rows: Rows, chosen: Indices) -> None:
    """Give the objects of some rows the names that they had at the time of the row.

    An object that is deleted gets a record of its table, id and name.
    """
    codes, names = rows.column("eventname")
    has_name = [name in NAMES for name in names]
    if not any(has_name):
        return
    selected = chosen[[has_name[code] for code in codes[chosen].tolist()]]
    columns = ("eventname", "objecttable", "objectid", "other", "object")
    combinations, inverse = rows.distinct(columns, selected)
    object_codes, objects = rows.column("object")
    changed = object_codes.copy()
    changed[selected] = len(objects) + inverse
    rows.add("object", changed, [*objects, *(_named(*values) for values in combinations)])


def _named(event: str, table: str | None, id_: int | None, other: Any, record: Any) -> Any:  # noqa: ANN401 - JSON values
    """The record of an object with the names that ``other`` holds."""
    if not isinstance(other, dict) or not (record is None or isinstance(record, dict)):
        return record
    names: dict[str, Any] = {}
    for name, keys in NAMES[event].items():
        texts = [other[key] for key in keys if isinstance(other.get(key), str) and other[key]]
        if texts:
            names[name] = texts[0]
    if not names or (record is None and not id_):
        return record
    whole = {**(record or {"table": table, "id": id_}), **names}
    own = _own_table(event)
    return whole | {"table": own} if own else whole


@cache
def _own_table(event: str) -> str | None:
    return next((own for start, own in _OWN_TABLES.items() if event.startswith(start)), None)
