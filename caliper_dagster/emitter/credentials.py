"""What authorizes a request to an event store: a key, or a token that expires and is renewed.

A `Credential` gives the value of ``Authorization`` for the next request, and a new one when the
event store answered 401 to the last. It is shared by all threads that send to one event store: a
token is renewed once, and the others wait for it.

Tokens come from an OAuth 2.0 token endpoint (RFC 6749, "Client Credentials Grant"), or from a
log-in that answers a JWT, as OpenLRW's does. Both are asked under the same total time as any other
request. Of what they answer to a refusal only the status and OAuth's own error code are told: the
rest may repeat the secret.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import quote_plus

import orjson

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.emitter.answer_body import is_page
from caliper_dagster.emitter.destination import Answer, Meaning
from caliper_dagster.emitter.http_exchange import HttpExchange, Response, is_transient

API_KEY = SettingName("CALIPER_API_KEY")
TOKEN_URL = SettingName("CALIPER_OAUTH_TOKEN_URL")
CLIENT_ID = SettingName("CALIPER_OAUTH_CLIENT_ID")
CLIENT_SECRET = SettingName("CALIPER_OAUTH_CLIENT_SECRET")
SCOPE = SettingName("CALIPER_OAUTH_SCOPE")
CLIENT_AUTH = SettingName("CALIPER_OAUTH_CLIENT_AUTH")
LOGIN_URL = SettingName("CALIPER_LOGIN_URL")
LOGIN_USERNAME = SettingName("CALIPER_LOGIN_USERNAME")
LOGIN_PASSWORD = SettingName("CALIPER_LOGIN_PASSWORD")

OAUTH_ACCOUNT = Sentence(CLIENT_ID, " and ", CLIENT_SECRET)
LOGIN_ACCOUNT = Sentence(LOGIN_USERNAME, " and ", LOGIN_PASSWORD)

_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")
_LONGEST_MARGIN = 60
_LONGEST_LIFETIME = 10 * 365 * 86_400
_OAUTH_ERRORS: Mapping[object, str] = {
    "invalid_client": OAUTH_ACCOUNT,
    "invalid_scope": SCOPE,
    "invalid_request": Sentence(CLIENT_AUTH, " and ", SCOPE),
    "invalid_grant": OAUTH_ACCOUNT,
    "unauthorized_client": CLIENT_ID,
    "unsupported_grant_type": TOKEN_URL,
}
"""RFC 6749, "Error Response": the codes, and what to check."""

_NO_TOKEN = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a body raises that is not the answer of a token endpoint."""


class Credential(Protocol):
    """What authorizes requests. Methods may be called from several threads at once."""

    @property
    def settings(self) -> Sentence:
        """The settings to check when the event store refuses it, as a part of a sentence."""
        ...

    def authorization(self, refused: str | None = None) -> str | Answer | None:
        """The value of ``Authorization`` for the next request; None for none.

        Args:
            refused: the value to which the event store answered 401, if it did. The same value is
                returned when there is no other one.

        Returns:
            an answer, which stands for that of the event store, if there is no value now.
        """
        ...

    def secrets(self) -> tuple[str, ...]:
        """Everything in it that must not be told."""
        ...

    def close(self) -> None:
        """Close its connections; none may be in use."""
        ...


class ApiKey:
    """A key, read anew for each request.

    Args:
        read: gives the key; None or empty for none. Raises `ConfigurationError` if it cannot.
        scheme: the word before the key; ``none`` for the bare key.

    Raises:
        ConfigurationError: the key cannot be read now, or holds a character that no header may.
    """

    def __init__(self, read: Callable[[], str | None], scheme: str) -> None:
        self._read, self._scheme = read, scheme
        self._keys: tuple[str, ...] = ("", self._current())

    @property
    def settings(self) -> Sentence:
        """See `Credential`."""
        return Sentence(API_KEY)

    def authorization(self, refused: str | None = None) -> str | Answer | None:
        """See `Credential`.

        A key that cannot be read while a run goes on may be about to be replaced: the request is
        tried again later.
        """
        try:
            key = self._current()
        except ConfigurationError as error:
            return Answer(Meaning.RETRY_LATER, sentence=error.sentence)
        if key != self._keys[-1]:
            self._keys = (self._keys[-1], key)
        return header_value(self._scheme, key) if key else None

    def secrets(self) -> tuple[str, ...]:
        """See `Credential`. The key before the present one may still be under way."""
        return self._keys

    def close(self) -> None:
        """See `Credential`."""

    def _current(self) -> str:
        key = (self._read() or "").strip()
        if key and not _HEADER_VALUE.fullmatch(key):
            raise ConfigurationError(
                Sentence(API_KEY, " holds a character that cannot be sent in an HTTP header.")
            )
        return key


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A token and the number of seconds for which it is valid; None if that is not known."""

    value: str
    lifetime: float | None


class TokenSource(Protocol):
    """Where tokens come from."""

    @property
    def settings(self) -> Sentence:
        """The settings of its account, as a part of a sentence."""
        ...

    def fetch(self) -> Token | Answer:
        """A new token, or the answer that stands for none."""
        ...

    def secrets(self) -> tuple[str, ...]:
        """What it sends to get a token."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


class RenewedToken:
    """A token that is fetched when it is needed, and again before it expires.

    Args:
        source: where it comes from.
        scheme: the word before the token; ``none`` for the bare token.
    """

    def __init__(self, source: TokenSource, scheme: str) -> None:
        self._source, self._scheme = source, scheme
        self._lock = threading.Lock()
        self._fetches = 0
        self._failure: Answer | None = None
        self._value: str | None = None
        self._valid_until: float | None = None
        self._tokens: tuple[str, ...] = ()

    @property
    def settings(self) -> Sentence:
        """See `Credential`."""
        return self._source.settings

    def authorization(self, refused: str | None = None) -> str | Answer | None:
        """See `Credential`. A thread that waited for another one's renewal shares its outcome."""
        fetches = self._fetches
        with self._lock:
            if self._failure is not None and self._fetches > fetches:
                return self._failure
            if self._value is None or self._value == refused or self._expires():
                self._failure = self._renew()
                self._fetches += 1
            return self._failure or self._value

    def secrets(self) -> tuple[str, ...]:
        """See `Credential`. The last token before the present one may still be under way."""
        return (*self._source.secrets(), *self._tokens)

    def close(self) -> None:
        """See `Credential`."""
        self._source.close()

    def _expires(self) -> bool:
        return self._valid_until is not None and time.monotonic() >= self._valid_until

    def _renew(self) -> Answer | None:
        """Fetch a token; the answer that stands for none if there is none."""
        asked = time.monotonic()
        self._value = None
        token = self._source.fetch()
        if isinstance(token, Answer):
            return token
        self._value = header_value(self._scheme, token.value)
        self._tokens = (*self._tokens[-1:], token.value)
        self._valid_until = None
        if token.lifetime is not None:
            # It has to be valid for as long as a request is under way.
            margin = min(_LONGEST_MARGIN, token.lifetime / 4)
            self._valid_until = asked + token.lifetime - margin
        return None


class _AskedByHttp:
    """What the sources of tokens have in common: an exchange, and the secrets sent last."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._sent: tuple[str, ...] = ()

    def secrets(self) -> tuple[str, ...]:
        """See `TokenSource`."""
        return self._sent

    def close(self) -> None:
        """See `TokenSource`."""
        self._exchange.close()


class ClientCredentials(_AskedByHttp):
    """Tokens of an OAuth 2.0 token endpoint, for a client id and a secret (RFC 6749, 4.4).

    Args:
        exchange: with the token endpoint.
        client_id: of the client.
        client_secret: gives its secret; raises `ConfigurationError` if it cannot.
        scope: what is asked for, separated by spaces; None for the endpoint's default.
        client_auth: how the client says who it is: ``basic``, by HTTP Basic, or ``form``, in the
            body (RFC 6749, 2.3.1).
    """

    def __init__(
        self,
        exchange: HttpExchange,
        client_id: str,
        client_secret: Callable[[], str],
        scope: str | None,
        client_auth: Literal["basic", "form"],
    ) -> None:
        super().__init__(exchange)
        self._client_id, self._client_secret = client_id, client_secret
        self._scope, self._client_auth = scope, client_auth

    @property
    def settings(self) -> Sentence:
        """See `TokenSource`."""
        return Sentence(CLIENT_ID, ", ", CLIENT_SECRET, " and ", SCOPE)

    def fetch(self) -> Token | Answer:
        """See `TokenSource`. The secret is read anew."""
        from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error

        try:
            secret = self._client_secret()
        except ConfigurationError as error:
            return Answer(Meaning.RETRY_LATER, sentence=error.sentence)
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        in_form: dict[str, Any] = {"scope": self._scope}
        if self._client_auth == "form":
            in_form |= {"include_client_id": True, "client_secret": secret}
        else:
            account = f"{quote_plus(self._client_id)}:{quote_plus(secret)}"
            encoded = base64.b64encode(account.encode()).decode()
            headers["Authorization"] = f"Basic {encoded}"
        self._sent = (secret,)
        client = BackendApplicationClient(self._client_id)
        body = client.prepare_request_body(**in_form)
        response = self._exchange.request("POST", headers, body.encode())
        usable = _usable(self._exchange, response, TOKEN_URL)
        if isinstance(usable, Answer):
            return usable
        code: object = None
        try:
            # The scope that was granted may be another one: the event store decides what it allows.
            found = client.parse_request_body_response(usable.body.decode("utf-8", "replace"))
        except OAuth2Error as error:
            found, code = {}, error.error
        except _NO_TOKEN:
            found = {}
        if usable.status >= 300 or code in _OAUTH_ERRORS:
            return self._refusal(usable.status, code)
        value, lifetime = found.get("access_token"), found.get("expires_in")
        return _token(self._exchange, usable.status, TOKEN_URL, value, lifetime)

    def _refusal(self, status: int, code: object) -> Answer:
        answered = f"answered {status}" + (f" ({code})" if code in _OAUTH_ERRORS else "")
        check = _OAUTH_ERRORS.get(code, Sentence(TOKEN_URL, ", ", OAUTH_ACCOUNT))
        return _refused(self._exchange, status, answered, check)


class LogIn(_AskedByHttp):
    """Tokens of a log-in that answers a JWT to a user name and a password in JSON.

    The request and its answer are those of OpenLRW's ``/api/auth/login``.

    Args:
        exchange: with the address of the log-in.
        username: gives the user name; raises `ConfigurationError` if it cannot.
        password: gives the password, likewise.
    """

    def __init__(
        self, exchange: HttpExchange, username: Callable[[], str], password: Callable[[], str]
    ) -> None:
        super().__init__(exchange)
        self._username, self._password = username, password

    @property
    def settings(self) -> Sentence:
        """See `TokenSource`."""
        return LOGIN_ACCOUNT

    def fetch(self) -> Token | Answer:
        """See `TokenSource`. User name and password are read anew."""
        try:
            username, password = self._username(), self._password()
        except ConfigurationError as error:
            return Answer(Meaning.RETRY_LATER, sentence=error.sentence)
        self._sent = username, password
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "X-Requested-With": "XMLHttpRequest",
        }
        body = orjson.dumps({"username": username, "password": password})
        usable = _usable(self._exchange, self._exchange.request("POST", headers, body), LOGIN_URL)
        if isinstance(usable, Answer):
            return usable
        if usable.status >= 300:
            check = Sentence(LOGIN_URL, ", ", LOGIN_ACCOUNT)
            return _refused(self._exchange, usable.status, f"answered {usable.status}", check)
        try:
            said = orjson.loads(usable.body)
            jwt = said.get("token") or said.get("access_token")
        except (orjson.JSONDecodeError, AttributeError):
            jwt = None
        return _token(self._exchange, usable.status, LOGIN_URL, jwt, _lifetime(jwt))


def header_value(scheme: str, credential: str) -> str:
    """What stands in ``Authorization``."""
    return credential if scheme.lower() == "none" else f"{scheme} {credential}"


def _usable(
    exchange: HttpExchange, response: Response | Answer, setting: SettingName
) -> Response | Answer:
    """The response if it may hold a token or a refusal; otherwise the answer that stands for it."""
    if isinstance(response, Answer):
        return response
    status = response.status
    if is_transient(status):
        return Answer(
            Meaning.RETRY_LATER,
            status=status,
            sentence=Sentence(
                f"{exchange.subject} answered {status}: it could not give a token now, try again "
                "later."
            ),
            retry_after=response.retry_after,
        )
    if 300 <= status < 400:
        return _refused(exchange, status, f"answered {status}: it redirects", setting)
    if status < 300 and is_page(response.content_type, response.body):
        return _refused(exchange, status, f"answered {status} with an HTML page", setting)
    return response


def _refused(exchange: HttpExchange, status: int, answered: str, check: str) -> Answer:
    return Answer(
        Meaning.REFUSED,
        status=status,
        sentence=Sentence(f"{exchange.subject} {answered}: check ", check, "."),
    )


def _token(
    exchange: HttpExchange, status: int, setting: SettingName, value: object, lifetime: object
) -> Token | Answer:
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        answered = f"answered {status} without a token that can be sent"
        return _refused(exchange, status, answered, setting)
    # A lifetime that says nothing counts as not known: the token is used until it is refused.
    if isinstance(lifetime, int | float) and 0 < lifetime < _LONGEST_LIFETIME:
        return Token(value, float(lifetime))
    return Token(value, None)


def _lifetime(jwt: object) -> float | None:
    """Seconds for which a JWT is valid, from its own claims (RFC 7519); None if it does not say.

    The signature is the event store's concern. Where the claims tell when it was issued, their
    difference does not depend on the clock of this machine.
    """
    parts = jwt.split(".") if isinstance(jwt, str) else []
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"]) - float(claims.get("iat") or time.time())
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
