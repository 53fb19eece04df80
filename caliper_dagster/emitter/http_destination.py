"""One Caliper endpoint over HTTP: posts an envelope, and says what the answer means.

Knows the rules of Caliper's transport (1.2 "HTTP Requests", "HTTP Responses") and which setting
mends which refusal. Does not know what is in an envelope, and keeps no record.

No message, name or representation made here holds the API key, or the user, password or query of
the URL. Errors are raised outside the handlers of the HTTP client's own exceptions, whose texts
repeat the URL, so that these do not hang on them as context either.
"""

from __future__ import annotations

import gzip
import html
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
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

from caliper_dagster.core.errors import ConfigurationError, DeliveryError

_WORDS = 200
"""Characters of the event store's words that an error repeats."""

_BODY = 65_536
"""Bytes of an answer that are read; nothing longer is expected of an event store."""

_GZIP_LEVEL = 6
_HIDDEN = "***"
_SHORTEST_SECRET = 4
_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_TRANSIENT = frozenset({408, 425, 429})
_WITHOUT_CONFIGURATION = frozenset({400, 404, 405, 406, 410, 411, 415, 422, 501})


@dataclass(frozen=True, slots=True)
class EndpointConfiguration:
    """What a 1.2 endpoint says about itself ("Configuration Information").

    Attributes:
        maximum_payload: largest body it takes, in bytes; None when it does not say. The endpoint
            gives kilobytes; the smaller reading, 1,000 bytes, is taken.
        versions: context IRIs of the Caliper versions it takes.
    """

    maximum_payload: int | None
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry_after: float | None = None


class RefusalError(DeliveryError):
    """One envelope was not acknowledged, once.

    Attributes:
        status: the answer's status; None when there was no answer.
        words: what the event store said, short and without secrets; may be empty.
        retry_after: seconds after which it wants to be asked again, when it says so.
    """

    def __init__(
        self,
        message: str,
        *,
        transient: bool,
        status: int | None = None,
        words: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, transient=transient)
        self.status = status
        self.words = words
        self.retry_after = retry_after


class EventStore:
    """One Caliper endpoint, over one kept-alive connection per thread; a context manager.

    Proxies are those of ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``. TLS certificates are
    always verified.

    Args:
        url: where envelopes are posted.
        api_key: sent in ``Authorization``; None or empty sends no such header.
        auth_scheme: the word before the key; ``none`` sends the bare key.
        timeout: seconds to wait for the answer.
        connect_timeout: seconds to wait for the connection.
        ca_file: certificates (PEM) of the authorities to trust instead of the usual ones.
        compressed: send bodies with gzip. No Caliper endpoint has to take that.
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

    def __repr__(self) -> str:
        return f"EventStore({self._address!r})"

    def __enter__(self) -> EventStore:
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

    def post(self, envelope: bytes) -> int:
        """Send one envelope.

        Returns:
            the status, always 2xx: the event store has received the envelope. More a 2xx does not
            say (Caliper 1.2 "HTTP Responses").

        Raises:
            RefusalError: any other answer, a redirect included, or none.
        """
        answer = self._exchange("POST", envelope)
        if 200 <= answer.status < 300:
            return answer.status
        raise self._refusal(answer)

    def configuration(self) -> EndpointConfiguration | None:
        """Ask the endpoint what it takes; None when it offers no configuration, as in Caliper 1.1.

        Raises:
            DeliveryError: it refused the key, redirected, failed, or did not answer.
        """
        answer = self._exchange("GET")
        if answer.status in _WITHOUT_CONFIGURATION:
            return None
        if 200 <= answer.status < 300:
            return _configuration(answer.body)
        raise self._refusal(answer)

    def _exchange(self, method: str, body: bytes | None = None) -> _Answer:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if body is not None and self._compressed:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
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
                return _Answer(
                    response.status_code,
                    _read(response, self._timeout),
                    _retry_after(response.headers),
                )
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failure = self._no_answer(error)
        raise failure

    def _session(self) -> requests.Session:
        """The session of this thread: they are not made to be shared."""
        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = requests.Session()
            # A session without auth would take it from .netrc or from the URL, over our header.
            session.auth = self._authorize
            self._of_thread.session = session
            self._sessions.append(session)
        return session

    def _no_answer(self, error: Exception) -> RefusalError:
        """The error for a request that got no answer; nothing of the client's own text is kept."""
        where = f"The event store at {self._address}"
        if isinstance(error, requests.exceptions.SSLError):
            return RefusalError(
                f"{where} has no TLS certificate that this machine trusts: check "
                "CALIPER_EVENT_STORE_URL, or name its authority's certificate in CALIPER_CA_FILE.",
                transient=False,
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return RefusalError(
                f"{where} cannot be reached through the proxy of HTTP_PROXY or HTTPS_PROXY.",
                transient=True,
            )
        if isinstance(error, requests.exceptions.ReadTimeout):
            return RefusalError(
                f"{where} did not answer within {self._timeout:g} seconds "
                "(CALIPER_EVENT_STORE_TIMEOUT).",
                transient=True,
            )
        reason = _system_reason(error)
        if reason:
            return RefusalError(
                f"{where} cannot be reached ({reason}): check CALIPER_EVENT_STORE_URL, and that "
                "the event store is running.",
                transient=True,
            )
        return RefusalError(
            f"{where} closed the connection without an answer: check CALIPER_EVENT_STORE_URL if "
            "this persists.",
            transient=True,
        )

    def _refusal(self, answer: _Answer) -> RefusalError:
        status = answer.status
        words = self._words(answer.body)
        said = f"answered {status}" + (f" ({words})" if words else "")
        return RefusalError(
            f"The event store at {self._address} {said}: {_remedy(status)}.",
            transient=status in _TRANSIENT or status >= 500,
            status=status,
            words=words,
            retry_after=answer.retry_after,
        )

    def _words(self, body: bytes) -> str:
        text = body.decode("utf-8", "replace")
        if len(body) == _BODY:
            # The end may be a part of a secret, which would not be recognised.
            text = text[: -max(map(len, self._secrets), default=0) or None]
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        plain = " ".join(re.sub(r"<[^>]*>", " ", text).split())
        shown = "".join(letter for letter in plain if letter.isprintable()).rstrip(".")
        return shown if len(shown) <= _WORDS else shown[: _WORDS - 1] + "…"


def _display_name(url: str) -> str:
    try:
        requests.Request("POST", url).prepare()
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (requests.RequestException, ValueError):
        host = None
    if not host or parts.scheme not in _DEFAULT_PORTS:
        raise ConfigurationError(
            "CALIPER_EVENT_STORE_URL must be an http or https URL such as "
            "https://store.example.org/caliper."
        )
    place = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        place = f"{place}:{port}"
    return f"{parts.scheme}://{place}{parts.path}"


def _authorization(
    key: str, scheme: str
) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    value = key if scheme.lower() == "none" else f"{scheme} {key}"
    if key and not _HEADER_VALUE.fullmatch(value):
        raise ConfigurationError(
            "CALIPER_API_KEY holds a character that cannot be sent in an HTTP header."
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
            f"CALIPER_CA_FILE is wrong: {ca_file} is no file of PEM certificates that can be read."
        ) from None
    return ca_file


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After``, which may also be a date: then by the event store's own clock."""
    given = headers.get("Retry-After", "").strip()
    if given.isascii() and given.isdigit():
        return float(given)
    with suppress(ValueError, TypeError):
        moment = _aware(parsedate_to_datetime(given))
        now = datetime.now(UTC)
        with suppress(ValueError, TypeError):
            now = _aware(parsedate_to_datetime(headers.get("Date", "")))
        return max(0.0, (moment - now).total_seconds())
    return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read(response: requests.Response, seconds: float) -> bytes:
    """The body up to a limit of size and time. The status counts even when the body breaks off."""
    deadline = time.monotonic() + seconds
    body = bytearray()
    try:
        while len(body) < _BODY and time.monotonic() < deadline:
            piece = response.raw.read1(_BODY - len(body), decode_content=True)
            if not piece:
                break
            body += piece
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


def _remedy(status: int) -> str:
    if 300 <= status < 400:
        return "it redirects, so set CALIPER_EVENT_STORE_URL to the address where it really is"
    if status >= 500 or status in _TRANSIENT:
        return "it could not take the envelope now, try again later"
    return _REMEDIES.get(status, "it refused the envelope")


_REMEDIES: Mapping[int, str] = {
    400: "it found the envelope malformed",
    401: "check CALIPER_API_KEY",
    403: "check CALIPER_API_KEY and what it allows",
    404: "check CALIPER_EVENT_STORE_URL",
    405: "it takes no envelopes there, check CALIPER_EVENT_STORE_URL",
    407: "check the proxy that HTTP_PROXY or HTTPS_PROXY names",
    410: "check CALIPER_EVENT_STORE_URL",
    413: "the envelope is too large for it, lower CALIPER_BATCH_BYTES or CALIPER_BATCH_SIZE",
    415: "it takes no JSON there, check CALIPER_EVENT_STORE_URL, or no gzip, check CALIPER_GZIP",
    422: "it does not take this version of Caliper or this content, check CALIPER_VERSION",
}


def _configuration(body: bytes) -> EndpointConfiguration | None:
    try:
        offered = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(offered, dict):
        return None
    versions = _either(offered, "caliperSupportedVersions", "caliper_supported_versions")
    if not isinstance(versions, list):
        return None
    kilobytes = _either(offered, "caliperMaximumPayloadSize", "caliper_maximum_payload_size")
    known = isinstance(kilobytes, int) and kilobytes > 0
    return EndpointConfiguration(
        kilobytes * 1000 if known else None,
        tuple(version for version in versions if isinstance(version, str)),
    )


def _either(offered: dict[str, Any], camel: str, snake: str) -> Any:  # noqa: ANN401 - any JSON
    return offered.get(camel, offered.get(snake))
