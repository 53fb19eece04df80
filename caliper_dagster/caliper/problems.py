"""Problems of a Caliper document: the place, the broken rule, and a sentence without values.

Values of events can be personal, so no sentence and no path holds one. Both can hold names of
types, properties and terms of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

RULES = {
    "json": "1.2 Serialization; 1.1 section 4",
    "context": "1.2 JSON-LD Context; 1.1 section 4.1",
    "term": "1.2 JSON-LD Context; 1.1 section 4.1",
    "required": "1.2 Event, Entity; 1.1 sections 2.1 and 2.2",
    "property": "1.2 Event, Entity; 1.1 sections 2.1 and 2.2",
    "empty": "1.2 Event, Entity; 1.1 sections 2.1 and 2.2",
    "type": "1.2 Events, Entities; 1.1 sections 2 and 3, Appendix B",
    "id": "1.2 Event, Entity, Identifiers; 1.1 sections 2.1, 2.2 and 4.2",
    "anonymous": "1.2 Anonymous Entities",
    "value": "1.2 Types and Type Coercion, Entities; 1.1 section 4",
    "action": "1.2 Events, Actions; 1.1 section 3, Appendix B",
    "slot": "1.2 Profiles, Events; 1.1 section 3, Appendix B",
    "profile": "1.2 Profiles",
    "reference": "1.2 Types and Type Coercion, Event, Attempt; 1.1 sections 2.1 and 4",
    "envelope": "1.2 Envelope; 1.1 section 5.2",
    "table": "caliper_dagster.core.frames.CALIPER_EVENTS",
}
"""Section of the standard by id of the rule; the last rule is this project's own."""

_NAME = re.compile(r"@?[A-Za-z_][\w.:/#-]{0,99}", re.ASCII)
_POSITION = re.compile(r"/[0-9]+")
_TERM = re.compile(r"[A-Z][A-Za-z]{0,49}(#[A-Z][A-Za-z-]{0,49})?")


@dataclass(frozen=True, slots=True)
class Problem:
    """One violation of a rule.

    Attributes:
        path: JSON pointer to the value; a key that does not look like a name is shown as ``?``.
        rule: one of :data:`RULES`.
        sentence: description of the violation.
    """

    path: str
    rule: str
    sentence: str

    @property
    def section(self) -> str:
        """The section of the standard that states the rule."""
        return RULES[self.rule]

    @property
    def kind(self) -> Problem:
        """The problem with a ``*`` for each position in a list: the same in many documents."""
        return Problem(_POSITION.sub("/*", self.path), self.rule, self.sentence)

    def below(self, key: object) -> Problem:
        """The same problem, seen from the object or list that holds this one under ``key``."""
        return Problem(f"/{_pointer(key)}{self.path}", self.rule, self.sentence)


Problems = Sequence[Problem]


def violation(rule: str, sentence: str, key: object = None) -> list[Problem]:
    """A list with one problem: of an object itself, or of its value under ``key``."""
    return [Problem("" if key is None else f"/{_pointer(key)}", rule, sentence)]


def article(types: str) -> str:
    """Types (``A|B``) with their article."""
    return ("an " if types[0] in "AEIOUaeiou" else "a ") + types.replace("|", " or ")


def shown(name: object) -> str:
    """A name as a sentence shows it; anything that does not look like a name is hidden."""
    return name if isinstance(name, str) and _NAME.fullmatch(name) else "…"


def shown_term(term: object) -> str:
    """A type, action, profile or role as a sentence shows it."""
    return term if isinstance(term, str) and _TERM.fullmatch(term) else "this"


def _pointer(key: object) -> str:
    if isinstance(key, int):
        return str(key)
    if isinstance(key, str) and _NAME.fullmatch(key):
        return key.replace("~", "~0").replace("/", "~1")
    return "?"
