"""Whether a document is valid Caliper: an event, an entity describe or an envelope, of 1.2 or 1.1.

The rules for entities and values are in ``entity_rules``, the tables in ``vocabulary``. This
module has the rules for whole documents.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entity_rules import (
    anonymous_type,
    entity_problems,
    missing,
    property_problems,
    value_type_problems,
)
from caliper_dagster.caliper.problems import Problem, Problems, found, shown, shown_term
from caliper_dagster.caliper.ruleset import (
    PLAIN_KINDS,
    Ruleset,
    is_iri,
    ruleset_of_context,
)
from caliper_dagster.caliper.versions import VERSIONS
from caliper_dagster.caliper.vocabulary import ENVELOPE_PROPERTIES

_CONTEXTS = tuple(version.context for version in VERSIONS)
_TOO_DEEP = "the document is nested too deeply"
_EVENT_MARKS = frozenset({"actor", "action", "object", "eventTime"})


def validate(document: object, *, strict: bool = False) -> Problems:
    """Find out what is wrong with a document. Nothing is raised, whatever it is.

    Args:
        document: an event, an entity describe or an envelope, as decoded JSON or as JSON text. A
            decoder must keep integers and floats apart, as Python's and orjson do: 10.0 and 10 are
            not the same to Caliper.
        strict: count what only should not be, too: null or empty values at any depth, what the
            JSON-LD context does not define, blank nodes, other contexts, an event of 1.2 without
            its most fitting profile, persons beside an anonymous actor. What this project sends is
            strictly valid; the published examples are not.

    Returns:
        The problems in the order of the document; none when it is valid.
    """
    if isinstance(document, str | bytes | memoryview):
        document, problems = parse(document)
        if problems:
            return problems
    try:
        return _document_problems(document, strict=strict)
    except RecursionError:
        return found("json", _TOO_DEEP)


def parse(text: str | bytes | memoryview) -> tuple[Any, Problems]:
    """Decode JSON text, which must be UTF-8 and name each property of an object once.

    Returns:
        What the text holds, and what is wrong with it as JSON.
    """
    repeated: list[Problem] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        item = dict(pairs)
        if len(item) < len(pairs):
            names = [name for name, _ in pairs]
            again = next(name for name in names if names.count(name) > 1)
            repeated.extend(found("json", f"the property {shown(again)} occurs twice"))
        return item

    try:
        decoded = text if isinstance(text, str) else bytes(text).decode("utf-8-sig")
        return json.loads(decoded, object_pairs_hook=once, parse_constant=_no_json), repeated
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        return None, found("json", f"the document is no JSON: {where}")
    except RecursionError:
        return None, found("json", _TOO_DEEP)
    except ValueError:
        return None, found("json", "the document is no JSON")


def _no_json(_: str) -> NoReturn:
    raise ValueError


def _document_problems(document: object, *, strict: bool) -> Problems:
    if not isinstance(document, dict):
        return found("json", "a document must be an object: an event, an entity or an envelope")
    if _is_envelope(document):
        return envelope_problems(document, strict=strict)
    rules = (
        ruleset_of_context(document["@context"], strict=strict) if "@context" in document else None
    )
    if rules is None:
        return found("required", "the document has no @context", "@context")
    if isinstance(rules, str):
        return found("context", rules, "@context")
    return item_problems(document, rules)


def _is_envelope(document: Mapping[str, Any]) -> bool:
    named = not document.keys().isdisjoint(ENVELOPE_PROPERTIES)
    return named and "type" not in document and "@context" not in document


def item_problems(item: Mapping[str, Any], rules: Ruleset) -> Problems:
    """What is wrong with an event or an entity describe whose context is known."""
    name = item.get("type")
    if is_event(item):
        return event_problems(item, rules)
    if isinstance(name, str) and name in vocabulary.VALUE_TYPES:
        return value_type_problems("the document", item, name, rules)
    return entity_problems(item, rules)


def is_event(item: Mapping[str, Any]) -> bool:
    """Whether a document is meant to be an event, by its type or else by what it has."""
    name = item.get("type")
    if isinstance(name, str) and name in vocabulary.EVENT_TYPES:
        return True
    return bool(_EVENT_MARKS & item.keys())


# Envelopes


def envelope_problems(envelope: Mapping[str, Any], *, strict: bool = False) -> Problems:
    """What is wrong with an envelope and all that it carries (1.2 Envelope; 1.1 section 5.2)."""
    problems = [*missing("an envelope", envelope, ENVELOPE_PROPERTIES)]
    for key, value in envelope.items():
        if key not in ENVELOPE_PROPERTIES:
            problems += found("envelope", f"an envelope has no property {shown(key)}", key)
        else:
            for problem in _envelope_property(key, value, envelope, strict=strict):
                problems.append(problem.below(key))
    return problems


def _envelope_property(
    key: str, value: object, envelope: Mapping[str, Any], *, strict: bool
) -> Problems:
    if key == "sensor":
        right = is_iri(value) if strict else isinstance(value, str) and value
        return [] if right else found("envelope", "the sensor must be an IRI")
    if key == "sendTime":
        what, holds = PLAIN_KINDS["dt"]
        return [] if holds(value) else found("envelope", f"sendTime must be {what}")
    if key == "dataVersion":
        right = value in _CONTEXTS
        return [] if right else found("envelope", "dataVersion must be Caliper's context IRI")
    if not isinstance(value, list) or not value:
        return found("envelope", "data must be a list of at least one event or entity")
    return _data_problems(value, envelope.get("dataVersion"), strict=strict)


def _data_problems(data: Iterable[object], data_version: object, *, strict: bool) -> Problems:
    problems: list[Problem] = []
    for number, item in enumerate(data):
        for problem in _carried_problems(item, data_version, strict=strict):
            problems.append(problem.below(number))  # noqa: PERF401 - mostly there is none
    return problems


def _carried_problems(item: object, data_version: object, *, strict: bool) -> Problems:
    if not isinstance(item, dict) or _is_envelope(item):
        return found("envelope", "data must hold events and entities")
    rules = ruleset_of_context(item.get("@context"), strict=strict)
    if isinstance(rules, str):
        return found("context", rules, "@context")
    problems = item_problems(item, rules)
    if data_version in _CONTEXTS and rules.version.context != data_version:
        other = found("envelope", "the context is not of the envelope's dataVersion", "@context")
        return [*problems, *other]
    return problems


# Events


def event_problems(event: Mapping[str, Any], rules: Ruleset) -> Problems:
    """What is wrong with an event (1.2 Event, Events, Profiles; 1.1 sections 2.1 and 3)."""
    name, action = event.get("type"), event.get("action")
    if not rules.has_event_type(name):
        if name is None:
            return found("required", "the event has no type", "type")
        return found("type", f"{shown_term(name)} is no event type of {rules.version}", "type")
    owner = str(name)
    problems = property_problems(owner, event, rules.event(owner, action), rules)
    problems += missing(owner, event, vocabulary.required(owner, str(action)))
    if vocabulary.has_event_property("profile", rules.version):
        problems += _profile_problems(owner, event, rules)
    if rules.strict:
        problems += _named_beside_anonymous(event)
    return problems


def _profile_problems(name: str, event: Mapping[str, Any], rules: Ruleset) -> Problems:
    """Whether the profile is one that has such an event, strictly the most fitting one."""
    profile = event.get("profile")
    if profile is None:
        missing_one = rules.strict and "profile" not in event
        return found("profile", f"{name} has no profile", "profile") if missing_one else []
    if not isinstance(profile, str) or profile not in vocabulary.PROFILES:
        return []
    object_type = type_of(event.get("object"))
    if profile not in vocabulary.profiles(name, object_type):
        return found("profile", f"{profile} has no such {name}", "profile")
    if rules.strict and object_type and profile != vocabulary.profile(name, object_type):
        return found("profile", f"another profile than {profile} fits this {name}", "profile")
    return []


def type_of(value: object) -> str | None:
    """The type of an entity or of an anonymous one's IRI; None when it is not known."""
    name = value.get("type") if isinstance(value, dict) else anonymous_type(value)
    return name if isinstance(name, str) and name in vocabulary.ENTITY_TYPES else None


def _named_beside_anonymous(event: Mapping[str, Any]) -> Problems:
    """A person named beside an anonymous actor (1.2 Anonymous Entities: "group, membership")."""
    if anonymous_type(_id(event.get("actor"))) is None:
        return []
    problems: list[Problem] = []
    for slot, key in (("membership", "member"), ("session", "user"), ("federatedSession", "user")):
        holder = event.get(slot)
        person = holder.get(key) if isinstance(holder, dict) else None
        if person is not None and anonymous_type(_id(person)) is None:
            sentence = f"the actor is anonymous, {slot}.{key} is not"
            problems += [problem.below(slot) for problem in found("anonymous", sentence, key)]
    return problems


def _id(value: object) -> object:
    return value.get("id") if isinstance(value, dict) else value
