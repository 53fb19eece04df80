"""Event stores and token endpoints that quote every secret they are sent: none is kept anywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote

import pytest

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster_tests.harness.hostile_store import HostileStore, answer, body_of
from caliper_dagster_tests.harness.installation import Installation, between, installation

END = Hour.from_key("2026-03-02-12:00")
HOURS = HourRange(END + -1, END)

API_KEY = "hush-api/key+1"
CLIENT_SECRET = "hush-client/secret+2"
USER_NAME = "hush-user/name+3"
PASSWORD = "hush-pass/word+4"
HEADER = "hush-header/value+5"
TOKEN = "hush-token/value+6"
SECRETS = (API_KEY, CLIENT_SECRET, USER_NAME, PASSWORD, HEADER, TOKEN)

CREDENTIALS = {
    "API key": {"CALIPER_API_KEY": API_KEY},
    "OAuth client": {
        "CALIPER_OAUTH_TOKEN_URL": "{store}/token",
        "CALIPER_OAUTH_CLIENT_ID": "client",
        "CALIPER_OAUTH_CLIENT_SECRET": CLIENT_SECRET,
    },
    "log-in": {
        "CALIPER_LOGIN_URL": "{store}/token",
        "CALIPER_LOGIN_USERNAME": USER_NAME,
        "CALIPER_LOGIN_PASSWORD": PASSWORD,
    },
}


def quoting(handler: BaseHTTPRequestHandler, status: int) -> None:
    """Answer with all that was sent: as text, and as JSON."""
    headers = dict(handler.headers.items())
    sent = f"{handler.path} {headers} {body_of(handler).decode()}"
    answer(status, f"{sent} {json.dumps(sent)}".encode())(handler)


def forms(secret: str) -> Iterator[bytes]:
    """The spellings in which a secret is looked for."""
    for text in (secret, quote(secret, safe=""), secret.replace("/", r"\/")):
        yield text.encode()
    # Within a longer text, at each of the three places where base64 may begin.
    for shift in range(3):
        yield base64.b64encode(b" " * shift + secret.encode())[4:-4]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("installation")
    sample = write_sample(folder / "moodle.sqlite", students=10, hours=1, seed=10, end=END)
    url = f"sqlite:///{sample.path}"
    with installation(folder, url, sample.wwwroot, CALIPER_START="2026-03-01") as found:
        yield found


def assert_no_secret(*kept: bytes) -> None:
    for secret in SECRETS:
        for form in forms(secret):
            assert [text for text in kept if form in text] == []


CASES = [
    *[("the store", kind, status) for kind in CREDENTIALS for status in (400, 401, 500)],
    *[
        ("the token endpoint", kind, status)
        for kind in ("OAuth client", "log-in")
        for status in (200, 401)
    ],
]


@pytest.mark.parametrize(("refuses", "kind", "status"), CASES)
def test_no_quoted_secret_is_kept(site: Installation, refuses: str, kind: str, status: int) -> None:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/token" and refuses == "the store":
            token = {"access_token": TOKEN, "token": TOKEN, "token_type": "bearer"}
            answer(200, json.dumps(token).encode(), Content_Type="application/json")(handler)
        else:
            quoting(handler, status)

    with HostileStore(behave) as store:
        settings = {
            name: value.replace("{store}", f"http://{store.netloc}")
            for name, value in CREDENTIALS[kind].items()
        }
        told = site.run(
            "backfill",
            *between(HOURS),
            "--verbose",
            CALIPER_EVENT_STORE_URL=f"{store.url}?key={quote(API_KEY, safe='')}",
            CALIPER_EVENT_STORE_HEADERS=json.dumps({"X-Tenant-Key": HEADER}),
            CALIPER_ATTEMPTS="1",
            **({"CALIPER_API_KEY": None} | settings),
        )
        assert store.bodies

    assert told.status != 0
    assert_no_secret(told.out.encode(), told.err.encode())
    files = [path for path in site.folder.rglob("*") if path.is_file()]
    assert any(Path(path).suffix == ".db" for path in files)
    assert_no_secret(*(path.read_bytes() for path in files))
