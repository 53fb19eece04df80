"""The credential and the further headers of an event store, from settings to what is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from caliper_dagster.config.event_stores import EventStoreDefinition, event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import all_sites
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.hostile_store import HostileStore, answer

SECRET = "secret-that-nobody-may-see"
TOKEN = answer(200, b'{"access_token": "token-1", "token": "token-2", "expires_in": 3600}')


def single(values: Mapping[str, str]) -> EventStoreDefinition:
    (store,) = event_stores(Settings.from_environment(values))
    return store


def sent_headers(values: Mapping[str, str]) -> tuple[dict[str, str], list[bytes], list[str]]:
    """The headers that an event store gets, and what the token endpoint gets and is called with."""
    with HostileStore() as target, HostileStore(TOKEN) as tokens:
        places = {"$STORE": target.url, "$TOKENS": tokens.url}
        given = {name: places.get(value, value) for name, value in values.items()}
        with environment(given), single(given).open() as sender:
            assert sender.post(b"{}").status == 200
        assert SECRET not in repr(single(given))
    return target.headers[0], tokens.bodies, tokens.requests


def test_the_environment_describes_a_token_endpoint() -> None:
    headers, bodies, _ = sent_headers(
        {
            "CALIPER_EVENT_STORE_URL": "$STORE",
            "CALIPER_OAUTH_TOKEN_URL": "$TOKENS",
            "CALIPER_OAUTH_CLIENT_ID": "client",
            "CALIPER_OAUTH_CLIENT_SECRET": SECRET,
            "CALIPER_OAUTH_SCOPE": "events.write",
            "CALIPER_OAUTH_CLIENT_AUTH": "form",
            "CALIPER_EVENT_STORE_HEADERS": '{"X-Tenant": "north"}',
        }
    )
    assert headers["Authorization"] == "Bearer token-1"
    assert headers["X-Tenant"] == "north"
    (body,) = bodies
    assert f"client_secret={SECRET}" in body.decode()
    assert "scope=events.write" in body.decode()


def test_the_environment_describes_a_log_in(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n")
    headers, bodies, _ = sent_headers(
        {
            "CALIPER_EVENT_STORE_URL": "$STORE",
            "CALIPER_LOGIN_URL": "$TOKENS",
            "CALIPER_LOGIN_USERNAME": "key",
            "CALIPER_LOGIN_PASSWORD_FILE": str(tmp_path / "password"),
        }
    )
    assert headers["Authorization"] == "Bearer token-2"
    assert json.loads(bodies[0]) == {"username": "key", "password": SECRET}


def test_a_key_in_a_file_is_used_as_it_is_at_each_request(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first\n")
    with HostileStore() as target:
        given = {"CALIPER_EVENT_STORE_URL": target.url, "CALIPER_API_KEY_FILE": str(file)}
        with environment(given), single(given).open() as sender:
            sender.post(b"{}")
            file.write_text("second\n")
            sender.post(b"{}")
    assert [headers["Authorization"] for headers in target.headers] == [
        "Bearer first",
        "Bearer second",
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"CALIPER_API_KEY": SECRET, "CALIPER_LOGIN_PASSWORD": SECRET},
            "CALIPER_API_KEY and CALIPER_LOGIN_PASSWORD are both set: ",
        ),
        (
            {"CALIPER_OAUTH_CLIENT_ID": "c", "CALIPER_LOGIN_URL": "https://x"},
            "CALIPER_OAUTH_CLIENT_ID and CALIPER_LOGIN_URL are both set: ",
        ),
        (
            {"CALIPER_OAUTH_TOKEN_URL": "https://x", "CALIPER_OAUTH_CLIENT_ID": "c"},
            "CALIPER_OAUTH_CLIENT_SECRET is not set: ",
        ),
        (
            {"CALIPER_OAUTH_CLIENT_SECRET": SECRET},
            "CALIPER_OAUTH_TOKEN_URL is not set: ",
        ),
        ({"CALIPER_LOGIN_URL": "https://x"}, "CALIPER_LOGIN_USERNAME is not set: "),
        ({"CALIPER_EVENT_STORE_HEADERS": SECRET}, "CALIPER_EVENT_STORE_HEADERS is wrong: "),
        ({"CALIPER_EVENT_STORE_HEADERS": f'["{SECRET}"]'}, "it must be JSON of headers"),
        ({"CALIPER_EVENT_STORE_HEADERS": '{"X-A": 1}'}, "it must be JSON of headers"),
        (
            {"CALIPER_EVENT_STORE_URL": f"https://user:{SECRET}@store.example.org/"},
            "CALIPER_EVENT_STORE_URL must hold neither user nor password: put them into "
            "CALIPER_API_KEY",
        ),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(values: dict[str, str], words: str) -> None:
    given = {"CALIPER_EVENT_STORE_URL": "https://store.example.org/", **values}
    with environment(given), pytest.raises(ConfigurationError) as error:
        single(given).open()
    assert words in str(error.value)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("variable", ["CALIPER_OAUTH_TOKEN_URL", "CALIPER_LOGIN_URL"])
def test_the_address_of_a_token_has_no_account(variable: str) -> None:
    for value in (f"https://u:{SECRET}@x/token", "token", "ftp://x/token"):
        with pytest.raises(ConfigurationError, match=f"^{variable} is wrong: ") as error:
            Settings.from_environment({variable: value})
        assert SECRET not in str(error.value)


FILE = """
fine:
  url: https://fine.example.org/caliper
  oauth_token_url: https://idp.example.org/token
  oauth_client_id: client
  oauth_client_secret: {env: FINE_SECRET}
  headers: {X-Tenant: north, X-Api-Key: {env: FINE_HEADER}}
plain:
  url: https://plain.example.org/caliper
"""


def test_a_file_of_event_stores_gives_each_its_own_credential(tmp_path: Path) -> None:
    (tmp_path / "stores.yaml").write_text(FILE)
    given = {
        "CALIPER_EVENT_STORES": str(tmp_path / "stores.yaml"),
        "CALIPER_OAUTH_SCOPE": "scope-of-nobody",
        "CALIPER_EVENT_STORE_HEADERS": f'{{"X-Api-Key": "{SECRET}"}}',
        "CALIPER_API_KEY": SECRET,
        "FINE_SECRET": SECRET,
        "FINE_HEADER": f"{SECRET}-header",
    }
    with environment(given):
        fine, plain = event_stores(Settings.from_environment(given))
        assert (fine.oauth_scope, plain.headers, plain.has_key()) == (None, None, False)
        assert fine.headers is not None
        # A definition is a key of what a run knows of each event store.
        assert {fine: 1, plain: 2}[fine] == 1
        assert SECRET not in repr((fine, plain))
        for store in (fine, plain):
            with store.open() as sender:
                assert SECRET not in repr(sender)
    with environment(given | {"FINE_HEADER": ""}), pytest.raises(ConfigurationError) as error:
        fine.open()
    assert fine.sentence(error.value).startswith(
        "Event store fine: headers ($FINE_HEADER) is not set: "
    )


@pytest.mark.parametrize(
    "headers",
    [
        f"{{X-Api-Key: {SECRET}}}",
        f"{{Cookie: {SECRET}}}",
        f"{{x-amz-security-token: {SECRET}}}",
        "{X-Tenant: 3}",
        "[X-Tenant]",
        SECRET,
        f"{{X-Key: {{enw: {SECRET}}}}}",
    ],
)
def test_a_header_that_may_be_secret_stands_in_no_file_of_settings(
    headers: str, tmp_path: Path
) -> None:
    (tmp_path / "stores.yaml").write_text(f"fine: {{url: 'http://x', headers: {headers}}}")
    with pytest.raises(ConfigurationError, match="event store fine: headers: ") as error:
        event_stores(
            Settings.from_environment({"CALIPER_EVENT_STORES": str(tmp_path / "stores.yaml")})
        )
    assert SECRET not in str(error.value)


def test_a_site_inherits_no_credential_for_an_event_store_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "sites.yaml").write_text(
        "north:\n"
        "  MOODLE_DB_URL: {env: NORTH_DB}\n"
        "  MOODLE_WWWROOT: https://north.example.org\n"
        "  CALIPER_EVENT_STORE_URL: https://events.example.org/north\n"
        "south:\n"
        "  MOODLE_DB_URL: {env: SOUTH_DB}\n"
        "  MOODLE_WWWROOT: https://south.example.org\n"
        "west:\n"
        "  MOODLE_DB_URL: {env: WEST_DB}\n"
        "  MOODLE_WWWROOT: https://west.example.org\n"
        "  CALIPER_API_KEY: {env: WEST_KEY}\n"
    )
    given = {
        "CALIPER_SITES": str(tmp_path / "sites.yaml"),
        "DAGSTER_HOME": str(tmp_path),
        "CALIPER_EVENT_STORE_URL": "https://events.example.org/all",
        "CALIPER_OAUTH_TOKEN_URL": "https://idp.example.org/token",
        "CALIPER_OAUTH_CLIENT_ID": "client",
        "CALIPER_OAUTH_CLIENT_SECRET_FILE": "/run/secrets/client",
    }
    north, south, west = (site.event_store for site in all_sites(given))
    assert (north.oauth_token_url, north.oauth_client_secret) == (None, None)
    assert south.oauth_token_url == "https://idp.example.org/token"
    assert south.oauth_client_secret is not None
    assert south.oauth_client_secret.file == "/run/secrets/client"
    # A key of its own is the whole credential.
    assert (west.oauth_token_url, west.oauth_client_secret) == (None, None)
    assert west.api_key is not None
