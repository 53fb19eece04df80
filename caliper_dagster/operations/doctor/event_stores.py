"""The event stores: whether each answers, accepts the credential and knows the Caliper version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import combinations

from caliper_dagster.config.event_stores import EventStoreDefinition, require_event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.wording import plural
from caliper_dagster.emitter.envelopes import context_iri
from caliper_dagster.operations.doctor.findings import Finding, broken, fine, warn


def event_stores(settings: Settings) -> Iterator[Finding]:
    """The findings about each event store of a site."""
    stores = require_event_stores(settings)
    for store in stores:
        subject = f"Event store {store.name}" if store.name else "Event store"
        try:
            yield from _event_store(store, subject)
        except CaliperDagsterError as error:
            yield broken(subject, store.sentence(error))
        yield from _privacy(store)
    yield from _shared_keys(stores)


def _privacy(store: EventStoreDefinition) -> Iterator[Finding]:
    """What leaves for an event store, and whether its keys can be read."""
    subject = f"Privacy {store.name}" if store.name else "Privacy"
    try:
        keys = store.pseudonym_keys()
    except CaliperDagsterError as error:
        yield broken(subject, store.sentence(error))
        return
    privacy = store.effective_privacy
    sent = [
        ("names", privacy.names),
        ("identifiers (" + ", ".join(privacy.identifiers) + ")", bool(privacy.identifiers)),
        ("IP addresses", privacy.ip_addresses),
        ("texts of persons", "personal" in privacy.texts),
    ]
    leaves = " and ".join(what for what, is_sent in sent if is_sent) or "no names"
    times = "" if privacy.time_precision == "second" else f"; times to the {privacy.time_precision}"
    number = "" if keys is None else f"; {plural(len(keys.keys), 'key')} of pseudonyms"
    yield fine(subject, f"profile {privacy.profile.name}; {leaves} of persons{times}{number}")


def _shared_keys(stores: Sequence[EventStoreDefinition]) -> Iterator[Finding]:
    """A warning about each two event stores that have a key in common."""
    keys: dict[str | None, set[str]] = {}
    for store in stores:
        with suppress(CaliperDagsterError):  # reported with the event store
            schedule = store.pseudonym_keys()
            keys[store.name] = {key for _, key in schedule.schedule().keys} if schedule else set()
    for one, other in combinations(keys, 2):
        if keys[one] & keys[other]:
            yield warn(
                "Pseudonyms",
                f"the event stores {one} and {other} have the same key, so whoever has the events "
                "of both can join the same person.",
                "Give each event store a key of its own, unless they belong together; "
                "docs/connect-event-store.md says what another key means for what was sent.",
            )


def _event_store(store: EventStoreDefinition, subject: str) -> Iterator[Finding]:
    suffix = f" {store.name}" if store.name else ""
    with store.open() as endpoint:
        offered = endpoint.limits()
        if offered is None:
            yield warn(
                subject,
                f"{endpoint.address} answers, but does not describe itself as an event store.",
                "Nothing, if it is one: not all do. Otherwise correct "
                f"{'its url' if store.name else 'CALIPER_EVENT_STORE_URL'}.",
            )
        else:
            answers = "can be written to" if endpoint.takes_whole_hours else "answers"
            yield fine(subject, f"{endpoint.address} {answers}")
        if store.is_folder:
            return
        if store.has_key():
            yield fine(f"Key{suffix}", "not refused")
        else:
            key = f"api_key of {subject}" if store.name else "CALIPER_API_KEY"
            yield warn(
                f"Key{suffix}",
                f"{key} is not set; the event store answers without a key.",
                f"Set {key}, if the event store wants one for events.",
            )
        if offered and context_iri(store.caliper_version) not in offered.versions:
            yield warn(
                f"Caliper version{suffix}",
                f"the event store does not list {store.caliper_version} among its versions.",
                f"Set {'its caliper_version' if store.name else 'CALIPER_VERSION'} to one that it "
                "lists.",
            )
