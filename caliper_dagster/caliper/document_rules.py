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
    missing_properties,
    property_problems,
    value_type_problems,
)
from caliper_dagster.caliper.problems import Problem, Problems, shown, shown_term, violation
from caliper_dagster.caliper.references import References
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


def validate(
    document: object, *, strict: bool = False, references: References | None = None
) -> Problems:
    """Find the problems of a document. It never raises, whatever the document is.

    Args:
        document: an event, an entity describe or an envelope, as decoded JSON or as JSON text. A
            decoder must distinguish integers from floats, as Python's and orjson do: Caliper
            distinguishes 10.0 from 10.
        strict: also report what the standard only advises against: null or empty values at any
            depth, terms that the JSON-LD context does not define, blank nodes, other contexts, an
            event of 1.2 without its most fitting profile, persons named in an event whose actor is
            anonymous; and what 1EdTech's ``caliper-python`` refuses: an OpenEndedResponse without
            value, a ViewEvent on a Result. What this project sends is strictly valid; the
            published examples are not.
        references: what earlier documents say about IRIs. This document must agree with them, and
            is remembered. Without it, a document must only agree with itself.

    Returns:
        The problems in the order of the document; none when it is valid.
    """
    if isinstance(document, str | bytes | memoryview):
        document, problems = parse(document)
        if problems:
            return problems
    try:
        problems = _document_problems(document, strict=strict)
    except RecursionError:
        return violation("json", _TOO_DEEP)
    known = References() if references is None else references
    return [*problems, *_reference_problems(document, known, strict=strict)]


def _reference_problems(document: object, known: References, *, strict: bool) -> Problems:
    """Where a document, or what an envelope carries, contradicts what is known of an IRI."""
    if not isinstance(document, dict):
        return []
    if _is_envelope(document):
        data = document.get("data")
        return [
            problem.below(number).below("data")
            for number, item in enumerate(data if isinstance(data, list) else [])
            if isinstance(item, dict) and not _is_envelope(item)
            for problem in _reference_problems(item, known, strict=strict)
        ]
    ruleset = ruleset_of_context(document.get("@context"), strict=strict)
    return [] if isinstance(ruleset, str) else known.problems(document, ruleset)


def parse(text: str | bytes | memoryview) -> tuple[Any, Problems]:
    """Decode JSON text, which must be UTF-8 and name each property of an object once.

    Returns:
        The decoded value, and the problems of the text as JSON.
    """
    repeated: list[Problem] = []

    def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        item = dict(pairs)
        if len(item) < len(pairs):
            keys = [key for key, _ in pairs]
            duplicate = next(key for key in keys if keys.count(key) > 1)
            repeated.extend(violation("json", f"the property {shown(duplicate)} occurs twice"))
        return item

    try:
        decoded = text if isinstance(text, str) else bytes(text).decode("utf-8-sig")
        return json.loads(
            decoded, object_pairs_hook=without_repetition, parse_constant=_no_json
        ), repeated
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        return None, violation("json", f"the document is no JSON: {where}")
    except RecursionError:
        return None, violation("json", _TOO_DEEP)
    except ValueError:
        return None, violation("json", "the document is no JSON")


def _no_json(_: str) -> NoReturn:
    raise ValueError


def _document_problems(document: object, *, strict: bool) -> Problems:
    if not isinstance(document, dict):
        return violation("json", "a document must be an object: an event, an entity or an envelope")
    if _is_envelope(document):
        return envelope_problems(document, strict=strict)
    rules = (
        ruleset_of_context(document["@context"], strict=strict) if "@context" in document else None
    )
    if rules is None:
        return violation("required", "the document has no @context", "@context")
    if isinstance(rules, str):
        return violation("context", rules, "@context")
    return item_problems(document, rules)


def _is_envelope(document: Mapping[str, Any]) -> bool:
    has_envelope_property = not document.keys().isdisjoint(ENVELOPE_PROPERTIES)
    return has_envelope_property and "type" not in document and "@context" not in document


def item_problems(item: Mapping[str, Any], rules: Ruleset) -> Problems:
    """The problems of an event or an entity describe whose context is known."""
    name = item.get("type")
    if is_event(item):
        return event_problems(item, rules)
    if isinstance(name, str) and name in vocabulary.VALUE_TYPES:
        return value_type_problems("the document", item, name, rules)
    return entity_problems(item, rules)


def is_event(item: Mapping[str, Any]) -> bool:
    """Whether a document is meant to be an event, by its type, or else by its properties."""
    name = item.get("type")
    if isinstance(name, str) and name in vocabulary.EVENT_TYPES:
        return True
    return bool(_EVENT_MARKS & item.keys())


# Envelopes


def envelope_problems(envelope: Mapping[str, Any], *, strict: bool = False) -> Problems:
    """The problems of an envelope and of its data (1.2 Envelope; 1.1 section 5.2)."""
    problems = [*missing_properties("an envelope", envelope, ENVELOPE_PROPERTIES)]
    for key, value in envelope.items():
        if key not in ENVELOPE_PROPERTIES:
            problems += violation("envelope", f"an envelope has no property {shown(key)}", key)
        else:
            for problem in _envelope_property(key, value, envelope, strict=strict):
                problems.append(problem.below(key))
    return problems


def _envelope_property(
    key: str, value: object, envelope: Mapping[str, Any], *, strict: bool
) -> Problems:
    if key == "sensor":
        valid = is_iri(value) if strict else isinstance(value, str) and value
        return [] if valid else violation("envelope", "the sensor must be an IRI")
    if key == "sendTime":
        what, holds = PLAIN_KINDS["dt"]
        return [] if holds(value) else violation("envelope", f"sendTime must be {what}")
    if key == "dataVersion":
        valid = value in _CONTEXTS
        return [] if valid else violation("envelope", "dataVersion must be Caliper's context IRI")
    if not isinstance(value, list) or not value:
        return violation("envelope", "data must be a list of at least one event or entity")
    return _data_problems(value, envelope.get("dataVersion"), strict=strict)


def _data_problems(data: Iterable[object], data_version: object, *, strict: bool) -> Problems:
    problems: list[Problem] = []
    for number, item in enumerate(data):
        for problem in _item_problems_in_envelope(item, data_version, strict=strict):
            problems.append(problem.below(number))  # noqa: PERF401 - usually there is none
    return problems


def _item_problems_in_envelope(item: object, data_version: object, *, strict: bool) -> Problems:
    if not isinstance(item, dict) or _is_envelope(item):
        return violation("envelope", "data must hold events and entities")
    rules = ruleset_of_context(item.get("@context"), strict=strict)
    if isinstance(rules, str):
        return violation("context", rules, "@context")
    problems = item_problems(item, rules)
    if data_version in _CONTEXTS and rules.version.context != data_version:
        mismatch = violation(
            "envelope", "the context is not of the envelope's dataVersion", "@context"
        )
        return [*problems, *mismatch]
    return problems


# Events


def event_problems(event: Mapping[str, Any], rules: Ruleset) -> Problems:
    """The problems of an event (1.2 Event, Events, Profiles; 1.1 sections 2.1 and 3)."""
    name, action = event.get("type"), event.get("action")
    if not rules.has_event_type(name):
        if name is None:
            return violation("required", "the event has no type", "type")
        return violation("type", f"{shown_term(name)} is no event type of {rules.version}", "type")
    owner = str(name)
    problems = property_problems(owner, event, rules.event(owner, action), rules)
    problems += missing_properties(owner, event, vocabulary.required(owner, str(action)))
    if vocabulary.has_event_property("profile", rules.version):
        problems += _profile_problems(owner, event, rules)
    if rules.strict:
        problems += _viewed_result(owner, event)
        problems += _named_with_anonymous_actor(event)
    return problems


def _profile_problems(name: str, event: Mapping[str, Any], rules: Ruleset) -> Problems:
    """Whether the profile has such an event, and strictly whether it is the most fitting one."""
    profile = event.get("profile")
    if profile is None:
        is_missing = rules.strict and "profile" not in event
        return violation("profile", f"{name} has no profile", "profile") if is_missing else []
    if not isinstance(profile, str) or profile not in vocabulary.PROFILES:
        return []
    object_type = type_of(event.get("object"))
    if profile not in vocabulary.profiles(name, object_type):
        return violation("profile", f"{profile} has no such {name}", "profile")
    if rules.strict and object_type and profile != vocabulary.profile(name, object_type):
        return violation("profile", f"another profile than {profile} fits this {name}", "profile")
    return []


def _viewed_result(name: str, event: Mapping[str, Any]) -> Problems:
    """A ViewEvent of a Result: legal in the Grading Profile, and refused by ``caliper-python``."""
    if name != "ViewEvent" or type_of(event.get("object")) != "Result":
        return []
    return violation("slot", "some readers refuse a ViewEvent on a Result", "object")


def type_of(value: object) -> str | None:
    """The type of an entity, or of the IRI of an anonymous one; None if it is unknown."""
    name = value.get("type") if isinstance(value, dict) else anonymous_type(value)
    return name if isinstance(name, str) and name in vocabulary.ENTITY_TYPES else None


def _named_with_anonymous_actor(event: Mapping[str, Any]) -> Problems:
    """Persons named in an event with an anonymous actor (1.2 Anonymous Entities, "membership")."""
    if anonymous_type(_id(event.get("actor"))) is None:
        return []
    problems: list[Problem] = []
    for slot, key in (("membership", "member"), ("session", "user"), ("federatedSession", "user")):
        holder = event.get(slot)
        person = holder.get(key) if isinstance(holder, dict) else None
        if person is not None and anonymous_type(_id(person)) is None:
            sentence = f"the actor is anonymous, {slot}.{key} is not"
            problems += [problem.below(slot) for problem in violation("anonymous", sentence, key)]
    return problems


def _id(value: object) -> object:
    return value.get("id") if isinstance(value, dict) else value
