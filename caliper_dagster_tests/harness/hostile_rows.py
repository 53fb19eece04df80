"""Log rows with hostile content, and what none of their events may hold.

Event data is PHP or JSON, whole or damaged. Columns hold what Moodle never writes into them.
Recipes of a site are drawn, too. Marks stand where persons' texts may stand: a *secret* one leaves
under no profile, a *personal* one only where personal texts may, an id of a *user* under none with
a key. The same seed draws the same rows.
``benchmarks/hostile_rows.py`` translates a million of them.
"""

from __future__ import annotations

import random
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pyarrow as pa

from caliper_dagster.caliper.versions import VersionName
from caliper_dagster.core.errors import RecipeError
from caliper_dagster.core.privacy import PROFILES, ProfileName
from caliper_dagster.expander.event_data import decode_column
from caliper_dagster.translator import Recipes, Translator, load_recipes
from caliper_dagster.translator.event_data_filter import (
    INSTITUTIONAL,
    NEVER,
    NUMBERS,
    VOCABULARIES,
)
from caliper_dagster.translator.example import example_row, example_table
from caliper_dagster.translator.identity import is_user_key
from caliper_dagster.translator.recipes import PathEntity

SITE = "https://moodle.example.org"
VERSIONS: tuple[VersionName, ...] = ("v1p2", "v1p1")

ACTOR, LEARNER = 7_700_000_051, 7_700_000_021
"""Users of the rows; their ids leave under no keyed profile."""


def full_width(text: str) -> str:
    """Letters and digits as they stand among Chinese characters; Python reads the digits, too."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in text)


SECRETS = (
    "Geheimmark Öztürk", "Geheimmark@example.org", "+49 151 Geheimmark", "geheimmark/../x",
    "Geheimmark\u0000\u2028", "GEHEIMMARK '\"<&>", "o'Geheimmark \\u00e9",
    # in other spellings
    "R2VoZWltbWFyayDDlnp0w7xyaw==", "%47eheimmark%20%C3%96zt%C3%BCrk",
    "&#71;eheimmark&nbsp;&Ouml;zt&uuml;rk", full_width("Geheimmark"), r"\u0047eheimmark\u0020Ada",
    "geheimmark@xn--mnchen-3ya.example", full_width("4915177000001"), "mailto:geheimmark@x.example",
    "Bericht_Geheimmark@example.org.pdf", f"{SITE}/user/profile.php?id={LEARNER}&n=Geheimmark",
    orjson.dumps(orjson.dumps({"name": "Geheimmark", "userid": LEARNER}).decode()).decode(),
    'O:8:"stdClass":1:{s:4:"name";s:10:"Geheimmark";}',
)  # fmt: skip
PERSONAL = ("Privatwort eins", "Re: Privatwort", "privatwort, zwei")
NUMBERS_OF_PERSONS = (4_915_177_000_001, 4_915_177_000_002.5, -4_915_177_000_003)
"""Telephone numbers: no number of these digits leaves, unless an id of the row has them."""

IN_EVENTS = {
    "secret": re.compile(r"eheimmark|R2VoZWltbWFyay|4915177|4\.915177", re.IGNORECASE),
    "personal": re.compile(r"privatwort", re.IGNORECASE),
    "user": re.compile(r"(?<![0-9a-f-])77000000(?:21|51)(?![0-9a-f])"),
}

_PERSONAL_KEYS = ("query", "q", "searchterm", "tagrawname", "tagname", "rawname")
_INSTITUTION_KEYS = (
    "name", "fullname", "shortname", "sectionname", "itemname", "fieldname", "title", "newtitle",
    "concept",
)  # fmt: skip
_HARMLESS = ("Algebra", "", "0", "Week 1", "x" * 300, "<b>A</b> & B")
_SECRET_KEYS = (
    *sorted(NEVER), "content", "note", "subject", "message", "info", "url", "loggedinasusername",
    "nickname", "originalusername", "phone", "Phone", "p4711", "matrikelnummer", "filename",
    "itemtype", "function", "reportname", "mode", "requestedqtype", "contenthash", "compare",
    "badgetype", "modulename", "cmielement", "status", "enrol", "capability", "room", "",
)  # fmt: skip
_ID_KEYS = ("itemid", "attemptid", "courseid", "userid", "relateduserid", "discussionid", "quizid",
            "competencyid", "messageid", "optionid", "submissionid", "slot", "page")  # fmt: skip
_ID_KEYS_OF_THINGS = tuple(key for key in _ID_KEYS if not is_user_key(key))
_IDS_OF_PERSONS = ("4915177000001", full_width("4915177000001"), 4_915_177_000_001)
"""What a number of telephone is under a key of something else than a user."""
_IDS = (0, 1, -1, 3, 7, "7", "0", "x", "", None, 2**31, 2**63 - 1, -20, True, 1.5, "1e5", "²")
_TABLES = (
    "user", "course", "groups", "cohort", "event", "event_subscriptions", "forum_posts", "tag",
    "forum_discussions", "wiki_pages", "competency_plan", "post", "quiz_attempts", "local_x", "",
    None, "blog_external", "competency_userevidence",
)  # fmt: skip
_USER_LEVEL = 30
_PLUGINS = ("mod_zoom", "local_x", "core", "mod_quiz", "mod_forum", "tool_lp", "block_x")
_VERBS = ("created", "viewed", "updated", "deleted", "searched", "submitted", "graded", "sent")


class Draw:
    """Draws hostile rows from a seed."""

    def __init__(self, seed: int, events: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._events = events

    def one(self, values: Sequence[Any]) -> Any:
        return self._random.choice(values)

    def often(self, chance: float) -> bool:
        return self._random.random() < chance

    def secret(self, *, users: bool = True) -> Any:
        """A text or a telephone number of a person, or the id of a user."""
        kind = self._random.randrange(9)
        if kind == 0:
            return self.one(NUMBERS_OF_PERSONS)
        if kind == 3 and users:
            return self.one((LEARNER, str(ACTOR), f"user-{LEARNER}"))
        if kind == 1:
            return [self.one(SECRETS), {"id": 1, "name": self.one(SECRETS)}]
        if kind == 2:
            return {self.one(SECRETS): self.one(SECRETS), "userid": self.one(SECRETS)}
        text = self.one(SECRETS)
        return text * 200 if self.often(0.02) else text

    def event_data(self) -> dict[str, Any]:
        """A map with secrets under any key where nothing of persons may leave."""
        data: dict[str, Any] = {}
        for _ in range(self._random.randrange(6)):
            kind = self._random.randrange(7)
            if kind == 0:
                data[self.one(_PERSONAL_KEYS)] = self.one(PERSONAL)
            elif kind == 1:
                data[self.one(_INSTITUTION_KEYS)] = self.one(_HARMLESS)
            elif kind == 2:
                data[self.one(_ID_KEYS)] = self.one(_IDS)
                data[self.one(("userid", "relateduserid", "submitterid"))] = self.one(
                    (LEARNER, str(ACTOR), None)
                )
                data[self.one(_ID_KEYS_OF_THINGS)] = self.one((*_IDS, *_IDS_OF_PERSONS))
            elif kind == 3:
                data[self.one(sorted(NUMBERS))] = self.one((*_IDS, 2.5, "draft"))
            elif kind == 4:
                data[self.one(SECRETS)] = self.one((*_IDS, True, self.secret()))
            elif kind == 5:
                # A number under such a key is one of Moodle's states.
                secret = self.secret(users=False)
                data[self.one(sorted(VOCABULARIES))] = self.one(("draft", "quiz", secret))
            else:
                key = self.one(_SECRET_KEYS)
                data[key] = self.secret(users=key not in INSTITUTIONAL)
        return data

    def stored(self) -> str | None:
        """Event data as it is stored, at times damaged."""
        if self.often(0.02):
            damaged = (None, "", "N;", "null", "[]", '"x"', "{", "a:1:{", "[" * 3000, "NaN")
            return cast("str | None", self.one(damaged))
        data: Any = self.event_data()
        if self.often(0.05):
            data = self.one((self.one(SECRETS), [self.secret()], self.secret()))
        text = self.as_php(data) if self.often(0.5) else orjson.dumps(data).decode()
        if self.often(0.02):
            text = orjson.dumps(text).decode()
        if self.often(0.05):
            text = text.replace("Ö", "\\u00d6")
        if self.often(0.05):
            place = self._random.randrange(len(text) + 1)
            text = text[:place] + self.one(("", "\ufffd", '"', ";", "}", "0")) + text[place + 1 :]
        return text

    def as_php(self, data: Any) -> str:
        """PHP, at times with an object, a member that only its class sees, or a reference."""
        text = _php(data)
        if not isinstance(data, dict) or not data or self.often(0.8):
            return text
        kind = self._random.randrange(4)
        if kind == 0:
            return f'O:8:"stdClass"{text[1:]}'
        if kind == 1:
            members = {f"\0*\0{key}": value for key, value in data.items()}
            return f'O:10:"Geheimmark"{_php(members)[1:]}'
        if kind == 2:
            return f'a:2:{{s:1:"a";{text}s:1:"b";{self.one(("R:1;", "r:2;", "R:99;"))}}}'
        return f'C:10:"Geheimmark":{len(text)}:{{{text}}}'

    def name(self) -> str:
        if self.often(0.6):
            return str(self.one(self._events))
        if self.often(0.1):
            text = self.one(SECRETS)
            return str(self.one((text, rf"\local_x\event\{text}_viewed")))
        target = self.one(("", "thing_", "x_report_"))
        return rf"\{self.one(_PLUGINS)}\event\{target}{self.one(_VERBS)}"

    def row(self, number: int) -> dict[str, Any]:
        """The columns of a row, without ``other``."""
        row = example_row(self.name(), id=number, other=None)
        if row["component"].startswith("u0047"):  # which has the form of a plugin's name
            row["component"] = "local_x"
        row["objecttable"] = self.one(_TABLES)
        row["contextlevel"] = self.one((10, 30, 40, 50, 70, 0, None))
        row["crud"] = self.one("crud")
        row["objectid"] = self.one((7, 7, 7, None, 0, -1, 2**62))
        row["anonymous"] = self.one((0, 0, 0, 0, 1))
        row["object"] = self.record(row["eventname"], row["objecttable"])
        row |= {"userid": ACTOR, "relateduserid": self.one((LEARNER, LEARNER, ACTOR, None))}
        row["user_membership"] = row["user_membership"] | {"user": ACTOR}
        if row["contextlevel"] == _USER_LEVEL:
            row["contextinstanceid"] = LEARNER
        if row["objecttable"] == "user" and _goes_by_table(row["eventname"]):
            row["objectid"] = self.one((LEARNER, ACTOR))
        if self.often(0.2):
            row["unresolved"] = [f"user:{LEARNER}", "course:3", f"forum_posts:{ACTOR}"]
        if self.often(0.1):
            row["module"] = None
        if self.often(0.1):
            row["origin"] = self.one(("cli", "ws", "restore", None))
        if self.often(0.2):
            column = self.one(
                ("component", "target", "action", "objecttable", "origin", "crud", "ip")
            )
            row[column] = self.one(SECRETS)
        row["ip"] = row.get("ip") or self.one(SECRETS)
        return row

    def record(self, event: str, table: str | None) -> dict[str, Any] | None:
        """The record of the object, with what a learner wrote where the table says so."""
        if self.often(0.3):
            return None
        private = table in ("event", "event_subscriptions")
        text = self.one(SECRETS if private else PERSONAL)
        kind = self.one(("user", None)) if private else None
        record: dict[str, Any] = {
            "id": 7, "table": table, "userid": self.one((LEARNER, None, "x")), "eventtype": kind,
            "subject": self.one(PERSONAL), "parent": self.one((0, 3)), "discussion": 5,
        }  # fmt: skip
        # A function of an event's own knows the table; another table's record never comes to it.
        if _goes_by_table(event) and table not in ("course", "groups", "cohort"):
            record |= {"name": text, "title": text}
        item = {
            "id": 1, "slot": 1, "questionid": 3, "state": "complete", "maxmark": 2.0,
            "qtype": self.one(("shortanswer", "multichoice", "essay")), "fraction": 1.0,
            "typ": self.one(("textarea", "multichoice", "numeric", "captcha")),
            "presentation": "r>>>>>one|two", "value": self.one(PERSONAL),
            "answer1": self.one(PERSONAL), "responsesummary": self.one(PERSONAL),
        }  # fmt: skip
        results = [{"id": 1, "subcontent": self.one(SECRETS), "rawscore": 1, "maxscore": 2}]
        answer = {"id": 3, "useranswer": self.one(PERSONAL), "correct": 1}
        return record | {"items": [item], "results": results, "answer": answer, "qtype": 1}

    def recipe(self, *, names: bool) -> str:
        """A recipe file of a site; it may be wrong. It allows no key whose mark then leaves.

        Args:
            names: whether names of persons may leave.
        """
        event = self.one((r"\local_x\event\thing_viewed", r"*_viewed", r"\mod_zoom\event\created"))
        path = self.one(
            (
                "x.php?id={objectid}", "x.php?id={other.room}#{target}", "{other}#{cmid}",
                "x.php?u={other.userid}&r={relateduserid}", "course/view.php?id={other.phone}",
                "{component}/{other.query}?q={other.url}#{other.attemptid}", "#{userid}",
            )
        )  # fmt: skip
        text = (
            f"[{{events: ['{event}'], pattern: X, type: {self.one(('Event', 'ViewEvent'))},"
            f" action: {self.one(('Viewed', 'Created', 'Used'))},"
            f" object: {{type: {self.one(('WebPage', 'Entity', 'Thread'))}, path: '{path}'}},"
            f" other: [{self.one(('option', 'tab', 'token', 'tab' if names else 'nickname'))}]}}]"
        )
        if self.often(0.2):
            place = self._random.randrange(len(text))
            text = (
                text[:place] + self.one(("", "&a [*a]", "\x00", "}", "!!x ", "\t")) + text[place:]
            )
        return text


def _goes_by_table(event: str) -> bool:
    """Whether the table of the row decides what the object is, and not the event."""
    recipe = load_recipes().exact.get(event)
    return recipe is None or isinstance(recipe.object, PathEntity)


def _php(value: Any) -> str:
    """A value as PHP's ``serialize`` writes it."""
    if value is None:
        return "N;"
    if isinstance(value, bool):
        return f"b:{int(value)};"
    if isinstance(value, int):
        return f"i:{value};"
    if isinstance(value, float):
        return f"d:{value};"
    if isinstance(value, str):
        return f's:{len(value.encode())}:"{value}";'
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return f"a:{len(value)}:{{{''.join(_php(key) + _php(item) for key, item in pairs)}}}"


@dataclass
class Findings:
    """What was seen.

    Attributes:
        rows: how many rows were translated.
        outcomes: how many outcomes of each kind.
        leaks: for each leak the profile, the event name and the kind of mark.
        refused: recipe files that were refused.
        slowest: seconds of the slowest batch.
    """

    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    leaks: list[tuple[str, str, str, str]] = field(default_factory=list)
    refused: int = 0
    slowest: float = 0.0


def translator_of(profile: ProfileName, version: VersionName, recipes: Recipes) -> Translator:
    """A translator whose events tell what a profile lets leave."""
    is_full = profile == "full"
    return Translator(
        SITE,
        version=version,
        profile=profile,
        key=b"key of the event store" if PROFILES[profile].keyed else None,
        person_names=is_full,
        person_identifiers=("SystemId", "AccountUserName") if is_full else ("SystemId",),
        recipes=recipes,
    )


def examine(
    rows: int, seed: int = 1, batch: int = 2_000, report: Callable[[Findings], None] | None = None
) -> Findings:
    """Translate hostile rows under each profile, and search the events for marks.

    Args:
        rows: how many.
        seed: of the first batch; each further batch has the next one.
        batch: how many are translated at once.
        report: is told the findings after each batch.
    """
    findings = Findings()
    events = sorted(load_recipes().exact)
    turns = [(profile.name, version) for profile in PROFILES.values() for version in VERSIONS]
    for turn in range(-(-rows // batch)):
        draw = Draw(seed + turn, events)
        profile, version = turns[turn % len(turns)]
        recipes = load_recipes()
        try:
            recipes = recipes.with_user_recipes(
                [("site.yaml", draw.recipe(names=profile == "full"))]
            )
        except RecipeError:
            findings.refused += 1
        number = min(batch, rows - findings.rows)
        began = time.perf_counter()
        found = translator_of(profile, version, recipes).translate(_expanded(draw, number))
        findings.slowest = max(findings.slowest, time.perf_counter() - began)
        findings.rows += number
        findings.outcomes.update(found["outcome"].to_pylist())
        findings.leaks += _leaks(found, profile, version)
        if report:
            report(findings)
    return findings


def _expanded(draw: Draw, number: int) -> pa.Table:
    stored = pa.chunked_array([pa.array([draw.stored() for _ in range(number)], pa.string())])
    decoded = decode_column(stored)[0].to_pylist()
    rows = [draw.row(place + 1) | {"other": text} for place, text in enumerate(decoded)]
    return example_table(rows)


_SEARCHED = ("json", "reason", "actor_id", "object_id", "group_id", "recipe")
"""Columns of events in which nothing of a person may stand that may not leave."""


def _leaks(found: pa.Table, profile: str, version: str) -> Iterator[tuple[str, str, str, str]]:
    kinds = {"secret"}
    if "personal" not in PROFILES[profile].texts:
        kinds.add("personal")
    if PROFILES[profile].keyed:
        kinds.add("user")
    events = found["event_name"].to_pylist()
    for column in _SEARCHED:
        texts = found[column].cast(pa.string()).to_pylist()
        for event, text in zip(events, texts, strict=True):
            # Full-width digits and letters are the same ones to a reader.
            whole = text if not text or text.isascii() else unicodedata.normalize("NFKC", text)
            for kind in kinds:
                if whole and IN_EVENTS[kind].search(whole):
                    yield profile, version, kind, str(event)
