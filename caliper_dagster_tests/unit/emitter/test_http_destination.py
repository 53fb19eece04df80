import gzip
import html
import json
import logging
import socket
import ssl
import subprocess
import threading
import traceback
from contextlib import ExitStack

import pytest

from caliper_dagster.core.errors import ConfigurationError, DeliveryError
from caliper_dagster.emitter import HttpDestination
from caliper_dagster.emitter.destination import Answer, DestinationLimits, Meaning
from caliper_dagster_tests.harness.hostile_store import (
    HostileStore,
    answer,
    break_off,
    drop,
)
from caliper_dagster_tests.harness.ports import free_port

KEY = "s3cr<t&key-of-the-store"


def refusal(url, match=".", **options):
    """The error of a POST that is not acknowledged."""
    with (
        HttpDestination(url, KEY, **options) as event_store,
        pytest.raises(DeliveryError, match=match) as caught,
    ):
        raise event_store.post(b"{}").error()
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_an_acknowledgement(status):
    with HostileStore(answer(status)) as store, HttpDestination(store.url, KEY) as event_store:
        assert event_store.post(b"{}") == Answer(Meaning.ACCEPTED, status)


def test_a_2xx_counts_even_when_its_body_breaks_off():
    with HostileStore(break_off) as store, HttpDestination(store.url, KEY) as event_store:
        assert event_store.post(b"{}") == Answer(Meaning.ACCEPTED, 200)


def test_a_post_has_the_body_as_it_is_and_the_headers_of_the_specification():
    with HostileStore() as store, HttpDestination(store.url, KEY) as event_store:
        event_store.post('{"name":"Ö"}'.encode())
    assert store.bodies == ['{"name":"Ö"}'.encode()]
    assert store.headers[0]["Content-Type"] == "application/json"
    assert store.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("key", "scheme", "sent"),
    [
        (KEY, "Token", f"Token {KEY}"),
        (KEY, "none", KEY),
        (f" {KEY}\n", "Bearer", f"Bearer {KEY}"),
        (None, "Bearer", None),
        ("", "Bearer", None),
    ],
)
def test_authorization_follows_the_scheme(key, scheme, sent):
    with HostileStore() as store, HttpDestination(store.url, key, scheme) as event_store:
        event_store.post(b"{}")
    assert store.headers[0].get("Authorization") == sent


def test_credentials_of_netrc_do_not_replace_the_key(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with HostileStore() as store, HttpDestination(store.url, KEY) as event_store:
        event_store.post(b"{}")
    assert store.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_one_connection_serves_all_envelopes():
    with (
        HostileStore(answer(200, b"stored")) as store,
        HttpDestination(store.url, KEY) as event_store,
    ):
        for _ in range(20):
            event_store.post(b"{}")
    assert len(store.bodies) == 20
    assert store.connections == 1


@pytest.mark.parametrize(
    ("status", "transient", "named"),
    [
        (400, False, "malformed"),
        (401, False, "CALIPER_API_KEY"),
        (403, False, "CALIPER_API_KEY"),
        (404, False, "CALIPER_EVENT_STORE_URL"),
        (405, False, "CALIPER_EVENT_STORE_URL"),
        (408, True, "later"),
        (413, False, "CALIPER_BATCH_BYTES"),
        (418, False, "refused"),
        (422, False, "CALIPER_VERSION"),
        (429, True, "later"),
        (500, True, "later"),
        (503, True, "later"),
    ],
)
def test_a_refusal_names_what_to_mend(status, transient, named):
    with HostileStore(answer(status, b'{"detail": "not like this."}')) as store:
        error = refusal(store.url, named)
    assert error.transient is transient
    assert str(status) in str(error)
    assert ("not like this" in str(error)) is (status not in {401, 403})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status):
    with (
        HostileStore(answer(200)) as target,
        HostileStore(answer(status, Location=target.url)) as store,
    ):
        error = refusal(store.url, "CALIPER_EVENT_STORE_URL")
    assert not error.transient
    assert target.requests == []


def test_a_dropped_connection_is_no_acknowledgement():
    with HostileStore(drop) as store:
        error = refusal(store.url, "without an answer")
    assert error.transient


def test_a_store_that_is_down_is_named_with_its_setting():
    url = f"http://127.0.0.1:{free_port()}/caliper"
    assert refusal(url, r"refused.*CALIPER_EVENT_STORE_URL").transient


def test_an_unknown_host_is_named_with_its_setting():
    url = "http://store.invalid/caliper"
    assert refusal(url, r"store\.invalid.*CALIPER_EVENT_STORE_URL").transient


def test_no_answer_in_time_is_no_acknowledgement():
    release = threading.Event()
    with HostileStore(lambda _: release.wait(30)) as store:
        error = refusal(store.url, "CALIPER_EVENT_STORE_TIMEOUT", timeout=0.2)
        release.set()
    assert error.transient


def test_a_plain_http_server_behind_https_is_not_trusted():
    with HostileStore() as store:
        refusal(store.url.replace("http://", "https://"), "CALIPER_EVENT_STORE_URL")
    assert store.bodies == []


def test_the_words_of_the_store_are_short_plain_and_on_one_line():
    page = b"<html><style>x</style><h1>Bad\n\n Gate\x1b[31mway</h1>" + b"long " * 5000
    with HostileStore(answer(502, page)) as store:
        told = str(refusal(store.url))
    assert "Bad Gate" in told
    assert "<" not in told
    assert "\n" not in told
    assert "\x1b" not in told
    assert len(told) < 450


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(401, f"bad token {KEY}".encode()),
        answer(500, b"x" * 65_530 + KEY.encode()),
        answer(400, b" " * 65_530 + KEY.encode()),
        answer(404, b"Cannot POST /caliper?token=hunter22"),
        answer(403, b"key s3cr&lt;t&amp;key-of-the-store, token hunter22"),
        answer(302, Location="http://elsewhere.invalid/?token=hunter22"),
        drop,
    ],
)
def test_no_secret_is_ever_told(behaviour, caplog):
    caplog.set_level(logging.DEBUG)
    with HostileStore(behaviour) as store:
        url = f"http://{store.netloc}/caliper?token=hunter22"
        error = refusal(url)
    event_store = HttpDestination(url, KEY)
    told = [str(error), repr(error), repr(event_store), event_store.name]
    told += traceback.format_exception(error)
    assert error.__context__ is None
    for secret in (KEY, html.escape(KEY), "s3cr", "hunter22"):
        assert all(secret not in text for text in told)
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store.example.org/caliper",
        "ftp://store.example.org",
        "http://",
        "http://person:passw0rd@:80/",
        "http://person:passw0rd@host:eighty/",
        "http://[::1/caliper?passw0rd",
        "http://person:passw0rd@store.example.org/caliper",
        "http://passw0rd@store.example.org/caliper",
    ],
)
def test_a_url_that_cannot_be_used_is_a_setting_to_mend(url):
    with pytest.raises(ConfigurationError, match="CALIPER_EVENT_STORE_URL") as caught:
        HttpDestination(url, KEY)
    assert "passw0rd" not in "".join(traceback.format_exception(caught.value))


def test_a_url_with_an_account_names_the_setting_where_it_belongs():
    with pytest.raises(ConfigurationError) as caught:
        HttpDestination("https://person:passw0rd@store.example.org/caliper", None)
    assert caught.value.settings == (
        "CALIPER_EVENT_STORE_URL",
        "CALIPER_API_KEY",
        "CALIPER_AUTH_SCHEME",
    )


def test_a_key_that_no_header_can_hold_is_a_setting_to_mend():
    for key in ("two\nlines-secret", "schlüssel-secret"):
        with pytest.raises(ConfigurationError, match="CALIPER_API_KEY") as caught:
            HttpDestination("http://store.example.org", key)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://Store.Example.org:443/a/b?k=v#f", "https://store.example.org/a/b"),
        ("http://store.example.org:8080", "http://store.example.org:8080"),
        ("http://[::1]:9/x", "http://[::1]:9/x"),
    ],
)
def test_the_name_is_what_may_be_shown(url, name):
    assert HttpDestination(url, None).name == name


V1P2 = "http://purl.imsglobal.org/ctx/caliper/v1p2"


@pytest.mark.parametrize(
    "offered",
    [
        {"caliperMaximumPayloadSize": 512, "caliperSupportedVersions": [V1P2]},
        {"caliper_maximum_payload_size": 512, "caliper_supported_versions": [V1P2]},
    ],
)
def test_a_configuration_is_read_in_both_spellings(offered):
    tell = answer(200, json.dumps(offered).encode())
    with HostileStore(configuration=tell) as store, HttpDestination(store.url, KEY) as event_store:
        assert event_store.limits() == DestinationLimits(512_000, (V1P2,))
    assert store.gets == ["/caliper"]
    assert store.headers_of_gets[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "behaviour",
    [answer(405), answer(404), answer(200), answer(200, b"<html>"), answer(200, b"[1]")],
)
def test_an_endpoint_without_configuration_is_no_error(behaviour):
    with (
        HostileStore(configuration=behaviour) as store,
        HttpDestination(store.url, KEY) as event_store,
    ):
        assert event_store.limits() is None


def test_asking_for_the_configuration_shows_a_wrong_key():
    with (
        HostileStore(configuration=answer(401)) as store,
        HttpDestination(store.url, KEY) as event_store,
        pytest.raises(DeliveryError, match="CALIPER_API_KEY"),
    ):
        event_store.limits()


def test_bodies_are_compressed_when_that_is_asked_for():
    body = b'{"data": "' + b"x" * 5000 + b'"}'
    with HostileStore() as store, HttpDestination(store.url, KEY, compressed=True) as event_store:
        event_store.post(body)
    assert store.headers[0]["Content-Encoding"] == "gzip"
    assert gzip.decompress(store.bodies[0]) == body
    assert len(store.bodies[0]) < 200


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    with HostileStore() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.netloc}")
        monkeypatch.setenv("NO_PROXY", "")
        with HttpDestination("http://store.invalid/caliper", KEY) as event_store:
            event_store.post(b"{}")
    assert proxy.requests == ["POST http://store.invalid/caliper"]


def test_time_outs_of_connection_and_answer_are_apart():
    release = threading.Event()
    with HostileStore(lambda _: release.wait(30)) as store:
        refusal(store.url, "did not answer", timeout=0.3, connect_timeout=20)
        release.set()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy:
        place = busy.getsockname()
        # The kernel answers no more connections than wait to be accepted.
        with ExitStack() as waiting:
            for _ in range(3):
                caller = waiting.enter_context(socket.socket())
                caller.setblocking(False)
                caller.connect_ex(place)
            # Who waits longer than it should is let in, and hung up on.
            late = threading.Timer(5, lambda: [busy.accept()[0].close() for _ in range(4)])
            late.daemon = True
            late.start()
            url = f"http://127.0.0.1:{place[1]}/caliper"
            refusal(url, "no connection in time", timeout=60, connect_timeout=0.3)
            late.cancel()


@pytest.fixture(scope="module")
def own_authority(tmp_path_factory):
    """Certificate and key of a server on 127.0.0.1 that no machine trusts."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "ca.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_tls_is_verified_and_an_own_authority_can_be_named(own_authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_authority / "ca.pem", own_authority / "key.pem")
    with HostileStore(tls=context) as store:
        refusal(store.url, "CALIPER_CA_FILE")
        assert store.bodies == []
        with HttpDestination(store.url, KEY, ca_file=str(own_authority / "ca.pem")) as event_store:
            assert event_store.post(b"{}") == Answer(Meaning.ACCEPTED, 200)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none_is_a_setting_to_mend(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match="CALIPER_CA_FILE"):
        HttpDestination("https://store.example.org", KEY, ca_file=str(file))
