"""The event stores: whether each answers, accepts the credential and knows the Caliper version."""

from __future__ import annotations

from collections.abc import Iterator

from caliper_dagster.config.event_stores import EventStoreDefinition, require_event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.emitter.envelopes import context_iri
from caliper_dagster.operations.doctor.findings import Finding, broken, fine, warn


def event_stores(settings: Settings) -> Iterator[Finding]:
    """The findings about each event store of a site."""
    for store in require_event_stores(settings):
        subject = f"Event store {store.name}" if store.name else "Event store"
        try:
            yield from _event_store(store, subject)
        except CaliperDagsterError as error:
            yield broken(subject, store.sentence(error))


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
