"""The tables and events of ``docs/migrate.md``: what the plugin sent, and what is sent now.

Both come from the same rows of the real site: the plugin's from what it made of them, ours from the
translation of the dump.
"""

from __future__ import annotations

import gzip
import html
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from textwrap import fill
from typing import Any

from caliper_dagster_tests.harness.paths import DATA
from caliper_dagster_tests.real_site.prescription import ANONYMOUS
from caliper_dagster_tests.real_site.site import NAMES, Event

_WIDTH = 100
_WIDTH_OF_TEXT = 120
_LONGEST_TEXT = 100
_NO_ROWS = (
    "The site has no such activity, which is a plugin of its own; its views have the recipe of all "
    "activities and look like those of the other names."
)
_REASONS = {
    "swallowed Exception: Record not found.": "a record was gone",
    "swallowed dml_read_exception: Error reading from database": "it asked for a wrong table",
    "guard: userid and relateduserid both < 1": "no user",
}

WHY: Mapping[str, str] = {
    "user_loggedin": (
        "A log-in belongs to no course: the plugin put it into the front page's, as a learner "
        "there. The session is an entity by its own id, on log-out too."
    ),
    "user_loggedout": (
        "A log-out belongs to no course. The plugin sent PHP's session id, which is a secret, in "
        "the place of an LTI session; here the session is an entity whose id leads to no cookie."
    ),
    "course_viewed": (
        "A course section may not be the object of a NavigationEvent in Caliper 1.1 and 1.2: the "
        "course's page is viewed, and the course is the group."
    ),
    "course_module_viewed": (
        "The plugin's id counts activities of each kind by itself, so that quiz 5 and page 5 are "
        "one thing, and its type is no term of Caliper. Here the id is the activity's address, "
        "the same in views, attempts and grades."
    ),
    "attempt_viewed": "The plugin made it a view of the quiz, and the attempt was lost.",
    "attempt_reviewed": "The plugin made it a view of the quiz, and the attempt was lost.",
    "attempt_started": (
        "Object and generated entity are what Caliper's Assessment Profile asks for: the quiz, "
        "and the attempt. A quiz without dates has none, instead of 1970."
    ),
    "attempt_submitted": (
        "Object and generated entity are what Caliper's Assessment Profile asks for: the quiz, "
        "and the attempt with the time that it took."
    ),
    "assessable_submitted": (
        "An assignment is an AssignableEvent. Attempts count from 1, no date is no date, and a "
        "scale is no negative maximum."
    ),
    "submission_graded": (
        "The plugin's attempt had the id of the teacher, so that no graded attempt was a "
        "submitted one, the achieved grade was the maximum, and each grading of the same work "
        "told the newest grade. Here the attempt is the learner's, and the score the one of that "
        "time. The plugin lost a grading without a comment."
    ),
    "user_report_viewed": (
        "The plugin looked the user up as if it were an activity, and always failed."
    ),
}
"""Why the events of a kind differ, by the end of their names."""


def kind(name: str) -> str:
    """The last part of an event name, which the plugin treats alike."""
    return name.rpartition("\\")[2]


def reference() -> dict[str, list[dict[str, Any]]]:
    """What the plugin made of each row of its names, in the order of the log."""
    found = defaultdict(list)
    with gzip.open(DATA / "reference_logstore_caliper.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            found[row["eventname"]].append(row)
    return found


def written(events: Mapping[int, Event]) -> str:
    """The generated part of the page: a table of all names, then both events of each."""
    rows = reference()
    return "\n".join([*_in_short(rows), "", *_in_detail(rows, events)])


def _in_short(rows: Mapping[str, list[dict[str, Any]]]) -> Iterable[str]:
    yield "| Moodle event | Log rows | Sent by the plugin | Lost by the plugin | Sent now |"
    yield "|---|---|---|---|---|"
    for name in _names():
        found = rows.get(name, [])
        sent = sum(row["outcome"] == "sent" for row in found)
        link = f"[`{name}`](#{_anchor(name)})"
        yield f"| {link} | {len(found)} | {sent} | {_lost(found)} | {len(found)} |"


def _names() -> list[str]:
    """The names, activities by name and the other kinds first."""
    return sorted(NAMES, key=lambda name: (kind(name) == "course_module_viewed", name))


def _anchor(name: str) -> str:
    return "".join(part for part in name.lower() if part.isalnum() or part == "_")


def _lost(rows: list[dict[str, Any]]) -> str:
    reasons = Counter(_REASONS[row["reason"]] for row in rows if row["outcome"] == "dropped")
    most = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
    return f"{reasons.total()} ({most})" if reasons else "0"


def _in_detail(
    rows: Mapping[str, list[dict[str, Any]]], events: Mapping[int, Event]
) -> Iterable[str]:
    for name in _names():
        yield f"### `{name}`"
        yield ""
        yield fill(WHY[kind(name)], _WIDTH_OF_TEXT, break_long_words=False)
        yield ""
        if name not in rows:
            yield fill(_NO_ROWS, _WIDTH_OF_TEXT)
            yield ""
            continue
        example = _example(rows[name], events)
        before, now = _plugins(example), events[example["logid"]]
        yield from _comparison(before, now)
        if example["outcome"] == "sent":
            yield from _details("logstore_caliper", before)
        else:
            yield f"The plugin sent nothing: {_REASONS[example['reason']]}."
            yield ""
        yield from _details("caliper_dagster", now)


def _example(rows: list[dict[str, Any]], events: Mapping[int, Event]) -> dict[str, Any]:
    """A row of a known person that the plugin sent, if it sent any, with the most usual properties
    of our events; of those the one with the shortest event, which is read most easily."""
    known = [row for row in rows if _is_known(events[row["logid"]]["actor"])]
    sent = [row for row in known if row["outcome"] == "sent"] or known
    usual, _ = Counter(_form(events[row["logid"]]) for row in sent).most_common(1)[0]
    alike = [row for row in sent if _form(events[row["logid"]]) == usual]
    return min(alike, key=lambda row: (len(json.dumps(events[row["logid"]])), row["logid"]))


def _is_known(actor: Event) -> bool:
    return bool(actor["type"] == "Person" and actor["id"] != ANONYMOUS)


def _form(event: Event) -> tuple[str, ...]:
    return (event["type"], event["action"], *sorted(event), *sorted(event["object"]))


def _plugins(row: dict[str, Any]) -> dict[str, Any]:
    """The plugin's event without properties that say nothing."""
    sent = row["outcome"] == "sent"
    event: dict[str, Any] = _said(row["envelope"]["data"][0]) if sent else {}
    return event


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _said(item) for key, item in value.items() if item not in (None, "", {}, [])}
    return [_said(item) for item in value] if isinstance(value, list) else value


_QUESTIONS: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
    ("type", lambda event: event.get("type", event.get("@type"))),
    ("action", lambda event: event.get("action")),
    *(
        (name, lambda event, name=name: event.get(name))
        for name in ("actor", "object", "target", "generated", "group", "session")
    ),
    ("`membership.roles`", lambda event: event.get("membership", {}).get("roles")),
)


def _comparison(before: Mapping[str, Any], now: Event) -> Iterable[str]:
    yield "| | logstore_caliper | caliper_dagster |"
    yield "|---|---|---|"
    for name, value in _QUESTIONS:
        left, right = _short(value(dict(before))), _short(value(now))
        if left != right:
            yield f"| {name} | {left or 'none'} | {right or 'none'} |"
    yield ""


def _short(value: Any) -> str:
    """A value in a cell: of an entity its type and address, of terms their last part."""
    if isinstance(value, dict):
        kind = str(value.get("type", value.get("@type", ""))).rpartition("/")[2]
        return f"{kind} `{value.get('id', value.get('@id'))}`"
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    if value is None:
        return ""
    return f"`{str(value).rpartition('#')[2].rpartition('/')[2]}`"


def _details(title: str, event: Mapping[str, Any]) -> Iterable[str]:
    yield f"<details><summary>{html.escape(title)}</summary>"
    yield ""
    yield "```json"
    yield pretty(event)
    yield "```"
    yield ""
    yield "</details>"
    yield ""


def pretty(value: Any, depth: int = 0) -> str:
    """JSON whose objects stand on one line where they fit; long texts are cut."""
    if isinstance(value, str) and len(value) > _LONGEST_TEXT and "://" not in value[:10]:
        value = f"{value[:_LONGEST_TEXT]}…"
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + depth <= _WIDTH or not isinstance(value, dict | list):
        return flat
    if isinstance(value, list):
        start, end, parts = "[", "]", [pretty(item, depth + 2) for item in value]
    else:
        start, end = "{", "}"
        parts = [f"{json.dumps(key)}: {pretty(item, depth + 2)}" for key, item in value.items()]
    inside = ",\n".join(" " * (depth + 2) + part for part in parts)
    return f"{start}\n{inside}\n{' ' * depth}{end}"
