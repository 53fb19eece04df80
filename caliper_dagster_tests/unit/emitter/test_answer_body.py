"""What a 2xx says in its body: what is provably not kept is never acknowledged."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

import pytest

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.emitter import Ledger
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    OK,
    Behaviour,
    HostileStore,
    answer,
    event_id,
    events_table,
    send,
    sent_in,
)

BAD = {event_id(HOUR, number) for number in (3, 11)}


@pytest.fixture
def ledger():
    with Ledger("sqlite://") as made:
        yield made


class Store:
    """Keeps all events but two, and says so in its own way."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.kept: set[str] = set()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        sent = sent_in(handler)
        lost = BAD.intersection(sent)
        whole = self.kind in {"error", "errors", "success", "status"}
        kept = [] if whole and lost else [one for one in sent if one not in lost]
        self.kept.update(kept)
        states = [{"id": one, "status": 400 if one in lost else 201} for one in sent]
        body: object = {
            "ids": kept,
            "error": {"error": "no"} if lost else {"error": None},
            "errors": {"errors": ["no"] if lost else []},
            "success": {"success": not lost},
            "status": {"status": 500 if lost else 200},
            "states": {"results": states},
            "list of states": states,
        }[self.kind]
        status = 207 if "states" in self.kind else 200
        answer(status, json.dumps(body).encode(), Content_Type="application/json")(handler)


@pytest.mark.parametrize(
    "kind", ["ids", "error", "errors", "success", "status", "states", "list of states"]
)
def test_only_what_was_kept_is_acknowledged_and_the_rest_leaves(kind, ledger):
    behaviour = Store(kind)
    with HostileStore(behaviour) as store:
        table, counts = send([(HOUR, events_table(count=30))], store, ledger)[HOUR]
        assert (counts.sent, counts.rejected) == (28, 2)
        rejected = [row for row in table.to_pylist() if row["outcome"] == "rejected"]
        assert {id_ for row in rejected for id_ in row["event_ids"]} == BAD
        assert all(row["http_status"] in {200, 207} for row in rejected)
        acknowledged = {
            id_
            for row in table.to_pylist()
            if row["outcome"] != "rejected"
            for id_ in row["event_ids"]
        }
        assert acknowledged <= behaviour.kept
        assert behaviour.kept == {event_id(HOUR, number) for number in range(30)} - BAD
        # Two more requests ask for those two, once each.
        before = len(store.bodies)
        send([(HOUR, events_table(count=30))], store, ledger)
        assert len(store.bodies) - before <= 3


@pytest.mark.parametrize(
    "body",
    [
        b"", b"OK", b"{}", b"null", b'"error"', b'{"error": null, "errors": [], "success": true}',
        b'{"status": "success", "errors": null}', b'{"status": 201}', b'["some", "other", "ids"]',
        b'[{"status": 500}]', b"[1, 2]", b'{"eventsStored": 1}', b"\xff",
    ],
)  # fmt: skip
def test_any_other_body_is_an_acknowledgement(body, ledger):
    with HostileStore(answer(200, body, Content_Type="application/json")) as store:
        _, counts = send([(HOUR, events_table(count=5))], store, ledger)[HOUR]
    assert (counts.sent, counts.rejected, len(store.bodies)) == (5, 0, 1)


def test_all_ids_of_a_long_envelope_are_read(ledger):
    def but_the_last(handler: BaseHTTPRequestHandler) -> None:
        kept = [one for one in sent_in(handler) if one != event_id(HOUR, 2999)]
        answer(200, json.dumps(kept).encode())(handler)

    with HostileStore(but_the_last) as store:
        options = {"batch_size": 3000, "batch_bytes": 5_000_000}
        _, counts = send([(HOUR, events_table(count=3000))], store, ledger, **options)[HOUR]
    assert (counts.sent, counts.rejected) == (2999, 1)


PAGE: Behaviour = answer(200, b"<html>Log in</html>", Content_Type="text/html; charset=utf-8")


def test_a_page_is_a_wrong_address(ledger):
    with (
        HostileStore(PAGE) as store,
        pytest.raises(DeliveryError, match="HTML page: check CALIPER_EVENT_STORE_URL") as caught,
    ):
        send([(HOUR, events_table(count=5))], store, ledger)
    assert "Log in" not in str(caught.value)
    assert len(store.bodies) == 1


def test_an_empty_page_is_what_php_answers(ledger):
    with HostileStore(answer(200, b"", Content_Type="text/html")) as store:
        _, counts = send([(HOUR, events_table(count=5))], store, ledger)[HOUR]
    assert counts.sent == 5


def test_what_is_there_already_is_acknowledged_and_the_others_leave(ledger):
    there = set(BAD)

    def behave(handler: BaseHTTPRequestHandler) -> None:
        (answer(409, b"id exists") if there.intersection(sent_in(handler)) else OK)(handler)

    with HostileStore(behave) as store:
        _, counts = send([(HOUR, events_table(count=30))], store, ledger)[HOUR]
        assert (counts.sent, counts.rejected) == (30, 0)
        before = len(store.bodies)
        _, counts = send([(HOUR, events_table(count=30))], store, ledger)[HOUR]
    assert (counts.already_acknowledged, len(store.bodies)) == (30, before)
