"""What an event store's requests carry, from its settings: its credential and further headers.

An event store takes one credential: a key, a token of an OAuth 2.0 token endpoint, or a token of a
log-in. Secrets are read when a destination is opened, and again whenever a token is renewed; a key
is read again for each request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from caliper_dagster.config.declaration import Declaration, Reference, not_set
from caliper_dagster.config.event_store_settings import EventStoreSettings
from caliper_dagster.config.settings import declared
from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName

if TYPE_CHECKING:
    from caliper_dagster.emitter.credentials import Credential
    from caliper_dagster.emitter.http_exchange import HttpExchange

URL = declared()["CALIPER_EVENT_STORE_URL"]
_API_KEY = declared()["CALIPER_API_KEY"]
_HEADERS = declared()["CALIPER_EVENT_STORE_HEADERS"]
_OAUTH = tuple(
    declared()[f"CALIPER_OAUTH_{name}"] for name in ("TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET")
)
_LOGIN = tuple(declared()[f"CALIPER_LOGIN_{name}"] for name in ("URL", "USERNAME", "PASSWORD"))


@dataclass(frozen=True, slots=True)
class StoreValues:
    """The values of an event store's settings, wherever they stand.

    Attributes:
        named: whether a file names the event store: a reference must then lead somewhere. Without
            a file, a variable that is not set is no value.
    """

    settings: EventStoreSettings
    named: bool

    def is_set(self, setting: Declaration) -> bool:
        """Whether there is a value, or should be one."""
        held = getattr(self.settings, setting.key)
        if isinstance(held, Reference) and not self.named and held.env == setting.variable:
            return held.value(setting.variable) is not None
        return held is not None

    def text(self, setting: Declaration) -> str:
        """The value of a setting.

        Raises:
            ConfigurationError: it is not set, or its file cannot be read.
        """
        held = getattr(self.settings, setting.key)
        if held is None:
            raise not_set(setting)
        return self.referred(setting, held) if isinstance(held, Reference) else str(held)

    def referred(self, setting: Declaration, reference: Reference) -> str:
        """The value at a place; see `text`."""
        value = reference.value(setting.variable)
        if value is None:
            raise not_set(setting, reference)
        return value


def is_authorized(values: StoreValues) -> bool:
    """Whether requests carry anything that may authorize them."""
    return any(map(values.is_set, (_API_KEY, _OAUTH[0], _LOGIN[0], _HEADERS)))


def credential(values: StoreValues) -> Credential:
    """The credential of an event store.

    Raises:
        ConfigurationError: there are two, or a part of it is missing or cannot be read.
    """
    from caliper_dagster.emitter.credentials import ApiKey, ClientCredentials, LogIn, RenewedToken

    kind = _kind(values)
    scheme = values.settings.auth_scheme
    if kind == (_API_KEY,):
        return ApiKey(partial(_optional, values, _API_KEY), scheme)
    url, account, _ = map(values.text, kind)
    second = partial(values.text, kind[2])
    if kind == _LOGIN:
        exchange = _token_exchange(values.settings, url, "log-in", kind)
        return RenewedToken(LogIn(exchange, partial(values.text, kind[1]), second), scheme)
    exchange = _token_exchange(values.settings, url, "token endpoint", kind)
    scope, client_auth = values.settings.oauth_scope, values.settings.oauth_client_auth
    return RenewedToken(ClientCredentials(exchange, account, second, scope, client_auth), scheme)


def refuse_credentials(values: StoreValues) -> None:
    """Make sure that no credential is set for an event store that takes none.

    Raises:
        ConfigurationError: one is.
    """
    for setting in (_API_KEY, *_OAUTH, *_LOGIN, _HEADERS):
        if values.is_set(setting):
            raise ConfigurationError(
                Sentence(
                    SettingName(setting.variable),
                    " is set, but the event store is a folder, which takes no credential: remove "
                    "it. Those of an object store stand in the variables that its client reads, "
                    "such as AWS_ACCESS_KEY_ID.",
                )
            )


def further_headers(values: StoreValues) -> dict[str, str]:
    """The further headers of each request, by name.

    Raises:
        ConfigurationError: a value cannot be read, or the text is no JSON of that form.
    """
    held = values.settings.headers
    if isinstance(held, tuple):
        return {
            name: value if isinstance(value, str) else values.referred(_HEADERS, value)
            for name, value in held
        }
    text = _optional(values, _HEADERS)
    if text is None:
        return {}
    try:
        headers = json.loads(text)
    except (ValueError, RecursionError):
        headers = None
    if isinstance(headers, dict) and all(isinstance(value, str) for value in headers.values()):
        return headers
    raise ConfigurationError(
        Sentence(
            SettingName(_HEADERS.variable),
            ' is wrong: it must be JSON of headers, such as {"X-Tenant": "moodle"}.',
        )
    )


def _optional(values: StoreValues, setting: Declaration) -> str | None:
    return values.text(setting) if values.is_set(setting) else None


def _kind(values: StoreValues) -> tuple[Declaration, ...]:
    """The settings of the credential; those of the key when there is none."""
    kinds = ((_API_KEY,), _OAUTH, _LOGIN)
    given = [(kind, setting) for kind in kinds for setting in kind if values.is_set(setting)]
    if not given:
        return kinds[0]
    kind, setting = given[0]
    for other_kind, other in given:
        if other_kind != kind:
            raise ConfigurationError(
                Sentence(
                    SettingName(setting.variable),
                    " and ",
                    SettingName(other.variable),
                    " are both set: an event store takes one credential, so remove one of them.",
                )
            )
    return kind


def _token_exchange(
    settings: EventStoreSettings, url: str, peer: str, kind: Sequence[Declaration]
) -> HttpExchange:
    from caliper_dagster.emitter.http_exchange import HttpExchange

    setting, user, password = (SettingName(part.variable) for part in kind)
    return HttpExchange(
        url,
        peer=peer,
        setting=setting,
        account=Sentence(user, " and ", password),
        timeout=settings.timeout,
        connect_timeout=settings.connect_timeout,
        ca_file=settings.ca_file,
    )
