"""What of ``other``, the event data of a log row, may be sent.

``other`` is whatever a plugin writes. So nothing leaves because it looks harmless: a value leaves
because its key says what it is. The rules are in ``docs/privacy-texts.md``. ``expander.event_data``
decodes it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Literal

from caliper_dagster.translator.entities.classification import (
    INSTITUTIONAL_KEYS,
    NAMES_OF_PERSONS,
)
from caliper_dagster.translator.entities.registry import Render
from caliper_dagster.translator.identity import is_user_key

NEVER = frozenset(
    """
    address auth badgehash content debug email extrauserinfo idnumber ip key mfa oldvalue password
    privatetoken receivedconfigkey replace search secret sessionid sid sesskey token tokenid
    useragent username value
    """.split()
)
"""Keys of ``other`` that can hold secrets or persons: never sent, whatever a recipe allows."""

_NEVER_ENDS = ("password", "secret", "sesskey", "sessionid", "token", "tokenid")


def is_never_sent(key: str) -> bool:
    """Whether a key of ``other`` can hold a secret or a person, whatever a recipe allows."""
    lower = key.lower()
    return lower in NEVER or lower.endswith(_NEVER_ENDS)


_PLUGIN = r"h5p[a-z]{0,37}|[a-z_]{1,40}"
_SUBMISSION_STATES = "new|reopened|draft|submitted"
_SCORM_STATES = "passed|completed|failed|incomplete|browsed|not attempted|notattempted|unknown"

VOCABULARIES: Mapping[str, re.Pattern[str]] = {
    key: re.compile(values)
    for key, values in {
        "capability": r"[a-z]{1,40}/[a-z0-9_]{1,40}:[a-z0-9_]{1,80}",
        "cmivalue": _SCORM_STATES,
        "enrol": _PLUGIN,
        "itemmodule": _PLUGIN,
        "modulename": _PLUGIN,
        "newstatus": _SUBMISSION_STATES,
        "publishstate": "draft|site|public",
        "status": f"{_SUBMISSION_STATES}|{_SCORM_STATES}|locked|unlocked|open|closed",
        "submissionstatus": _SUBMISSION_STATES,
    }.items()
}
"""Keys of ``other`` that hold a word of Moodle's own enumerations, with its words: no free text.
What is no such word does not leave."""

NUMBERS = frozenset(
    """
    accessctrl action afterslotnumber anonymous archived badgetype category choiced cmivalue compare
    comparewith completionstate contenttype contextlevel course coursesectionnumber currentgrade
    currentworkshopphase datatype date delete discussion displaynumber end filesize
    filesubmissioncount finalgrade firstslotnumber format fromstart grade group groupanduser
    hasviewall itemtype mode module newgrade newgradeitem newmaxmark newstate newversion oldgrade
    oldpermission onlinetextwordcount operation option page pagetype permission previousgradeitem
    previousmaxmark previousslotnumber previousversion previousworkshopphase private reason
    recommend report requireprevious restored samesite sectionnum shuffle slot slotnumber
    slotsperpage start state status stepindex submissionattempt submissionstatus success tab target
    targetworkshopphase time timeend timefrom timestart type workshopphase
    """.split()
)
"""Keys under which the events of Moodle's core have numbers: grades, states, positions, times,
sizes. Under any other key a number may be a telephone number."""

INSTITUTIONAL = VOCABULARIES.keys() | INSTITUTIONAL_KEYS
"""Keys under which nothing leads to a person."""

_PERSONS_IDS = re.compile(
    r".*(?:account|author|card|contact|creator|employee|external|grader|holder|learner|leader"
    r"|manager|matriculation|member|mentor|national|number|owner|parent|participant|passport|person"
    r"|phone|recipient|receiver|reviewer|sender|social|staff|student|supervisor|tax|teacher|tutor"
    r"|uid|uuid)_?id|.*_?uuid"
)
"""Keys of unknown plugins that end in ``id`` and are more likely the id of a person."""

_MAX_TEXT_LENGTH = 200
_LARGEST_NUMBER = 10**10
"""Ids, times and sizes of files are smaller; telephone numbers with their country are not."""
_KEY = re.compile(r"[a-z_]{1,40}")
_ID = re.compile(r"-?[0-9]{1,18}")
_SMALL_ID = re.compile(r"-?[0-9]{1,10}")
_WORD = re.compile(r"[a-z_]{1,40}")
_SCALARS = frozenset({bool, int, float, str})

_Meaning = Literal["never", "user", "id", "word", "number", "flag", "unknown"]


def filtered_other(
    render: Render,
    other: object,
    allowed: Collection[str] = (),
    resolution: str = "fallback",
    *,
    institutional: bool = False,
) -> dict[str, Any] | None:
    """The values of the decoded ``other`` that may be sent.

    Args:
        render: makes the ids of users, and says whether names of persons leave.
        other: a decoded JSON value.
        allowed: keys whose numbers and text a recipe allows.
        resolution: how the recipe was found (``recipes.Resolution``). A recipe that names the event
            knows its numbers. Under a key that a site's recipe allows, any text is sent; under one
            that ours allow, only a word.
        institutional: only what leads to no person, for keyed privacy profiles: values under
            :data:`INSTITUTIONAL`, and of texts only words, whatever a recipe allows.

    Returns:
        Ids, booleans and words of :data:`VOCABULARIES`, each under a key that is an identifier;
        numbers under :data:`NUMBERS`; values under allowed keys. None if nothing remains, or if it
        is not a map. Lists and maps are never sent.
    """
    if not isinstance(other, dict):
        return None
    named = resolution in ("exact", "user")
    any_text = resolution == "user" and not institutional
    filtered = {}
    for key, value in other.items():
        if type(value) not in _SCALARS or len(key) > _MAX_TEXT_LENGTH:
            continue
        if institutional and key not in INSTITUTIONAL:
            continue
        meaning = _meaning(key, named)
        if meaning == "user" or (key == "itemid" and other.get("itemtype") == "user"):
            user = _of_user(render, value)
            if user is not None:
                filtered[key] = user
        elif meaning != "never" and (
            _is_known(key, value, meaning)
            or (key in allowed and _is_allowed(render, key, value, any_text=any_text))
        ):
            filtered[key] = value
    return filtered or None


def _of_user(render: Render, value: object) -> object:
    """The id of a user as the privacy profile has it; None for what is no id."""
    if isinstance(value, bool | float) or not _ID.fullmatch(str(value)):
        return None
    told = render.iris.of_user(value)
    return value if told == str(value) else told


@lru_cache(maxsize=10_000)
def _meaning(key: str, named: bool) -> _Meaning:
    """What a key says about its value; ``named``: whether a recipe names the event."""
    if is_never_sent(key):
        return "never"
    if is_user_key(key.lower()):
        return "user"
    if not _KEY.fullmatch(key):
        return "unknown"
    if key.endswith("id") and (named or not _PERSONS_IDS.fullmatch(key)):
        return "id"
    if named and key in NUMBERS:
        return "number"
    return "word" if key in VOCABULARIES else "flag"


def _is_known(key: str, value: bool | float | str, meaning: _Meaning) -> bool:
    """Whether a value is what its key means."""
    if isinstance(value, bool):
        return meaning != "unknown"
    if meaning == "id" and isinstance(value, int):
        return abs(value) < _LARGEST_NUMBER
    if meaning == "id":
        return isinstance(value, str) and bool(_SMALL_ID.fullmatch(value))
    if isinstance(value, str):
        words = VOCABULARIES.get(key)
        return words is not None and len(value) <= _MAX_TEXT_LENGTH and bool(words.fullmatch(value))
    return meaning == "number" and abs(value) < _LARGEST_NUMBER


def _is_allowed(render: Render, key: str, value: float | str, *, any_text: bool) -> bool:
    """Whether a value under a key that a recipe allows may be sent."""
    if key.lower() in NAMES_OF_PERSONS and not render.person.names:
        return False
    if not isinstance(value, str):
        return any_text or abs(value) < _LARGEST_NUMBER
    return 0 < len(value) <= _MAX_TEXT_LENGTH and bool(any_text or _WORD.fullmatch(value))
