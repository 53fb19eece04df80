"""A Caliper endpoint over HTTP: posts an envelope, and decides what the answer means.

This module knows the rules of Caliper's transport (1.2 "HTTP Requests", "HTTP Responses") and which
setting to check after which refusal. It keeps no record of what was sent.

No message, name or representation made here contains a key or a token, the value of a further
header, or the query of the URL.
"""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import orjson

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.emitter.answer_body import is_page, says_not_kept
from caliper_dagster.emitter.credentials import API_KEY, ApiKey, Credential
from caliper_dagster.emitter.destination import Answer, DestinationLimits, Meaning, Request
from caliper_dagster.emitter.http_exchange import MAX_BODY, HttpExchange, Response, is_transient
from caliper_dagster.emitter.store_words import (
    HIDDEN,
    plain_words,
    repeats_secret,
    shortened,
    without_quotes,
)

_URL = SettingName("CALIPER_EVENT_STORE_URL")
_AUTH_SCHEME = SettingName("CALIPER_AUTH_SCHEME")
_HEADERS = SettingName("CALIPER_EVENT_STORE_HEADERS")
_GZIP = SettingName("CALIPER_GZIP")
_BATCH_BYTES = SettingName("CALIPER_BATCH_BYTES")
_BATCH_SIZE = SettingName("CALIPER_BATCH_SIZE")
_VERSION = SettingName("CALIPER_VERSION")

_ACCOUNT = Sentence(
    API_KEY, " (for HTTP Basic, user:password in base64, with ", _AUTH_SCHEME, " set to Basic)"
)
_GZIP_LEVEL = 6
_UNAUTHORIZED = 401
_ABOUT_THE_KEY = {_UNAUTHORIZED, 403}
"""Answers to these are about the key, and may repeat it in any spelling: no words are kept."""
_SHORTEST_SECRET = 4
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OWN_HEADERS = frozenset(
    "accept authorization connection content-encoding content-length content-type expect host te "
    "trailer transfer-encoding upgrade".split()
)
_CONFLICT = 409
_CONTENT = frozenset({400, _CONFLICT, 422})
_TOO_LARGE = 413
_WITHOUT_CONFIGURATION = frozenset({400, 404, 405, 406, 410, 411, 415, 422, 501})


class HttpDestination:
    """One Caliper endpoint; a context manager.

    It is a `Destination` of envelopes. Connections are those of `HttpExchange`.

    Args:
        url: where envelopes are posted.
        credential: what authorizes requests, and is closed with the destination; a text is a key
            that stays the same; None or empty sends no ``Authorization``.
        auth_scheme: the word before such a key; ``none`` sends the bare key.
        timeout: seconds to wait for the answer.
        connect_timeout: seconds to wait for the connection. The whole request, from connecting to
            the end of the body, ends within the sum of both; so does a request for a token.
        headers: further headers of each request, by name. Their values are kept as secrets.
        ca_file: certificates (PEM) of the authorities to trust instead of the usual ones.
        compressed: send bodies with gzip. No Caliper endpoint has to accept that.
        name: what the ledger calls it; its address, without what may be secret, when not given.

    Raises:
        ConfigurationError: the URL, the key, a header or the file cannot be used; the sentence
            names the setting.
    """

    def __init__(
        self,
        url: str,
        credential: Credential | str | None,
        auth_scheme: str = "Bearer",
        timeout: float = 30,
        *,
        connect_timeout: float = 10,
        headers: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        compressed: bool = False,
        name: str | None = None,
    ) -> None:
        if credential is None or isinstance(credential, str):
            key = credential
            credential = ApiKey(lambda: key, auth_scheme)
        self._credential = credential
        self._headers = _further_headers(headers or {})
        self._exchange = HttpExchange(
            url,
            peer="event store",
            setting=_URL,
            account=_ACCOUNT,
            timeout=timeout,
            connect_timeout=connect_timeout,
            ca_file=ca_file,
        )
        self._name = name or self.address
        self._compressed = compressed
        query = urlsplit(url).query
        values = (query, *(value for _, value in parse_qsl(query)), *self._headers.values())
        self._secrets = tuple(value for value in values if len(value) >= _SHORTEST_SECRET)

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        return self._name

    @property
    def address(self) -> str:
        """The endpoint as it may be shown: scheme, host, port and path of its URL."""
        return self._exchange.address

    @property
    def takes_whole_hours(self) -> bool:
        """False: a request is an envelope."""
        return False

    def __repr__(self) -> str:
        return f"HttpDestination({self.address!r})"

    def __enter__(self) -> HttpDestination:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; none may be in use."""
        self._exchange.close()
        self._credential.close()

    def send(self, request: Request) -> Answer:
        """Post one envelope, once; see `Destination`.

        A 409 says that the ids are known already: of one event alone, that is accepted.
        """
        answer = self.post(request.envelope(), request.event_ids)
        if answer.status == _CONFLICT and len(request.events) == 1:
            return Answer(Meaning.ACCEPTED, _CONFLICT)
        return answer

    def post(self, body: bytes, event_ids: Callable[[], Collection[str]] = frozenset) -> Answer:
        """Post a body that is an envelope, once.

        A 2xx means that the endpoint has received the envelope (1.2 "HTTP Responses"), unless its
        body says otherwise (``answer_body``). A redirect is a refusal, and so is a page.

        Args:
            body: the envelope.
            event_ids: returns the ids of its events.
        """
        response = self._request("POST", body)
        if isinstance(response, Answer):
            return response
        if not 200 <= response.status < 300:
            return self._refusal(response, body)
        if is_page(response.content_type, response.body):
            return self._page(response.status)
        if says_not_kept(response.status, response.body, event_ids):
            return self._not_kept(response, body)
        return Answer(Meaning.ACCEPTED, response.status)

    def _page(self, status: int) -> Answer:
        return Answer(
            Meaning.REFUSED,
            status=status,
            sentence=Sentence(
                f"{self._exchange.subject} answered {status} with an HTML page: check ",
                _URL,
                ".",
            ),
        )

    def _not_kept(self, response: Response, sent: bytes) -> Answer:
        words = self._words(response.body, sent)
        return Answer(
            Meaning.REJECTED,
            status=response.status,
            words=words,
            sentence=Sentence(
                f"{self._answered(response.status, words)}, and says that it did not keep all "
                "events."
            ),
        )

    def _answered(self, status: int, words: str) -> str:
        """The beginning of a sentence about an answer with these words."""
        return f"{self._exchange.subject} answered {status}" + (f" ({words})" if words else "")

    def limits(self) -> DestinationLimits | None:
        """Ask a 1.2 endpoint for its configuration ("Configuration Information").

        The endpoint gives its maximum payload in kilobytes; the smaller reading, 1,000 bytes, is
        used.

        Returns:
            None when it offers no configuration, as in Caliper 1.1.

        Raises:
            DeliveryError: it refused the key, redirected, failed, or did not answer.
        """
        response = self._request("GET")
        if isinstance(response, Answer):
            raise response.error()
        if response.status in _WITHOUT_CONFIGURATION:
            return None
        if 200 <= response.status < 300:
            return _limits(response.body)
        raise self._refusal(response).error()

    def _request(self, method: str, body: bytes | None = None) -> Response | Answer:
        """The response to a request, or the answer that stands for none.

        After a 401 the request is sent again if there is another credential than the one that was
        refused; once, whatever the second answer is.
        """
        headers = self._headers | {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if body is not None and self._compressed:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        authorization = self._credential.authorization()
        response = self._authorized(method, headers, body, authorization)
        if not isinstance(authorization, str) or response.status != _UNAUTHORIZED:
            return response
        other = self._credential.authorization(refused=authorization)
        return (
            response if other == authorization else self._authorized(method, headers, body, other)
        )

    def _authorized(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        authorization: str | Answer | None,
    ) -> Response | Answer:
        if isinstance(authorization, Answer):
            return authorization
        own = {} if authorization is None else {"Authorization": authorization}
        return self._exchange.request(method, {**headers, **own}, body)

    def _refusal(self, response: Response, sent: bytes = b"{}") -> Answer:
        status = response.status
        words = self._words(response.body, sent) if status not in _ABOUT_THE_KEY else ""
        return Answer(
            _meaning(status),
            status=status,
            words=words,
            sentence=Sentence(f"{self._answered(status, words)}: ", self._remedy(status), "."),
            retry_after=response.retry_after,
        )

    def _words(self, body: bytes, sent: bytes) -> str:
        """What is kept of an answer's text; see ``store_words``."""
        secrets = _spellings((*self._secrets, *self._credential.secrets()))
        text = body.decode("utf-8", "replace")
        if len(body) == MAX_BODY:
            # The end may be a part of a secret, which would not be recognised.
            text = text[: -max(map(len, secrets), default=0) or None]
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        if repeats_secret(text, secrets):
            return ""
        return shortened(without_quotes(plain_words(text), sent))

    def _remedy(self, status: int) -> Sentence:
        if 300 <= status < 400:
            return Sentence("it redirects, so set ", _URL, " to the address it redirects to")
        if _meaning(status) is Meaning.RETRY_LATER:
            return Sentence("it could not accept the envelope now, try again later")
        if status == _UNAUTHORIZED:
            return Sentence("check ", self._credential.settings)
        if status in _ABOUT_THE_KEY:
            return Sentence("check ", self._credential.settings, " and what it allows")
        return Sentence(*_REMEDIES.get(status, ("it refused the envelope",)))


def _further_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(
                Sentence(_HEADERS, " is wrong: it has a name that no HTTP header can have.")
            )
        if name.lower() in _OWN_HEADERS:
            raise ConfigurationError(
                Sentence(_HEADERS, f" is wrong: {name} is not a further header.")
            )
        if not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(
                Sentence(_HEADERS, f" is wrong: no HTTP header can have the value that {name} has.")
            )
    return dict(headers)


def _spellings(secrets: Collection[str]) -> tuple[str, ...]:
    """All forms in which an event store could repeat a secret, the longest first."""
    forms = {
        form
        for secret in secrets
        if secret
        for form in (secret, quote(secret, safe=""), html.escape(secret))
    }
    return tuple(sorted(forms, key=len, reverse=True))


def _meaning(status: int) -> Meaning:
    """What any status but a 2xx means."""
    if is_transient(status):
        return Meaning.RETRY_LATER
    if status in _CONTENT:
        return Meaning.REJECTED
    return Meaning.TOO_LARGE if status == _TOO_LARGE else Meaning.REFUSED


_REMEDIES: Mapping[int, tuple[str, ...]] = {
    400: ("it found the envelope malformed",),
    404: ("check ", _URL),
    405: ("it accepts no envelopes there, check ", _URL),
    407: ("check the proxy that HTTP_PROXY or HTTPS_PROXY names",),
    409: ("it has events with these ids already",),
    410: ("check ", _URL),
    413: ("the envelope is too large for it, lower ", _BATCH_BYTES, " or ", _BATCH_SIZE),
    415: ("it accepts no JSON there, check ", _URL, ", or no gzip, check ", _GZIP),
    422: ("it does not accept this version of Caliper or this content, check ", _VERSION),
}


def _limits(body: bytes) -> DestinationLimits | None:
    """The limits in an endpoint's configuration; None when the body is no configuration."""
    try:
        configuration = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(configuration, dict):
        return None
    versions = _either(configuration, "caliperSupportedVersions", "caliper_supported_versions")
    if not isinstance(versions, list):
        return None
    kilobytes = _either(configuration, "caliperMaximumPayloadSize", "caliper_maximum_payload_size")
    is_limit = isinstance(kilobytes, int) and kilobytes > 0
    return DestinationLimits(
        kilobytes * 1000 if is_limit else None,
        tuple(version for version in versions if isinstance(version, str)),
    )


def _either(configuration: dict[str, Any], camel: str, snake: str) -> Any:  # noqa: ANN401 - JSON
    return configuration.get(camel, configuration.get(snake))
