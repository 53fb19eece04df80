"""What may be kept of the text that an event store answers: no secret, and nothing of the events.

An answer can quote what it answers to: the key, in the spelling of JSON or base64 or broken over
lines, and the event with a person's name in it. The text is kept in logs, in the ledger and in
``emission_results``, where neither belongs.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

import orjson

HIDDEN = "***"
_QUOTED = "…"
_MAX_WORDS = 200
_SHORTEST = 4
_NAME = re.compile(r"[^\W_](?:[\w'\u2019-]*[^\W_])?")
_NOTHING = re.compile(r"[\s\\]+")
_VOCABULARY = {"@context", "type", "action", "profile", "roles", "status", "dataVersion"}
"""Properties of an event whose values are words of the standard, which tell nothing of a person."""


def plain_words(text: str) -> str:
    """The text on one line, without markup and control characters."""
    plain = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    return "".join(letter for letter in plain if letter.isprintable()).rstrip(".")


def shortened(words: str) -> str:
    """The words, cut to 200 characters."""
    return words if len(words) <= _MAX_WORDS else words[: _MAX_WORDS - 1] + "…"


def repeats_secret(text: str, secrets: Iterable[str]) -> bool:
    """Whether a text holds a secret in another spelling: with backslashes, spaces or in base64."""
    squeezed = _NOTHING.sub("", text)
    return any(
        form in squeezed
        for secret in secrets
        if len(secret) >= _SHORTEST
        for form in (_NOTHING.sub("", secret), *_in_base64(secret))
    )


def without_quotes(words: str, envelope: bytes) -> str:
    """The words; what stands in the events that were sent is replaced by ``…``.

    Args:
        words: what the event store said.
        envelope: the JSON that it answers to. Words of the standard (types, actions) stay.
    """
    try:
        sent = orjson.loads(envelope)
    except orjson.JSONDecodeError:
        return ""
    values = {text for text in _texts(sent) if len(text) > 1}
    spellings = {form for value in values for form in (value, quote(value), _escaped(value))}
    quoted = sorted((form for form in spellings if form in words), key=len, reverse=True)
    for value in quoted:
        words = words.replace(value, _QUOTED)
    names = {
        name.casefold()
        for value in values
        for name in _NAME.findall(value)
        # The words of an IRI are those of Moodle's paths; its numbers tell a user.
        if len(name) > 2 and (name.isdigit() or ":/" not in value)
    }
    return _NAME.sub(lambda m: _QUOTED if m[0].casefold() in names else m[0], words)


def _texts(value: object) -> Iterator[str]:
    """The values in a document that may tell something of a person, numbers as text."""
    if isinstance(value, dict):
        for name, held in value.items():
            if name not in _VOCABULARY:
                yield from _texts(held)
    elif isinstance(value, list):
        for held in value:
            yield from _texts(held)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _escaped(value: str) -> str:
    """The text as JSON spells it where everything but ASCII is escaped."""
    return json.dumps(value)[1:-1]


def _in_base64(secret: str) -> Iterator[str]:
    """What is certain of the secret in base64, at each place where it may begin in a triple."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        # The first characters mix with what stands before, the last with what follows.
        core = encoded[(0, 2, 3)[before] : -1]
        if len(core) >= _SHORTEST:
            yield core
            yield core.replace("+", "-").replace("/", "_")
