"""What an answer may leave behind in logs, ledger and results."""

from __future__ import annotations

import base64
import json

import pytest

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.emitter import HttpDestination
from caliper_dagster.emitter.store_words import repeats_secret, without_quotes
from caliper_dagster_tests.harness.hostile_store import HostileStore, answer

KEY = "s3cr/t-key+of the store"
EVENT = {
    "type": "ViewEvent",
    "action": "Viewed",
    "actor": {
        "id": "https://moodle.example.org/user/4711",
        "type": "Person",
        "name": "Änne O'Neill-Suárez",
    },
    "object": {"name": "Essay on Kant", "extensions": {"grade": 73.25, "ip": "192.0.2.7"}},
}
ENVELOPE = json.dumps({"data": [EVENT]}).encode()


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f'{{"token": "{KEY.replace("/", chr(92) + "/")}"}}',
        f"token {KEY[:9]}\r\n  {KEY[9:]}",
        "Basic " + base64.b64encode(KEY.encode()).decode(),
        "Basic " + base64.b64encode(f"user:{KEY}".encode()).decode(),
        "x" + base64.urlsafe_b64encode(f"Bearer {KEY}\n".encode()).decode(),
        "\n".join(
            base64.encodebytes(f"a:{KEY}".encode()).decode()[n : n + 7] for n in (0, 7, 14, 21, 28)
        ),
    ],
)
def test_a_key_is_recognised_in_other_spellings(text: str) -> None:
    assert repeats_secret(text, [KEY])
    assert not repeats_secret("the key is unknown, check the store", [KEY])


@pytest.mark.parametrize(
    "words",
    [
        json.dumps(EVENT),
        json.dumps(EVENT, ensure_ascii=False),
        "user https://moodle.example.org/user/4711 (Änne O'Neill-Suárez) from 192.0.2.7",
        "no grade 73.25 for Essay on Kant, https%3A//moodle.example.org/user/4711",
        "ÄNNE is not known; essay must not be empty; user 4711",
    ],
)
def test_nothing_of_the_event_that_was_sent_is_kept(words: str) -> None:
    kept = without_quotes(words, ENVELOPE)
    for private in ("nne", "Neill", "Kant", "4711", "73.25", "192.0.2.7", "essay", "u00c4"):
        assert private.casefold() not in kept.casefold(), kept


def test_what_the_store_says_of_itself_is_kept() -> None:
    words = "data[0].actor: Person of ViewEvent is not known, see /docs/user (code 17)"
    assert without_quotes(words, ENVELOPE) == words


@pytest.mark.parametrize("status", [401, 403])
def test_an_answer_about_the_key_is_not_repeated(status: int) -> None:
    with HostileStore(answer(status, b"unknown sender: no words of this")) as store:
        found = HttpDestination(store.url, KEY).post(ENVELOPE)
    assert found.words == ""
    assert "no words" not in str(found.error())
    assert "CALIPER_API_KEY" in str(found.error())


def test_the_words_of_a_real_answer_hold_neither_key_nor_event() -> None:
    body = json.dumps({"error": "not valid", "event": EVENT}).encode()
    with HostileStore(answer(400, body)) as store:
        found = HttpDestination(store.url, KEY).post(ENVELOPE)
    assert "not valid" in found.words
    assert "Kant" not in found.words
    assert isinstance(found.error(), DeliveryError)
    with HostileStore(answer(400, base64.b64encode(f"user:{KEY}".encode()))) as store:
        assert HttpDestination(store.url, KEY).post(ENVELOPE).words == ""
