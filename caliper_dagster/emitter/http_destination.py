"""A Caliper endpoint over HTTP: posts an envelope, and decides what the answer means.

This module knows the rules of Caliper's transport (1.2 "HTTP Requests", "HTTP Responses") and which
setting to check after which refusal. It keeps no record of what was sent.

No message, name or representation made here contains the API key, or the user, password or query of
the URL. Errors are raised outside the handlers of the HTTP client's own exceptions: the texts of
these repeat the URL, and an error raised inside would carry them as its context.
"""

from __future__ import annotations

import gzip
import html
import re
import ssl
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import orjson
import requests
import urllib3

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.emitter.answer_body import is_page, says_not_kept
from caliper_dagster.emitter.destination import Answer, DestinationLimits, Meaning, Request
from caliper_dagster.emitter.store_words import (
    HIDDEN,
    plain_words,
    repeats_secret,
    shortened,
    without_quotes,
)
from caliper_dagster.emitter.watched_session import RequestDeadline, WatchedSession

_URL = SettingName("CALIPER_EVENT_STORE_URL")
_API_KEY = SettingName("CALIPER_API_KEY")
_CA_FILE = SettingName("CALIPER_CA_FILE")
_TIMEOUT = SettingName("CALIPER_EVENT_STORE_TIMEOUT")
_GZIP = SettingName("CALIPER_GZIP")
_BATCH_BYTES = SettingName("CALIPER_BATCH_BYTES")
_BATCH_SIZE = SettingName("CALIPER_BATCH_SIZE")
_VERSION = SettingName("CALIPER_VERSION")

_MAX_BODY = 1_048_576
"""Bytes of a response that are read. The longest that is expected are the ids of an envelope."""

_GZIP_LEVEL = 6
_ABOUT_THE_KEY = {401, 403}
"""Answers to these are about the key, and may repeat it in any spelling: no words are kept."""
_SHORTEST_SECRET = 4
_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_TRANSIENT = frozenset({408, 425, 429})
_CONFLICT = 409
_CONTENT = frozenset({400, _CONFLICT, 422})
_TOO_LARGE = 413
_WITHOUT_CONFIGURATION = frozenset({400, 404, 405, 406, 410, 411, 415, 422, 501})


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    body: bytes
    retry_after: float | None = None
    content_type: str = ""


class HttpDestination:
    """One Caliper endpoint, over one kept-alive connection per thread; a context manager.

    It is a `Destination` of envelopes. Proxies are those of ``HTTP_PROXY``, ``HTTPS_PROXY`` and
    ``NO_PROXY``. TLS certificates are always verified.

    Args:
        url: where envelopes are posted.
        api_key: sent in ``Authorization``; None or empty sends no such header.
        auth_scheme: the word before the key; ``none`` sends the bare key.
        timeout: seconds to wait for the answer.
        connect_timeout: seconds to wait for the connection. The whole request, from connecting to
            the end of the body, ends within the sum of both.
        ca_file: certificates (PEM) of the authorities to trust instead of the usual ones.
        compressed: send bodies with gzip. No Caliper endpoint has to accept that.
        name: what the ledger calls it; its address, without what may be secret, when not given.

    Raises:
        ConfigurationError: the URL, the key or the file cannot be used; the sentence names the
            setting.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        auth_scheme: str = "Bearer",
        timeout: float = 30,
        *,
        connect_timeout: float = 10,
        ca_file: str | None = None,
        compressed: bool = False,
        name: str | None = None,
    ) -> None:
        self._address = _display_name(url)
        self._name = name or self._address
        self._url = url
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._verify = _certificates(ca_file)
        self._compressed = compressed
        key = (api_key or "").strip()
        self._secrets = _secrets(url, key)
        self._authorize = _authorization(key, auth_scheme)
        self._of_thread = threading.local()
        self._sessions: list[requests.Session] = []

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        return self._name

    @property
    def address(self) -> str:
        """The endpoint as it may be shown: scheme, host, port and path of its URL."""
        return self._address

    @property
    def takes_whole_hours(self) -> bool:
        """False: a request is an envelope."""
        return False

    def __repr__(self) -> str:
        return f"HttpDestination({self._address!r})"

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
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        self._of_thread = threading.local()

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
        response = self._exchange("POST", body)
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
                f"The event store at {self._address} answered {status} with an HTML page: check ",
                _URL,
                ".",
            ),
        )

    def _not_kept(self, response: _Response, sent: bytes) -> Answer:
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
        quoted = f" ({words})" if words else ""
        return f"The event store at {self._address} answered {status}{quoted}"

    def limits(self) -> DestinationLimits | None:
        """Ask a 1.2 endpoint for its configuration ("Configuration Information").

        The endpoint gives its maximum payload in kilobytes; the smaller reading, 1,000 bytes, is
        used.

        Returns:
            None when it offers no configuration, as in Caliper 1.1.

        Raises:
            DeliveryError: it refused the key, redirected, failed, or did not answer.
        """
        response = self._exchange("GET")
        if isinstance(response, Answer):
            raise response.error()
        if response.status in _WITHOUT_CONFIGURATION:
            return None
        if 200 <= response.status < 300:
            return _limits(response.body)
        raise self._refusal(response).error()

    def _exchange(self, method: str, body: bytes | None = None) -> _Response | Answer:
        """The response to a request, or the answer that stands for none."""
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if body is not None and self._compressed:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        limit = self._connect_timeout + self._timeout
        with RequestDeadline(limit) as deadline:
            answer = self._answer(method, body, headers)
        # A socket that we shut ends a header or a body early, and what was read looks complete.
        return self._too_slow(limit) if deadline.passed else answer

    def _answer(
        self, method: str, body: bytes | None, headers: Mapping[str, str]
    ) -> _Response | Answer:
        try:
            with self._session().request(
                method,
                self._url,
                data=body,
                headers=headers,
                timeout=(self._connect_timeout, self._timeout),
                allow_redirects=False,
                stream=True,
                verify=self._verify,
            ) as response:
                return _Response(
                    response.status_code,
                    _read(response),
                    _retry_after(response.headers),
                    response.headers.get("Content-Type", ""),
                )
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            return self._no_response(error)

    def _too_slow(self, limit: float) -> Answer:
        return Answer(
            Meaning.RETRY_LATER,
            sentence=Sentence(
                f"The event store at {self._address} did not complete its answer within "
                f"{limit:g} seconds, connecting included (",
                _TIMEOUT,
                ").",
            ),
        )

    def _session(self) -> requests.Session:
        """The session of this thread: they are not made to be shared."""
        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = WatchedSession()
            # A session without auth would take it from .netrc or from the URL, over our header.
            session.auth = self._authorize
            self._of_thread.session = session
            self._sessions.append(session)
        return session

    def _no_response(self, error: Exception) -> Answer:
        """The answer that stands for no response; nothing of the client's own text is kept."""
        where = f"The event store at {self._address}"
        if isinstance(error, requests.exceptions.SSLError):
            return Answer(
                Meaning.REFUSED,
                sentence=Sentence(
                    f"{where} has no TLS certificate that this machine trusts: check ",
                    _URL,
                    ", or name its authority's certificate in ",
                    _CA_FILE,
                    ".",
                ),
            )
        if isinstance(error, requests.exceptions.ProxyError):
            reason = Sentence("cannot be reached through the proxy of HTTP_PROXY or HTTPS_PROXY.")
        elif isinstance(error, requests.exceptions.ReadTimeout):
            reason = Sentence(f"did not answer within {self._timeout:g} seconds (", _TIMEOUT, ").")
        elif system_reason := _system_reason(error):
            reason = Sentence(
                f"cannot be reached ({system_reason}): check ",
                _URL,
                ", and that the event store is running.",
            )
        else:
            reason = Sentence(
                "closed the connection without an answer: check ", _URL, " if this persists."
            )
        return Answer(Meaning.RETRY_LATER, sentence=Sentence(where, " ", reason))

    def _refusal(self, response: _Response, sent: bytes = b"{}") -> Answer:
        status = response.status
        words = self._words(response.body, sent) if status not in _ABOUT_THE_KEY else ""
        return Answer(
            _meaning(status),
            status=status,
            words=words,
            sentence=Sentence(f"{self._answered(status, words)}: ", _remedy(status), "."),
            retry_after=response.retry_after,
        )

    def _words(self, body: bytes, sent: bytes) -> str:
        """What is kept of an answer's text; see ``store_words``."""
        text = body.decode("utf-8", "replace")
        if len(body) == _MAX_BODY:
            # The end may be a part of a secret, which would not be recognised.
            text = text[: -max(map(len, self._secrets), default=0) or None]
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        if repeats_secret(text, self._secrets):
            return ""
        return shortened(without_quotes(plain_words(text), sent))


def _display_name(url: str) -> str:
    try:
        requests.Request("POST", url).prepare()
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (requests.RequestException, ValueError):
        host = None
    if not host or parts.scheme not in _DEFAULT_PORTS:
        raise ConfigurationError(
            Sentence(
                _URL, " must be an http or https URL such as https://store.example.org/caliper."
            )
        )
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        netloc = f"{netloc}:{port}"
    return f"{parts.scheme}://{netloc}{parts.path}"


def _authorization(
    key: str, scheme: str
) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    value = key if scheme.lower() == "none" else f"{scheme} {key}"
    if key and not _HEADER_VALUE.fullmatch(value):
        raise ConfigurationError(
            Sentence(_API_KEY, " holds a character that cannot be sent in an HTTP header.")
        )

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if key:
            request.headers["Authorization"] = value
        return request

    return authorize


def _secrets(url: str, key: str) -> tuple[str, ...]:
    """All forms in which an event store could repeat a secret, the longest first."""
    parts = urlsplit(url)
    plain = [key, parts.query, *(value for _, value in parse_qsl(parts.query))]
    forms = {
        form
        for secret in plain
        if len(secret) >= _SHORTEST_SECRET or (secret and secret == key)
        for form in (secret, quote(secret, safe=""), html.escape(secret))
    }
    return tuple(sorted(forms, key=len, reverse=True))


def _certificates(ca_file: str | None) -> str | None:
    if ca_file is None:
        return None
    try:
        ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise ConfigurationError(
            Sentence(_CA_FILE, f" is wrong: {ca_file} is not a readable file of PEM certificates.")
        ) from None
    return ca_file


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After``; a date counts from the time of the event store's own clock."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    with suppress(ValueError, TypeError):
        moment = _aware(parsedate_to_datetime(value))
        now = datetime.now(UTC)
        with suppress(ValueError, TypeError):
            now = _aware(parsedate_to_datetime(headers.get("Date", "")))
        return max(0.0, (moment - now).total_seconds())
    return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read(response: requests.Response) -> bytes:
    """The body up to a limit of size. The status counts even when the store breaks it off."""
    body = bytearray()
    try:
        while len(body) < _MAX_BODY:
            chunk = response.raw.read1(_MAX_BODY - len(body), decode_content=True)
            if not chunk:
                break
            body += chunk
    except (urllib3.exceptions.HTTPError, OSError):
        response.close()
    return bytes(body)


def _system_reason(error: BaseException) -> str | None:
    """The operating system's words for a connection that could not be made, if it was that."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection in time"
    seen: list[BaseException] = [error]
    for cause in seen:
        if isinstance(cause, urllib3.exceptions.NameResolutionError):
            return "its name cannot be resolved"
        if isinstance(cause, ConnectionResetError | BrokenPipeError):
            return None
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        parts = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
        seen += [part for part in parts if isinstance(part, BaseException) and part not in seen]
    return None


def _meaning(status: int) -> Meaning:
    """What any status but a 2xx means."""
    if status >= 500 or status in _TRANSIENT:
        return Meaning.RETRY_LATER
    if status in _CONTENT:
        return Meaning.REJECTED
    return Meaning.TOO_LARGE if status == _TOO_LARGE else Meaning.REFUSED


def _remedy(status: int) -> Sentence:
    if 300 <= status < 400:
        return Sentence("it redirects, so set ", _URL, " to the address it redirects to")
    if _meaning(status) is Meaning.RETRY_LATER:
        return Sentence("it could not accept the envelope now, try again later")
    return Sentence(*_REMEDIES.get(status, ("it refused the envelope",)))


_REMEDIES: Mapping[int, tuple[str, ...]] = {
    400: ("it found the envelope malformed",),
    401: ("check ", _API_KEY),
    403: ("check ", _API_KEY, " and what it allows"),
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
