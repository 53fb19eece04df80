"""Credentials that expire: token endpoints and log-ins on loopback, well-behaved and hostile."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from contextlib import contextmanager
from urllib.parse import parse_qs

import pytest

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.emitter import HttpDestination, Ledger, emit
from caliper_dagster.emitter.credentials import ApiKey, ClientCredentials, LogIn, RenewedToken
from caliper_dagster.emitter.destination import Answer, Meaning
from caliper_dagster.emitter.http_exchange import HttpExchange
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    OK,
    SENSOR,
    SITE,
    Clock,
    HostileStore,
    answer,
    as_hours,
    body_of,
    drop,
    events_table,
)

CLIENT, SECRET, PASSWORD = "client-7", "s3cret+of/the client", "passw0rd-of-the-log-in"
SECRETS = (SECRET, PASSWORD, "token-1", "token-2")


class Tokens:
    """The behaviour of a token endpoint that gives token-1, token-2, …"""

    def __init__(self, **more):
        self.given = 0
        self.more = more
        self.name = "access_token"

    def __call__(self, handler):
        self.given += 1
        said = {self.name: f"token-{self.given}", "token_type": "Bearer", **self.more}
        answer(200, json.dumps(said).encode(), Content_Type="application/json")(handler)


class Door:
    """The behaviour of an event store that lets some tokens in, and repeats what it refuses."""

    def __init__(self, *valid):
        self.valid = {f"Bearer {token}" for token in valid}
        self.refused = 0

    def __call__(self, handler):
        sent = handler.headers.get("Authorization", "")
        if sent in self.valid:
            OK(handler)
        else:
            self.refused += 1
            answer(401, f"no such token: {sent}".encode())(handler)


def exchange(url, setting="CALIPER_OAUTH_TOKEN_URL", timeout=5.0):
    return HttpExchange(
        url,
        peer="token endpoint",
        setting=SettingName(setting),
        account=Sentence("elsewhere"),
        timeout=timeout,
        connect_timeout=0.4,
    )


def client_credentials(url, scope=None, client_auth="basic", timeout=5.0):
    source = ClientCredentials(
        exchange(url, timeout=timeout), CLIENT, lambda: SECRET, scope, client_auth
    )
    return RenewedToken(source, "Bearer")


@contextmanager
def authorized(endpoint_behaviour, door, **options):
    """An event store, the token endpoint that its sender asks, and the sender."""
    with (
        HostileStore(endpoint_behaviour) as endpoint,
        HostileStore(door) as store,
        HttpDestination(store.url, client_credentials(endpoint.url, **options)) as sender,
    ):
        yield endpoint, store, sender


def test_one_token_authorizes_all_requests():
    tokens = Tokens(expires_in=3600)
    with authorized(tokens, Door("token-1"), scope="a b") as (endpoint, store, sender):
        assert [sender.post(b"{}").status for _ in range(3)] == [200, 200, 200]
    assert [headers["Authorization"] for headers in store.headers] == ["Bearer token-1"] * 3
    (body,), (headers,) = endpoint.bodies, endpoint.headers
    assert parse_qs(body.decode()) == {"grant_type": ["client_credentials"], "scope": ["a b"]}
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    account = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
    # RFC 6749, 2.3.1: both are encoded as in a form.
    assert account == f"{CLIENT}:s3cret%2Bof%2Fthe+client"


def test_the_secret_can_be_sent_in_the_form():
    with authorized(Tokens(), Door("token-1"), client_auth="form") as (endpoint, _, sender):
        assert sender.post(b"{}").status == 200
    assert parse_qs(endpoint.bodies[0].decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": [CLIENT],
        "client_secret": [SECRET],
    }
    assert "Authorization" not in endpoint.headers[0]


def test_another_scope_than_asked_for_is_the_event_stores_concern():
    tokens = Tokens(scope="b")
    with authorized(tokens, Door("token-1"), scope="a b") as (_, _, sender):
        assert sender.post(b"{}").meaning is Meaning.ACCEPTED


def test_a_token_is_renewed_before_it_expires():
    door = Door("token-1", "token-2")
    with authorized(Tokens(expires_in=1), door) as (_, store, sender):
        sender.post(b"{}")
        time.sleep(0.8)
        sender.post(b"{}")
    assert [headers["Authorization"] for headers in store.headers] == [
        "Bearer token-1",
        "Bearer token-2",
    ]
    assert door.refused == 0


@pytest.mark.parametrize("lifetime", [{}, {"expires_in": 0}, {"expires_in": None}])
def test_a_token_that_does_not_say_when_it_expires_is_used_until_it_is_refused(lifetime):
    tokens, door = Tokens(**lifetime), Door("token-1")
    with authorized(tokens, door) as (_, _, sender):
        sender.post(b"{}")
        sender.post(b"{}")
        assert tokens.given == 1
        door.valid = {"Bearer token-2"}
        assert sender.post(b"{}").meaning is Meaning.ACCEPTED
    assert (tokens.given, door.refused) == (2, 1)


def test_a_401_in_mid_run_costs_one_renewal_and_loses_nothing(ledger):
    tokens, door = Tokens(expires_in=3600), Door("token-1")

    def revoking(handler):
        if len(json.loads(body_of(handler))["data"]) and len(store.bodies) == 3:
            door.valid = {"Bearer token-2"}
        door(handler)

    with authorized(tokens, revoking) as (_, store, sender):
        ((_, results, counts),) = emit(
            as_hours([(HOUR, events_table(count=50))]),
            sender,
            ledger,
            sensor=SENSOR,
            site=SITE,
            batch_size=10,
        )
    assert (counts.sent, counts.rejected, counts.envelopes) == (50, 0, 5)
    assert results.num_rows == 5
    assert (tokens.given, door.refused, len(store.bodies)) == (2, 1, 6)
    assert store.bodies[2] == store.bodies[3]


def test_an_event_store_that_refuses_each_token_is_asked_twice_and_no_more():
    tokens, door = Tokens(expires_in=3600), Door()
    with authorized(tokens, door) as (_, store, sender):
        refused = sender.post(b"{}")
    assert refused.meaning is Meaning.REFUSED
    assert (tokens.given, len(store.bodies)) == (2, 2)
    assert "check CALIPER_OAUTH_CLIENT_ID, CALIPER_OAUTH_CLIENT_SECRET and" in refused.sentence
    assert refused.words == ""


def test_an_endpoint_that_gives_the_same_token_again_is_no_reason_to_send_again():
    same = answer(200, b'{"access_token": "token-1", "expires_in": 3600}')
    with authorized(same, Door()) as (endpoint, store, sender):
        assert sender.post(b"{}").status == 401
    assert (len(endpoint.bodies), len(store.bodies)) == (2, 1)


def test_a_configuration_is_asked_for_with_a_token():
    offered = answer(200, b'{"caliperSupportedVersions": []}')
    with (
        HostileStore(Tokens()) as endpoint,
        HostileStore(configuration=offered) as store,
        HttpDestination(store.url, client_credentials(endpoint.url)) as sender,
    ):
        assert sender.limits() is not None
    assert store.headers_of_gets[0]["Authorization"] == "Bearer token-1"


def together(count, sender):
    """So many threads send at once; their answers."""
    answers, barrier = [], threading.Barrier(count)

    def send():
        barrier.wait()
        answers.append(sender.post(b"{}"))

    threads = [threading.Thread(target=send) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_threads_that_share_a_credential_renew_it_once():
    tokens, door = Tokens(expires_in=3600), Door("token-1")

    def slowly(handler):
        time.sleep(0.1)
        tokens(handler)

    with authorized(slowly, door) as (_, _, sender):
        assert {given.status for given in together(8, sender)} == {200}
        assert tokens.given == 1
        door.valid = {"Bearer token-2"}
        assert {given.status for given in together(8, sender)} == {200}
    assert tokens.given == 2


def test_threads_that_wait_for_a_renewal_share_its_failure():
    asked = threading.Event()

    def down(handler):
        asked.wait(0.3)
        answer(503)(handler)

    with authorized(down, Door()) as (endpoint, store, sender):
        answers = together(6, sender)
    assert {given.meaning for given in answers} == {Meaning.RETRY_LATER}
    assert len(endpoint.bodies) == 1
    assert store.bodies == []


def echo(status):
    """Repeat what was sent: the account, and the secret in clear and in other spellings."""

    def behave(handler):
        said = {
            "error": "invalid_client",
            "error_description": f"{SECRET} {handler.headers.get('Authorization')}",
            "error_uri": f"https://idp.example.org/?{SECRET}",
        }
        answer(status, json.dumps(said).encode())(handler)

    return behave


def trickle(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def endless(handler):
    """An answer that never begins."""
    time.sleep(5)
    handler.close_connection = True


HOSTILE = {
    "trickles": (trickle, Meaning.RETRY_LATER, "within 1.9 seconds"),
    "silent": (endless, Meaning.RETRY_LATER, "1.5 seconds (CALIPER_EVENT_STORE_TIMEOUT)"),
    "drops": (drop, Meaning.RETRY_LATER, "closed the connection"),
    "down": (answer(503, b"x"), Meaning.RETRY_LATER, "answered 503"),
    "busy": (answer(429, b"x", Retry_After="7"), Meaning.RETRY_LATER, "answered 429"),
    "page": (
        answer(200, b"<html>log in</html>", Content_Type="text/html"),
        Meaning.REFUSED,
        "answered 200 with an HTML page: check CALIPER_OAUTH_TOKEN_URL.",
    ),
    "redirect": (answer(302, Location="/login"), Meaning.REFUSED, "it redirects: check"),
    "absent": (answer(404, b"nothing"), Meaning.REFUSED, "answered 404: check"),
    "nothing": (answer(200), Meaning.REFUSED, "without a token"),
    "no token": (answer(200, b'{"token_type": "Bearer"}'), Meaning.REFUSED, "without a token"),
    "list": (answer(200, b'["token-1"]'), Meaning.REFUSED, "without a token"),
    "number": (answer(200, b'{"access_token": 7}'), Meaning.REFUSED, "without a token"),
    "two lines": (
        answer(200, b'{"access_token": "token-1\\r\\nHost: x"}'),
        Meaning.REFUSED,
        "without a token",
    ),
    "deep": (answer(200, b'{"a":' * 100_000), Meaning.REFUSED, "without a token"),
    "odd lifetime": (
        answer(200, b'{"access_token": "token-1", "expires_in": "soon"}'),
        Meaning.REFUSED,
        "without a token",
    ),
    "infinite": (
        answer(200, b'{"access_token": "token-1", "expires_in": 1e999}'),
        Meaning.REFUSED,
        "without a token",
    ),
    "echo in a refusal": (
        echo(401),
        Meaning.REFUSED,
        "answered 401 (invalid_client): check CALIPER_OAUTH_CLIENT_ID and",
    ),
    "echo in a 200": (echo(200), Meaning.REFUSED, "answered 200 (invalid_client): check"),
    "own code": (
        answer(400, json.dumps({"error": SECRET}).encode()),
        Meaning.REFUSED,
        "answered 400: check CALIPER_OAUTH_TOKEN_URL",
    ),
    "own scope": (
        answer(400, b'{"error": "invalid_scope"}'),
        Meaning.REFUSED,
        "answered 400 (invalid_scope): check CALIPER_OAUTH_SCOPE.",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_token_endpoint_ends_in_one_sentence_without_a_secret(kind, caplog):
    behaviour, meaning, words = HOSTILE[kind]
    caplog.set_level(logging.DEBUG)
    began = time.monotonic()
    with authorized(behaviour, OK, timeout=1.5) as (endpoint, store, sender):
        given = sender.post(b"{}")
        address = endpoint.url
    assert time.monotonic() - began < 10
    assert store.bodies == []
    assert given.meaning is meaning
    assert given.sentence.startswith(f"The token endpoint at {address} ")
    assert words in given.sentence
    assert given.retry_after == (7 if kind == "busy" else None)
    told = [repr(given), str(given.error()), repr(sender), caplog.text]
    assert all(secret not in text for text in told for secret in SECRETS)


def jwt(number, **claims):
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS512"}, {"sub": "key", "n": number, **claims})
    ]
    return ".".join([*parts, "signature"])


def log_in(url):
    source = LogIn(exchange(url, "CALIPER_LOGIN_URL"), lambda: "key", lambda: PASSWORD)
    return RenewedToken(source, "Bearer")


def test_a_log_in_is_that_of_openlrw_and_its_token_is_renewed_in_time():
    # The clock of the log-in is an hour behind: its claims count, not the time of this machine.
    issued = int(time.time()) - 3600
    tokens = [jwt(number, iat=issued, exp=issued + 1) for number in (1, 2)]
    behaviours = [
        answer(200, json.dumps({"token": token, "refreshToken": "r3fresh"}).encode())
        for token in tokens
    ]
    with (
        HostileStore(*behaviours) as door,
        HostileStore(Door(*tokens)) as store,
        HttpDestination(store.url, log_in(door.url)) as sender,
    ):
        assert sender.post(b"{}").status == 200
        assert sender.post(b"{}").status == 200
        assert len(door.bodies) == 1
        time.sleep(0.8)
        assert sender.post(b"{}").status == 200
    assert [json.loads(body) for body in door.bodies] == [
        {"username": "key", "password": PASSWORD}
    ] * 2
    assert {headers["X-Requested-With"] for headers in door.headers} == {"XMLHttpRequest"}
    assert [headers["Authorization"] for headers in store.headers] == [
        f"Bearer {tokens[number]}" for number in (0, 0, 1)
    ]


@pytest.mark.parametrize("token", ["opaque", jwt(1), jwt(1, exp="soon"), "a.b.c", "a.!.c"])
def test_a_token_of_a_log_in_that_says_nothing_is_used_until_it_is_refused(token):
    said = answer(200, json.dumps({"token": token}).encode())
    with (
        HostileStore(said) as door,
        HostileStore(Door(token)) as store,
        HttpDestination(store.url, log_in(door.url)) as sender,
    ):
        assert [sender.post(b"{}").status for _ in range(2)] == [200, 200]
    assert len(door.bodies) == 1


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (answer(401, f"not {PASSWORD}".encode()), "answered 401: check CALIPER_LOGIN_URL, "),
        (answer(200, b'{"refreshToken": "x"}'), "without a token"),
        (answer(200, b"[]"), "without a token"),
        (answer(200, b'{"token": {"a": 1}}'), "without a token"),
        (answer(200, b"token"), "without a token"),
    ],
)
def test_a_log_in_that_gives_no_token_is_a_setting_to_mend(behaviour, words):
    with (
        HostileStore(behaviour) as door,
        HostileStore() as store,
        HttpDestination(store.url, log_in(door.url)) as sender,
    ):
        given = sender.post(b"{}")
    assert given.meaning is Meaning.REFUSED
    assert words in given.sentence
    assert PASSWORD not in repr(given)
    assert store.bodies == []


class KeyFile:
    """A key that is replaced while a run goes on."""

    def __init__(self, key):
        self.key = key

    def __call__(self):
        if self.key is None:
            raise ConfigurationError(
                Sentence(SettingName("CALIPER_API_KEY"), ": its file is empty.")
            )
        return self.key


def test_a_key_is_read_anew_for_each_request():
    key = KeyFile("first-key")
    with HostileStore() as store, HttpDestination(store.url, ApiKey(key, "Bearer")) as sender:
        sender.post(b"{}")
        key.key = "second-key"
        sender.post(b"{}")
    assert [headers["Authorization"] for headers in store.headers] == [
        "Bearer first-key",
        "Bearer second-key",
    ]


def test_a_key_that_is_replaced_while_a_request_is_under_way_is_used_after_the_401():
    key = KeyFile("first-key")

    def replace(handler):
        key.key = "second-key"
        Door("second-key")(handler)

    with (
        HostileStore(replace) as store,
        HttpDestination(store.url, ApiKey(key, "Bearer")) as sender,
    ):
        assert sender.post(b"{}") == Answer(Meaning.ACCEPTED, 200)
    assert len(store.bodies) == 2


def test_a_key_that_stays_the_same_is_not_sent_again():
    with HostileStore(answer(401)) as store, HttpDestination(store.url, "key") as sender:
        assert "check CALIPER_API_KEY." in sender.post(b"{}").sentence
    assert len(store.bodies) == 1


def test_a_key_that_cannot_be_read_in_mid_run_is_waited_for(ledger):
    key, clock = KeyFile("first-key"), Clock()

    def put_it_back(seconds):
        clock.sleep(seconds)
        key.key = "second-key"

    def take_it_away(handler):
        if len(store.bodies) == 1:
            key.key = None
        OK(handler)

    with (
        HostileStore(take_it_away) as store,
        HttpDestination(store.url, ApiKey(key, "Bearer")) as sender,
    ):
        policy = clock.retry_policy(sleep=put_it_back)
        ((_, _, counts),) = emit(
            as_hours([(HOUR, events_table(count=20))]),
            sender,
            ledger,
            sensor=SENSOR,
            site=SITE,
            batch_size=10,
            retry_policy=policy,
        )
    assert counts.sent == 20
    assert len(clock.slept) == 1
    assert [headers["Authorization"] for headers in store.headers] == [
        "Bearer first-key",
        "Bearer second-key",
    ]


def test_no_secret_is_in_the_ledger_or_in_a_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "ledger.sqlite"

    def reject(handler):
        sent = f"{handler.headers.get('Authorization')} {handler.headers.get('X-Api-Key')}"
        answer(400, f"bad event, sent with {sent}".encode())(handler)

    with (
        HostileStore(Tokens(expires_in=3600)) as endpoint,
        HostileStore(reject) as store,
        HttpDestination(
            store.url, client_credentials(endpoint.url), headers={"X-Api-Key": "h3ader-key"}
        ) as sender,
        Ledger(f"sqlite:///{path}") as ledger,
    ):
        ((_, results, counts),) = emit(
            as_hours([(HOUR, events_table(count=2))]), sender, ledger, sensor=SENSOR, site=SITE
        )
    assert counts.rejected == 2
    assert store.headers[0]["X-Api-Key"] == "h3ader-key"
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"bad event, sent with Bearer *** ***" in stored
    for secret in (*SECRETS, "h3ader-key"):
        assert secret.encode() not in stored
        assert secret not in caplog.text
        assert secret not in str(results.to_pylist())


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Authorization": "Basic h3ader"}, "Authorization is not a further header"),
        ({"content-type": "h3ader"}, "content-type is not a further header"),
        ({"X: h3ader": "x"}, "a name that no HTTP header can have"),
        ({"X-Key": "two\nh3ader"}, "the value that X-Key has"),
        ({"X-Key": ""}, "the value that X-Key has"),
        ({"X-Key": "schlüssel h3ader"}, "the value that X-Key has"),
    ],
)
def test_a_header_that_cannot_be_sent_is_a_setting_to_mend(headers, words):
    with pytest.raises(ConfigurationError, match="CALIPER_EVENT_STORE_HEADERS") as caught:
        HttpDestination("http://store.example.org", None, headers=headers)
    assert words in str(caught.value)
    assert "h3ader" not in str(caught.value)
