"""Destinations: where events go, and what an answer of theirs means.

`Destination` is the seam between the emitter and whatever receives events. The destination decides
what an answer *means*; ``delivery`` decides what *happens* then. ``http_destination`` is a Caliper
endpoint, ``file_destination`` a folder of files.

A destination has one of two shapes:

* **Envelopes.** A request holds the events of one hour and one Caliper version that are to be sent,
  or some of them. A request may be rejected because of a single event, or for its size; the
  delivery then divides it. Several requests may be under way at once, in any order. A Caliper
  endpoint over HTTP has this shape.
* **Whole hours** (`takes_whole_hours`). A request holds all events of an hour, also those that were
  acknowledged before, and the destination replaces what it had of that hour in one step. So does
  the ledger. A request is sent when at least one event of the hour is to be sent, and never
  divided: an answer that would ask for that ends the run. Files and objects have this shape.

Both shapes are sent to in the same way: one request, one answer, and an accepted request stands in
the ledger before the next one takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

import orjson

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.core.hours import Hour
from caliper_dagster.emitter.envelopes import context_iri, envelope


class Meaning(Enum):
    """What an answer means for the events of the request.

    ``ACCEPTED``: the destination has all of them. ``REJECTED``: it refuses the content of at least
    one of them; the others may be accepted without it. ``TOO_LARGE``: it may accept fewer at a
    time. ``RETRY_LATER``: nothing is wrong with the request, or nothing is known; the same request
    may be accepted later. ``REFUSED``: it accepts neither this request nor another one before
    somebody changes a setting.
    """

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    TOO_LARGE = "too large"
    RETRY_LATER = "retry later"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """A destination's answer to one request, or that there was none.

    Attributes:
        meaning: what follows for the events.
        status: HTTP status; None without an answer, and for destinations without HTTP.
        words: what the destination said about a refusal, short and without secrets; may be empty.
        sentence: the refusal for a person, with the setting to check (a `Sentence` where it names
            one); ends with a full stop; empty when accepted.
        retry_after: seconds for which the destination asks to be left alone; None when it does not.
    """

    meaning: Meaning
    status: int | None = None
    words: str = ""
    sentence: str = ""
    retry_after: float | None = None

    def error(self) -> DeliveryError:
        """The error that ends a run because of this answer."""
        return DeliveryError(self.sentence, transient=self.meaning is Meaning.RETRY_LATER)


@dataclass(frozen=True, slots=True)
class DestinationLimits:
    """What a destination says it accepts.

    Attributes:
        max_bytes: size of a request's body; None when it does not say.
        versions: context IRIs of the Caliper versions it accepts; empty when it does not say.
    """

    max_bytes: int | None
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What one request carries.

    Attributes:
        site: id of the site whose events they are.
        hour: to which all the events belong.
        sensor: id of the sensor, an IRI.
        caliper_version: of all the events, such as ``v1p2``.
        events: JSON of each event, in UTF-8. Those of a whole hour that has too many for memory are
            read while they are iterated.
        send_time: when it is sent (aware, UTC).
    """

    site: str
    hour: Hour
    sensor: str
    caliper_version: str
    events: Sequence[memoryview]
    send_time: datetime

    def event_ids(self) -> frozenset[str]:
        """The ids of the events, read from their JSON."""
        return frozenset(orjson.loads(event)["id"] for event in self.events)

    def envelope(self) -> bytes:
        """The events as a Caliper envelope."""
        return envelope(self.sensor, self.send_time, context_iri(self.caliper_version), self.events)


class Destination(Protocol):
    """Something that receives events. Methods may be called from several threads at once."""

    @property
    def name(self) -> str:
        """What the ledger calls it; the same for as long as it is the same destination."""
        ...

    @property
    def address(self) -> str:
        """Where it is, for people: without secrets."""
        ...

    @property
    def takes_whole_hours(self) -> bool:
        """Whether each request replaces a whole hour; see the two shapes above."""
        ...

    def limits(self) -> DestinationLimits | None:
        """Ask what it accepts; None when it does not say. Whether it can be used is tried.

        Raises:
            DeliveryError: it refused, failed, or did not answer.
        """
        ...

    def send(self, request: Request) -> Answer:
        """Send one request, once, and return what its answer means. Does not raise for a refusal.

        Once this has returned `Meaning.ACCEPTED` the events count as delivered, so the destination
        must have stored them as durably as it can tell.
        """
        ...

    def close(self) -> None:
        """Close all connections; none may be in use."""
        ...
