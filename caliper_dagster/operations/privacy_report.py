"""The record of processing: what data of whom goes where, from the settings of all sites.

It has what Article 30 of the GDPR asks of a record and the settings can tell. What only the
institution knows (its name, the purpose, the legal basis) is left to be filled in. It holds no
secret: addresses without user information, path and query, and no key.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from caliper_dagster.config.event_stores import (
    EventFilter,
    EventStoreDefinition,
    event_stores,
)
from caliper_dagster.config.patterns import Patterns, Selection
from caliper_dagster.config.personal_data import INVENTORY, PersonalData
from caliper_dagster.config.row_filter import Origins, PersonSet
from caliper_dagster.config.settings import Settings, declared
from caliper_dagster.config.stored_fields import storage_keys, stored_fields
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.folder_url import is_folder
from caliper_dagster.core.frames import CALIPER_EVENTS, FRAMES
from caliper_dagster.core.wording import plural

NAME = "record-of-processing"

_SETTINGS_AT_REST = (
    "CALIPER_FILE_MODE",
    "CALIPER_STORED_ADDRESSES",
    "CALIPER_STORED_NAMES",
    "CALIPER_STORED_TEXTS",
    "CALIPER_ERASE_DELETED_USERS",
    "CALIPER_ALLOWED_FIELDS",
)
"""Settings that say how data is kept, beside those of retention and the key of the storage."""

_FOR_EVER = "for ever: no setting limits it"


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the document.

    Attributes:
        kind: ``h1`` to ``h3`` for headings, ``p`` for a paragraph, ``list`` or ``table``.
        lines: its text, items or rows; the first row of a table is its header.
    """

    kind: Literal["h1", "h2", "h3", "p", "list", "table"]
    lines: Sequence[Sequence[str]]


def write_report(sites: Sequence[Settings], folder: Path) -> list[Path]:
    """Write the record of processing in Markdown and HTML; files of the same name are replaced.

    Args:
        sites: the settings of all sites.
        folder: made if it does not exist.

    Returns:
        The files.

    Raises:
        ConfigurationError: the folder cannot be written to, the file of event stores is wrong, a
            key is missing or wrong, or an event store is to get what is not stored.
        RecipeError: a recipe of the site is wrong.
    """
    blocks = list(record(sites))
    texts = {f"{NAME}.md": markdown(blocks), f"{NAME}.html": html_page(blocks)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--output cannot be written to ({error.strerror}).") from None
    return [folder / name for name in texts]


def record(sites: Sequence[Settings]) -> Iterator[Block]:
    """The parts of the record of processing."""
    yield _heading(1, "Record of processing: learning events of Moodle")
    yield _paragraph(
        "Made by `caliper-dagster privacy report` from the settings in force. It describes what "
        "this installation of caliper_dagster reads from Moodle, stores, and sends. The first "
        "table is the institution's to fill in (Article 30 (1) GDPR)."
    )
    yield _table(
        ("Item", "Entry"),
        [
            ("Controller, representative, data protection officer", "…"),
            ("Purposes of the processing", "…"),
            ("Legal basis", "…"),
            ("Transfers to third countries, and their safeguards", "…"),
        ],
    )
    for settings in sites:
        yield from _site(settings)
    yield _heading(2, "Rights of persons")
    yield _list(
        [
            "Access and portability (Articles 15 and 20): `caliper-dagster person export USER`.",
            "Erasure (Article 17): `caliper-dagster person erase USER`; it lists the events that "
            "the owner of each event store is to delete.",
            "Finding a person behind a pseudonym, for those who may: `caliper-dagster person "
            "pseudonym USER --destination NAME`; it needs the key of the event store.",
            "Objection and consent (Articles 7 and 21): filters of rows of each event store.",
        ]
    )


def _site(settings: Settings) -> Iterator[Block]:
    yield _heading(2, f"Site {settings.moodle_wwwroot or '(MOODLE_WWWROOT is not set)'}")
    yield _paragraph(
        "Data subjects: learners, teachers and staff with an account in this Moodle site. Source: "
        "Moodle's database, read only. Special categories of data (Article 9) are not intended; "
        "texts that persons write may hold them."
    )
    stores = event_stores(settings)
    if not stores:
        yield _paragraph("No event store is set: nothing is sent.")
    for store in stores:
        yield from _destination(store)
    yield _heading(3, "Stored by this installation")
    yield _stored(settings, stores)
    yield _paragraph(
        "Who can see it: whoever can read the storage, and whoever may enter Dagster's web UI, "
        "which shows numbers, names of Moodle events and messages, and no contents of events. The "
        "ledger holds ids of events and hashes of contents, no contents."
    )
    yield _heading(3, "Settings that decide how data is kept")
    yield _table(("Setting", "Value"), list(_values(settings)))


def _destination(store: EventStoreDefinition) -> Iterator[Block]:
    privacy = store.effective_privacy
    keys = _keys(store)
    yield _heading(3, f"Recipient: {store.label}")
    yield _list(
        [
            f"Address: {_address(store)}",
            f"Privacy profile: {privacy.profile.name}{keys}",
            f"Caliper version: {store.caliper_version}",
            f"Times of events: {_precision(privacy.time_precision)}",
            "Before an hour is sent, its events are searched for values of persons that the "
            "profile forbids; with one, the hour is not sent.",
        ]
    )
    rows = [
        (
            item.name,
            item.whose,
            item.form(privacy) or "not sent",
            ", ".join(f"`{name}`" for name in item.switches) or "no setting",
        )
        for item in INVENTORY
        if item.events
    ]
    yield _table(("Data", "Of whom", "Sent", "Decided by"), rows)
    yield from _filter(store.filter)


def _keys(store: EventStoreDefinition) -> str:
    """How many keys the ids of persons are made with; the keys are read as for events."""
    try:
        keys = store.pseudonym_keys()
    except ConfigurationError as error:
        raise ConfigurationError(store.sentence(error)) from None
    if keys is None:
        return ""
    _, *later = (since for since, _ in keys.keys)
    number = plural(len(keys.keys), "key")
    return f" ({number}{''.join(f'; another one from {since} on' for since in later)})"


_RULES: Mapping[str, Callable[[Any], str]] = {
    "opt_out": lambda it: f"that name a person who opted out: {_persons(it)}",
    "opt_in": lambda it: f"that name somebody who has not opted in: {_persons(it)}",
    "guests": lambda _: "of guests",
    "login_as": lambda _: "of somebody who is logged in as another user",
    "service_accounts": lambda it: (
        f"of service accounts ({plural(len(it.exclude), 'entry', 'entries')})"
    ),
    "origins": lambda it: f"by origin: {_selected(it)}",
    "courses": lambda it: f"by course: {_selected(it)}",
    "categories": lambda it: f"by course category: {_selected(it)}",
    "roles": lambda it: f"by role of the acting user: {_selected(it)}",
    "minimum_learners": lambda it: f"of courses with fewer than {plural(it, 'learner')}",
    "moodle_events": lambda it: f"by event of Moodle: {_selected(it)}",
    "caliper_types": lambda it: f"by type of Caliper: {_selected(it)}",
}
"""Which rows or events a rule keeps back, in words, by its value."""


def _filter(filter_: EventFilter) -> Iterator[Block]:
    """The rules by which an event store gets less than all."""
    rows, rules = filter_.rows, {name: getattr(filter_.rows, name) for name in filter_.rows.rules}
    of_events = {
        name: value
        for name in ("moodle_events", "caliper_types")
        if (value := getattr(filter_, name)) != Patterns()
    }
    if not rules and not of_events:
        yield _paragraph("Filter: none. Events of all log rows are sent.")
        return
    if rules:
        yield _paragraph(
            f"Filter of rows ({rows.digest}): of the following log rows no event is made for this "
            "event store."
        )
        yield _table(("Rule", "Log rows"), _rules(rules))
    if of_events:
        yield _paragraph("Filter of events: the following events are made, and are not sent.")
        yield _table(("Rule", "Events"), _rules(of_events))


def _rules(values: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(f"`{name}`", _RULES[name](value)) for name, value in values.items()]


def _persons(persons: PersonSet) -> str:
    said = [
        f"cohorts {_quoted(persons.cohorts)}" if persons.cohorts else "",
        f"the file `{persons.users_file}`" if persons.users_file else "",
    ]
    return " and ".join(filter(None, said))


def _selected(selection: Selection | Patterns | Origins) -> str:
    """What a selection lets pass and keeps back."""
    said = [
        f"all but {_quoted(selection.include)}" if selection.include else "",
        _quoted(selection.exclude),
    ]
    return ", and ".join(filter(None, said))


def _quoted(entries: Iterable[object]) -> str:
    return ", ".join(f"`{entry}`" for entry in entries)


def _precision(precision: str) -> str:
    if precision == "second":
        return "exact to the second, which nearly always tells one person's events apart"
    return f"cut to the {precision}"


def _address(store: EventStoreDefinition) -> str:
    address = store.address()
    if not address:
        return "not set"
    if is_folder(address):
        parts = urlsplit(address)
        return f"folder {parts.scheme}://{parts.hostname or ''}" if parts.scheme else address
    return urlsplit(address).hostname or "not a URL"


def _stored(settings: Settings, stores: Sequence[EventStoreDefinition]) -> Block:
    days = dict(settings.keep_partitions or ())
    rows = []
    fields = stored_fields(settings)
    for frame in FRAMES:
        held = [item for item in INVENTORY if _is_in(item.stored, frame.name)]
        if frame is CALIPER_EVENTS:
            names = [item.name for item in held if _leaves(item, stores)]
        else:
            names = [name for item in held if (name := item.stored_as(fields))]
        kept = days.get(frame.name)  # type: ignore[call-overload]
        rows.append(
            (f"`{frame.name}`", "; ".join(names), plural(kept, "day") if kept else _FOR_EVER)
        )
    batches, runs = settings.keep_superseded_batches, settings.keep_runs
    rows.append(("ledger", "ids of events", _days(batches, "superseded batches")))
    rows.append(("Dagster's records of runs", "none intended", _days(runs, "runs")))
    logs = settings.keep_compute_logs
    rows.append(("output of steps", "none intended", _days(logs, "compute logs")))
    return _table(("Where", "Personal data", "Kept"), rows)


def _leaves(item: PersonalData, stores: Sequence[EventStoreDefinition]) -> bool:
    """Whether the events of one of the stores, which are stored as they are sent, hold it."""
    return any(item.form(store.effective_privacy) for store in stores)


def _days(days: int | None, what: str) -> str:
    return f"{what}: {plural(days, 'day')}" if days else _FOR_EVER


def _is_in(stored: Iterable[str], frame: str) -> bool:
    return any(name.partition(".")[0] == frame for name in stored)


def _values(settings: Settings) -> Iterator[tuple[str, str]]:
    is_encrypted = storage_keys(settings) is not None
    yield "`CALIPER_STORAGE_KEY`", "set: stored hours are encrypted" if is_encrypted else "not set"
    known = declared()
    for name in _SETTINGS_AT_REST:
        value = getattr(settings, known[name].key)
        shown = ", ".join(value) if isinstance(value, tuple) else str(value).lower()
        yield f"`{name}`", shown or "none"


# Writing


def _heading(level: Literal[1, 2, 3], text: str) -> Block:
    kinds: dict[int, Literal["h1", "h2", "h3"]] = {1: "h1", 2: "h2", 3: "h3"}
    return Block(kinds[level], [[text]])


def _paragraph(text: str) -> Block:
    return Block("p", [[text]])


def _list(items: Iterable[str]) -> Block:
    return Block("list", [[item] for item in items])


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Block:
    return Block("table", [header, *rows])


def markdown(blocks: Iterable[Block]) -> str:
    """The document in Markdown."""
    return "\n".join(_in_markdown(block) for block in blocks)


def _in_markdown(block: Block) -> str:
    if block.kind == "table":
        header, *rows = ([cell.replace("|", "\\|") for cell in line] for line in block.lines)
        lines = [header, ["---"] * len(header), *rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)
    start = {"h1": "# ", "h2": "## ", "h3": "### ", "list": "* "}.get(block.kind, "")
    return "".join(f"{start}{line[0]}\n" for line in block.lines)


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;width:100%;margin:1em 0}"
    "th,td{border:1px solid #999;padding:.3em .6em;text-align:left;vertical-align:top}"
    "h2{margin-top:2em}code{font-size:.9em}"
)


def html_page(blocks: Sequence[Block]) -> str:
    """The document as a page of HTML that needs nothing else."""
    title = html.escape(blocks[0].lines[0][0])
    body = "\n".join(_in_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _in_html(block: Block) -> str:
    if block.kind == "table":
        header, *rows = block.lines
        lines = [_row("th", header), *(_row("td", row) for row in rows)]
        return "<table>\n" + "\n".join(lines) + "\n</table>"
    if block.kind == "list":
        items = "\n".join(f"<li>{_inline(line[0])}</li>" for line in block.lines)
        return f"<ul>\n{items}\n</ul>"
    return f"<{block.kind}>{_inline(block.lines[0][0])}</{block.kind}>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells) + "</tr>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
