"""Envelopes of small events, as a client of the embedded event store posts them."""

from __future__ import annotations

import json
from typing import Any

import requests

KEY = "key-of-the-store"
V1P2 = "http://purl.imsglobal.org/ctx/caliper/v1p2"


def event(number: int = 1, **more: object) -> dict[str, Any]:
    return {
        "@context": V1P2,
        "id": f"urn:uuid:00000000-0000-0000-0000-{number:012}",
        "type": "ViewEvent",
        "action": "Viewed",
        "eventTime": "2026-01-31T14:00:00.000Z",
    } | more


def envelope(*events: dict[str, Any], **more: object) -> dict[str, Any]:
    return {
        "sensor": "urn:sensor",
        "sendTime": "2026-01-31T15:00:00.000Z",
        "dataVersion": V1P2,
        "data": list(events) or [event()],
    } | more


def post(url: str, body: object, key: str = KEY, **headers: str) -> requests.Response:
    """Post a value as JSON, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"} | headers
    return requests.post(url, content, headers=given, timeout=30)
