"""What the body of a successful answer says of the events.

Caliper gives a 2xx no further meaning than that the envelope was received, and wants no body (1.2
"HTTP Responses"). Some event stores answer 2xx and say in the body that they did not keep the
events, or which of them they kept; what is provably not kept is not acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson

_HTML = ("text/html", "application/xhtml+xml")
_ERROR_STATUS = 400
_MULTI_STATUS = 207


def is_page(content_type: str, body: bytes) -> bool:
    """Whether the answer is a page for people, which no event store gives to an envelope.

    An empty body may have any type: it is what a web server's language puts there.
    """
    return content_type.partition(";")[0].strip().lower() in _HTML and bool(body.strip())


def says_not_kept(status: int, body: bytes, event_ids: Callable[[], Collection[str]]) -> bool:
    """Whether the answer proves that at least one event of the envelope was not kept.

    It does by an error (``error``; ``errors`` that are not empty; ``success`` false; ``status`` of
    400 or more, or ``error``), by the state of an event in a 207, or by a list of ids that lacks
    some of the envelope. A list is only believed if all of its entries are ids of the envelope.

    Args:
        status: HTTP status, a 2xx.
        body: the body, whole.
        event_ids: returns the ids of the events of the envelope; only called for a list.
    """
    try:
        said = orjson.loads(body) if body.strip() else None
    except orjson.JSONDecodeError:
        return False
    if isinstance(said, Mapping):
        return _is_error(said) or (status == _MULTI_STATUS and _has_failed_state(said))
    if isinstance(said, list):
        if status == _MULTI_STATUS and any(isinstance(state, Mapping) for state in said):
            return _has_failed_state(said)
        return _lacks_events(said, event_ids)
    return False


def _is_error(said: Mapping[str, Any]) -> bool:
    return (
        bool(said.get("error"))
        or bool(said.get("errors"))
        or said.get("success") is False
        or _is_failure(said.get("status"))
    )


def _is_failure(status: object) -> bool:
    if isinstance(status, str):
        if not status.isdecimal():
            return status.lower() == "error"
        status = int(status)
    return isinstance(status, int) and status >= _ERROR_STATUS


def _has_failed_state(said: object) -> bool:
    """Whether any object in a multi-status body is a state that failed."""
    waiting = [said]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if _is_error(value) or _is_failure(value.get("statusCode")):
                return True
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def _lacks_events(said: list[Any], event_ids: Callable[[], Collection[str]]) -> bool:
    """Whether a list of the ids that were kept lacks some; an empty list lacks all."""
    if not all(isinstance(entry, str) for entry in said):
        return False
    sent = set(event_ids())
    return set(said) < sent
