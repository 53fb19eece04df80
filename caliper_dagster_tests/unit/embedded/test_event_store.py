import json
import re
import sqlite3
from contextlib import closing
from html.parser import HTMLParser

import pytest
import requests

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.embedded.arrivals import arrivals, last_events
from caliper_dagster.embedded.event_store import create_app
from caliper_dagster_tests.harness.envelopes import KEY, V1P2, envelope, event, post
from caliper_dagster_tests.harness.local_event_store import local_event_store

V1P1 = "http://purl.imsglobal.org/ctx/caliper/v1p1"


def with_property(value):
    """An envelope whose event has one more property, which the store only reads over."""
    return json.dumps(envelope(event(name=0))).encode().replace(b'"name": 0', b'"name": ' + value)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """URL and file of a store that only gets requests which it must refuse."""
    path = tmp_path_factory.mktemp("store") / "new" / "store.sqlite"
    with local_event_store(path, KEY) as url:
        yield url, path
        assert arrivals(path).envelopes == 0


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "store.sqlite"
    with local_event_store(path, KEY) as url:
        yield url, path


def test_an_envelope_is_answered_with_an_empty_200_and_kept(own):
    url, path = own
    body = envelope(event(1), event(2, type="GradeEvent", action="Graded"))
    answer = post(url, body)
    assert (answer.status_code, answer.content) == (200, b"")
    found = arrivals(path)
    assert (found.envelopes, found.events, found.received) == (1, 2, 2)
    assert found.by_type == {"GradeEvent": 1, "ViewEvent": 1}
    assert [json.loads(kept.json) for kept in last_events(path, 9)] == body["data"][::-1]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT body FROM envelopes").fetchall() == [(json.dumps(body),)]


def test_an_event_that_comes_again_is_kept_once_and_counted(own):
    url, path = own
    post(url, envelope(event(1), event(2)))
    post(url, envelope(event(2, action="Changed"), event(3), event(3)))
    found = arrivals(path)
    assert (found.envelopes, found.events, found.received) == (2, 3, 5)
    kept = {kept.id[-1]: kept for kept in last_events(path, 9)}
    assert {number: kept[number].received for number in kept} == {"1": 1, "2": 2, "3": 2}
    assert kept["2"].action == "Changed"


def test_what_is_accepted_beside_the_plain_form(own):
    url, path = own
    base = url.removesuffix("/caliper")
    older = event(2) | {"@context": V1P1}
    several = event(3) | {"@context": ["http://example.org/ctx", V1P2]}
    describe = {"@context": V1P2, "id": "https://example.org/user/1", "type": "Person"}
    accepted = [
        post(f"{base}/message", envelope(event(1))),
        post(f"{base}/caliper/message", envelope(older, dataVersion=V1P1)),
        post(url, envelope(several, describe), **{"Content-Type": "application/json; charset=x"}),
        post(url, envelope(event(4)), Authorization=f"bearer {KEY}"),
    ]
    assert [answer.status_code for answer in accepted] == [200] * 4
    assert arrivals(path).events == 5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        with_property(b'"View\xff"'),
        with_property(b'"no end'),
        with_property(b"00"),
        with_property(b"[" * 2_000_000 + b"]" * 2_000_000),
        envelope(extra=1),
        {name: value for name, value in envelope().items() if name != "sendTime"},
        envelope(sensor=""),
        envelope(sensor={"id": "urn:x"}),
        envelope(sendTime="2026-01-31T15:00:00Z"),
        envelope(sendTime=1),
        envelope(data=[]),
        envelope(data={"id": 1}),
        envelope("urn:uuid:1"),
        envelope(event(id=None)),
        envelope(event(type=[])),
        envelope(event(), event() | {"@context": V1P1}),
        envelope(event() | {"@context": [V1P2, "http://example.org/ctx"]}),
    ],
)
def test_a_malformed_envelope_is_a_400_that_says_why(store, body):
    answer = post(store[0], body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize("version", ["http://purl.imsglobal.org/ctx/caliper/v1p3", "", None, []])
def test_another_version_is_a_422(store, version):
    assert post(store[0], envelope(dataVersion=version)).status_code == 422


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", KEY, f"Basic {KEY}", "Bé"])
def test_without_the_token_it_is_a_401(store, authorization):
    url = store[0]
    headers = {"Authorization": authorization.encode("latin-1")}
    answers = [post(url, envelope(), **headers), requests.get(url, headers=headers, timeout=30)]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert KEY not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/xml"},
        {"Content-Type": ""},
        {"Content-Encoding": "br"},
    ],
)
def test_another_media_type_is_a_415(store, headers):
    assert post(store[0], envelope(), **headers).status_code == 415


def test_an_envelope_above_the_limit_is_a_413(store):
    too_large = envelope(event(extensions={"text": "x" * 12_000_000}))
    answer = post(store[0], too_large)
    assert answer.status_code == 413
    assert "10,000,000 bytes" in answer.json()["detail"]


def test_get_tells_the_configuration(store):
    headers = {"Authorization": f"Bearer {KEY}"}
    for place in (store[0], store[0].removesuffix("caliper"), f"{store[0]}/message"):
        offered = requests.get(place, headers=headers, timeout=30).json()
        assert offered["caliperSupportedVersions"] == [V1P2, V1P1]
        assert offered["caliperMaximumPayloadSize"] == 10_000


def browse(url, **headers):
    page = url.removesuffix("caliper")
    return requests.get(page, headers={"Accept": "text/html"} | headers, timeout=30)


def test_the_page_shows_what_arrived(own):
    url, _ = own
    assert "Nothing yet" in browse(url).text
    post(url, envelope(event(1), event(2), event(3, type="GradeEvent")))
    post(url, envelope(event(1)))
    page = browse(url)
    assert page.headers["Content-Type"].startswith("text/html")
    shown = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page.text))
    assert (shown["Events"], shown["Received again"], shown["Envelopes"]) == ("3", "1", "2")
    assert page.text.index("GradeEvent") > page.text.index("ViewEvent")
    assert event(3)["id"] in page.text


class Elements(HTMLParser):
    """What a browser finds on a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.texts = set(), set(), set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data):
        self.texts.add(data)


def test_the_page_runs_nothing_and_loads_nothing_of_what_events_hold(own):
    url, _ = own
    attack = "</pre><script src=//evil.example>alert(1)</script>\"'&"
    post(url, envelope(event(1, type=attack, action=attack, eventTime=attack, name=attack)))
    page = browse(url)
    found = Elements()
    found.feed(page.text)
    assert not found.tags & {"script", "img", "link", "iframe"}
    assert not found.attributes & {"src", "href", "onclick", "onerror"}
    assert attack in found.texts
    assert "url(" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_the_page_needs_the_key_under_a_foreign_name(own):
    url, _ = own
    assert browse(url, Host="rebound.example.org").status_code == 401
    allowed = {"Host": "rebound.example.org", "Authorization": f"Bearer {KEY}"}
    assert browse(url, **allowed).status_code == 200


def test_an_app_needs_a_key(tmp_path):
    with pytest.raises(ConfigurationError, match="CALIPER_API_KEY"):
        create_app(tmp_path / "store.sqlite", "")
