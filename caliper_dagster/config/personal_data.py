"""The inventory of personal data: what comes from Moodle, where it ends up, and what decides.

The record of processing (``operations.privacy_report``) and the table of ``docs/privacy.md`` are
made from it. Tests compare it with the frames, the texts of the entity functions, the settings, and
events of each profile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from caliper_dagster.config.privacy import EffectivePrivacy
from caliper_dagster.core.privacy import TextClass
from caliper_dagster.core.stored_fields import StoredFields

Form = Callable[[EffectivePrivacy], str | None]
"""How something leaves under the privacy of an event store; None when it does not."""

ACTING = "persons who act in Moodle or are affected by an action"
ANYBODY = "persons who write texts, and those whom texts mention"
_PRIVACY = "CALIPER_PRIVACY"
_STORED_ADDRESSES = "CALIPER_STORED_ADDRESSES"
_STORED_NAMES = "CALIPER_STORED_NAMES"
_STORED_TEXTS = "CALIPER_STORED_TEXTS"


@dataclass(frozen=True, slots=True)
class PersonalData:
    """One kind of personal data.

    Attributes:
        name: what it is.
        whose: whose it is.
        moodle: tables and columns of Moodle that it comes from.
        events: properties of events that hold it, ``…`` for any path before the last names.
        form: how it leaves.
        switches: settings that decide whether and how it leaves.
        stored: columns of the stored tables that hold it, as ``frame.column``.
        text: its class, if it is a text.
        at_rest: the setting that leaves it out of stored log rows.
    """

    name: str
    whose: str
    moodle: str
    events: tuple[str, ...]
    form: Form
    switches: tuple[str, ...]
    stored: tuple[str, ...]
    text: TextClass | None = None
    at_rest: str | None = None

    def stored_as(self, fields: StoredFields) -> str | None:
        """Its name where log rows are stored with these fields; None if they are without it."""
        if self.at_rest == _STORED_ADDRESSES:
            forms = {"none": None, "truncated": f"{self.name}, truncated", "whole": self.name}
            return forms[fields.addresses]
        is_stored = {_STORED_NAMES: fields.names, _STORED_TEXTS: fields.texts}
        return self.name if is_stored.get(str(self.at_rest), True) else None


def _identifier(*kinds: str) -> Form:
    return lambda it: "as in Moodle" if not {*kinds}.isdisjoint(it.identifiers) else None


def _text(kind: TextClass) -> Form:
    return lambda it: "as in Moodle" if kind in it.texts else None


def _user_id(privacy: EffectivePrivacy) -> str:
    if privacy.profile.anonymous:
        return "nobody's: every person is Caliper's anonymous Person"
    return "as a pseudonym" if privacy.profile.keyed else "as in Moodle"


def _own_id(privacy: EffectivePrivacy) -> str | None:
    if privacy.profile.anonymous:
        return None
    return "as a keyed id" if privacy.profile.keyed else "as in Moodle"


def _number(privacy: EffectivePrivacy) -> str | None:
    return None if privacy.profile.keyed else "as in Moodle"


def _membership(privacy: EffectivePrivacy) -> str | None:
    return None if privacy.profile.anonymous else "as in Moodle"


def _time(privacy: EffectivePrivacy) -> str:
    precision = privacy.time_precision
    return "exact to the second" if precision == "second" else f"cut to the {precision}"


_LOG = "moodle_log"
_EXPANDED = "expanded_log"
_EVENTS = "caliper_events"
_USERS = tuple(f"{_EXPANDED}.{name}" for name in ("user", "realuser", "relateduser", "object"))
_OTHER = (f"{_LOG}.other", f"{_EXPANDED}.other")
_JSON = f"{_EVENTS}.json"

INVENTORY: tuple[PersonalData, ...] = (
    PersonalData(
        "user id", ACTING, "`user.id`; user ids in the log and in records",
        ("actor.id", "….assignee.id", "….member", "session.user", "….scoredBy",
         "extensions.runAs.id", "extensions.relatedUser.id", "extensions.actingAs.id"),
        _user_id, (_PRIVACY, "CALIPER_PSEUDONYM_KEY", "CALIPER_PSEUDONYM_BASE"),
        (*(f"{frame}.{name}" for frame in (_LOG, _EXPANDED)
           for name in ("userid", "relateduserid", "realuserid")),
         f"{_EVENTS}.actor_id", f"{_EVENTS}.object_id", *_USERS, _JSON),
    ),
    PersonalData(
        "first and last name", ACTING, "`user.firstname`, `user.lastname`", ("actor.name",),
        _text("person"), (_PRIVACY, "CALIPER_PERSON_NAMES"), (*_USERS, *_OTHER, _JSON), "person",
        _STORED_NAMES,
    ),
    PersonalData(
        "user name", ACTING, "`user.username`", ("actor.otherIdentifiers.identifier",),
        _identifier("AccountUserName"), (_PRIVACY, "CALIPER_PERSON_IDENTIFIERS"),
        (*_USERS, *_OTHER, _JSON), "person",
        _STORED_NAMES,
    ),
    PersonalData(
        "e-mail address", ACTING, "`user.email`", ("actor.otherIdentifiers.identifier",),
        _identifier("EmailAddress"), (_PRIVACY, "CALIPER_PERSON_IDENTIFIERS"),
        (*_USERS, *_OTHER, _JSON), "person",
        _STORED_NAMES,
    ),
    PersonalData(
        "idnumber (such as a matriculation number)", ACTING, "`user.idnumber`",
        ("actor.otherIdentifiers.identifier",), _identifier("SisSourcedId", "LisSourcedId"),
        (_PRIVACY, "CALIPER_PERSON_IDENTIFIERS"), (*_USERS, *_OTHER, _JSON), "person",
        _STORED_NAMES,
    ),
    PersonalData(
        "IP address", "persons who act in Moodle", "`logstore_standard_log.ip`",
        ("extensions.moodle.ip",),
        lambda it: "as in Moodle" if it.ip_addresses else None,
        (_PRIVACY, "CALIPER_IP_ADDRESSES"), (f"{_LOG}.ip", f"{_EXPANDED}.ip", _JSON),
        at_rest=_STORED_ADDRESSES,
    ),
    PersonalData(
        "roles and enrolment in a course", ACTING, "`role_assignments`, `user_enrolments`",
        ("membership.roles", "membership.status"), _membership, (_PRIVACY,),
        tuple(f"{_EXPANDED}.{name}_membership" for name in ("user", "realuser", "relateduser")),
    ),
    PersonalData(
        "session: log-in and log-out", "persons who act in Moodle", "log rows of log-ins",
        ("session.id", "session.startedAtTime", "session.endedAtTime"), _own_id, (_PRIVACY,),
        (f"{_EXPANDED}.session", _JSON),
    ),
    PersonalData(
        "ids of what belongs to one person: attempts, submissions, posts, grades", ACTING,
        "ids of the tables of activities", ("object.id", "generated.id", "….attempt.id"),
        _own_id, (_PRIVACY,), (f"{_EXPANDED}.object", f"{_EVENTS}.object_id", _JSON),
    ),
    PersonalData(
        "ids of log rows and of their records", ACTING, "`logstore_standard_log.id`, `.objectid`",
        ("extensions.moodle.logId", "extensions.moodle.objectId", "extensions.moodle.other"),
        _number, (_PRIVACY,),
        (*(f"{frame}.{name}" for frame in (_LOG, _EXPANDED)
           for name in ("id", "objectid", "contextid", "contextinstanceid")),
         f"{_EXPANDED}.module", f"{_EXPANDED}.unresolved", f"{_EVENTS}.log_id",
         f"{_EVENTS}.event_id", "emission_results.event_ids", *_OTHER, _JSON),
    ),
    PersonalData(
        "grades, scores, completion", ACTING, "`grade_grades`, tables of activities",
        ("….scoreGiven", "….maxScore", "….resultScore"), lambda _: "as in Moodle", (_PRIVACY,),
        (f"{_EXPANDED}.object", _JSON),
    ),
    PersonalData(
        "what was done, when, in which course", ACTING, "`logstore_standard_log`",
        ("action", "object", "group", "eventTime"), _time, ("CALIPER_TIME_PRECISION",), (_JSON,),
    ),
    PersonalData(
        "texts that a person wrote: subjects, tags, search terms, answers, names of plans", ANYBODY,
        "`forum_posts`, `forum_discussions`, `tag`, `question_attempts`, `competency_plan`, …",
        ("….name", "….tags", "….searchTerms", "….value", "….values", "….selections"),
        _text("personal"), (_PRIVACY, "CALIPER_FREE_TEXT"),
        (f"{_EXPANDED}.object", *_OTHER, _JSON), "personal", _STORED_TEXTS,
    ),
    PersonalData(
        "texts of a group: names of groups, concepts of glossaries, options of choices", ANYBODY,
        "`groups`, `cohort`, `glossary_entries`, `choice_options`",
        ("….name", "….selections", "….identifier"), _text("shared"), (_PRIVACY,),
        (f"{_EXPANDED}.object", _JSON), "shared",
    ),
    PersonalData(
        "texts of the institution: names of courses and activities", ANYBODY,
        "`course`, tables of activities",
        ("….name", "….courseNumber", "….identifier", "….version", "….selections"),
        _text("institutional"), (_PRIVACY,), (_JSON,), "institutional",
    ),
    PersonalData(
        "what an event store answered about an event that it rejected", ACTING, "the event store",
        (), lambda _: None, (), ("emission_results.error",),
    ),
)  # fmt: skip
"""All personal data that the project reads, stores or sends."""
