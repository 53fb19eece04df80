"""Requests to one address over HTTP: sent once, within one total time, and read up to a limit.

This module knows nothing of what an answer means. What it gives instead of a response, when there
is none, names the setting to check.

No sentence and no name made here contains the user, password or query of the URL. Errors are made
outside the handlers of the HTTP client's own exceptions: the texts of these repeat the URL, and an
error raised inside would carry them as its context.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
import urllib3

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.wording import in_seconds
from caliper_dagster.emitter.destination import Answer, Meaning
from caliper_dagster.emitter.watched_session import RequestDeadline, WatchedSession

MAX_BODY = 1_048_576
"""Bytes of a response that are read. The longest that is expected are the ids of an envelope."""

_CA_FILE = SettingName("CALIPER_CA_FILE")
_TIMEOUT = SettingName("CALIPER_EVENT_STORE_TIMEOUT")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PROXIES = "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
_TRANSIENT = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Response:
    """What was read of a response.

    Attributes:
        body: the body, up to `MAX_BODY`.
        retry_after: seconds for which the server asks to be left alone.
        content_type: the header ``Content-Type``; empty without one.
    """

    status: int
    body: bytes
    retry_after: float | None = None
    content_type: str = ""


class HttpExchange:
    """Requests to one address, over one kept-alive connection per thread.

    Proxies are those of ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` when a
    thread makes its first request. TLS certificates are always verified, and redirects are not
    followed.

    Args:
        url: where requests are sent.
        peer: what sentences call it, such as ``event store``.
        setting: the setting that holds the URL.
        account: where a user and a password belong, which the URL must not hold.
        timeout: seconds to wait for the answer.
        connect_timeout: seconds to wait for the connection. The whole request, from connecting to
            the end of the body, ends within the sum of both.
        ca_file: certificates (PEM) of the authorities to trust instead of the usual ones.
        ca_setting: the setting that names this file.

    Raises:
        ConfigurationError: the URL or the file cannot be used; the sentence names the setting.
    """

    def __init__(
        self,
        url: str,
        *,
        peer: str,
        setting: SettingName,
        account: Sentence,
        timeout: float,
        connect_timeout: float,
        ca_file: str | None = None,
        ca_setting: SettingName = _CA_FILE,
    ) -> None:
        self.address = display_name(url, setting, account)
        self.subject = f"The {peer} at {self.address}"
        self._url = url
        self._peer = peer
        self._setting = setting
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        if ca_file is not None:
            tls_context(ca_file, ca_setting)
        self._verify = ca_file
        self._of_thread = threading.local()
        self._sessions: list[requests.Session] = []

    def close(self) -> None:
        """Close all connections; none may be in use."""
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        self._of_thread = threading.local()

    def request(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Response | Answer:
        """Send one request, once.

        Returns:
            the response, or the answer that stands for none.
        """
        limit = self._connect_timeout + self._timeout
        with RequestDeadline(limit) as deadline:
            answer = self._answer(method, headers, body)
        # A socket that we shut ends a header or a body early, and what was read looks complete.
        return self._too_slow(limit) if deadline.passed else answer

    def _answer(
        self, method: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response | Answer:
        try:
            with self._session().request(
                method,
                self._url,
                data=body,
                headers=headers,
                timeout=(self._connect_timeout, self._timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                return Response(
                    response.status_code,
                    _read(response),
                    _retry_after(response.headers),
                    response.headers.get("Content-Type", ""),
                )
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            return self._no_response(error)

    def _too_slow(self, limit: float) -> Answer:
        return Answer(
            Meaning.RETRY_LATER,
            sentence=Sentence(
                f"{self.subject} did not complete its answer within {in_seconds(limit)}, "
                "connecting included (",
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
            session.auth = _as_it_is
            # Otherwise the session would search the environment twice for each request.
            found = session.merge_environment_settings(self._url, {}, None, self._verify, None)
            session.proxies, session.verify = found["proxies"], found["verify"]
            session.trust_env = False
            self._of_thread.session = session
            self._sessions.append(session)
        return session

    def _no_response(self, error: Exception) -> Answer:
        """The answer that stands for no response; nothing of the client's own text is kept."""
        if isinstance(error, requests.exceptions.SSLError):
            return Answer(
                Meaning.REFUSED,
                sentence=Sentence(
                    f"{self.subject} has no TLS certificate that this machine trusts: check ",
                    self._setting,
                    ", or name its authority's certificate in ",
                    _CA_FILE,
                    ".",
                ),
            )
        proxy = _proxy_of(self._url)
        if proxy and _was_not_tried(error):
            return Answer(
                Meaning.REFUSED,
                sentence=Sentence(
                    f"{self.subject} cannot be reached: {_PROXIES} is no URL of a proxy, or names "
                    "a SOCKS proxy and the package PySocks is not installed."
                ),
            )
        system_reason = _system_reason(error)
        if isinstance(error, requests.exceptions.ProxyError) or (proxy and system_reason):
            words = f" ({system_reason})" if system_reason else ""
            reason = Sentence(f"cannot be reached through the proxy of {_PROXIES}{words}.")
        elif isinstance(error, requests.exceptions.ReadTimeout):
            reason = Sentence(
                f"did not answer within {in_seconds(self._timeout)} (", _TIMEOUT, ")."
            )
        elif system_reason:
            reason = Sentence(
                f"cannot be reached ({system_reason}): check ",
                self._setting,
                f", and that the {self._peer} is running.",
            )
        else:
            reason = Sentence(
                "closed the connection without an answer: check ",
                self._setting,
                " if this persists.",
            )
        return Answer(Meaning.RETRY_LATER, sentence=Sentence(self.subject, " ", reason))


def display_name(url: str, setting: SettingName, account: Sentence) -> str:
    """The URL as it may be shown: scheme, host, port and path.

    Args:
        url: any text.
        setting: the setting that holds it.
        account: where a user and a password belong, as the end of a sentence.

    Raises:
        ConfigurationError: it cannot be used, or holds a user or a password, which would not be
            sent; the sentence names the setting.
    """
    try:
        requests.Request("POST", url).prepare()
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (requests.RequestException, ValueError):
        host = None
    if not host or parts.scheme not in _DEFAULT_PORTS:
        raise ConfigurationError(
            Sentence(
                setting, " must be an http or https URL such as https://store.example.org/caliper."
            )
        )
    if "@" in parts.netloc:
        raise ConfigurationError(
            Sentence(setting, " must hold neither user nor password: put them into ", account, ".")
        )
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        netloc = f"{netloc}:{port}"
    return f"{parts.scheme}://{netloc}{parts.path}"


def is_transient(status: int) -> bool:
    """Whether the same request may get another answer later."""
    return status >= 500 or status in _TRANSIENT


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def tls_context(ca_file: str | None, setting: SettingName) -> ssl.SSLContext:
    """What a TLS connection trusts.

    Args:
        ca_file: certificates (PEM) of the authorities to trust; the usual ones if omitted.
        setting: the setting that names this file.

    Raises:
        ConfigurationError: the file cannot be read, or holds no certificates.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise ConfigurationError(
            Sentence(setting, f" is wrong: {ca_file} is not a readable file of PEM certificates.")
        ) from None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After``; a date counts from the time of the server's own clock."""
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
    """The body up to a limit of size. The status counts even when the server breaks it off."""
    body = bytearray()
    try:
        while len(body) < MAX_BODY:
            chunk = response.raw.read1(MAX_BODY - len(body), decode_content=True)
            if not chunk:
                break
            body += chunk
    except (urllib3.exceptions.HTTPError, OSError):
        response.close()
    return bytes(body)


def _proxy_of(url: str) -> str | None:
    """The proxy of the environment for a URL; None without one."""
    proxies = requests.utils.get_environ_proxies(url)
    proxy: str | None = requests.utils.select_proxy(url, proxies)
    return proxy


def _was_not_tried(error: Exception) -> bool:
    """Whether an address was found wrong before a request; a wrong header is no address."""
    return isinstance(error, ValueError) and not isinstance(
        error, requests.exceptions.InvalidHeader
    )


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
