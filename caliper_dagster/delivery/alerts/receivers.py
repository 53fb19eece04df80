"""Receivers of alerts: a mail server, and webhooks.

Each alert is sent once, within one total time. A sentence about a receiver that did not take it
names its setting, and neither a URL, which may be secret as a whole, nor what the receiver said.
"""

from __future__ import annotations

import json
import smtplib
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from caliper_dagster.config.alerts import EMAIL, WEBHOOKS, AlertSettings
from caliper_dagster.config.declaration import Reference, not_set
from caliper_dagster.config.settings import declared
from caliper_dagster.core.deadlines import Deadline
from caliper_dagster.core.errors import (
    CaliperDagsterError,
    DeliveryError,
    Sentence,
    SettingName,
)
from caliper_dagster.core.wording import in_seconds
from caliper_dagster.delivery.alerts.message import Alert, as_email, as_json, as_slack, as_teams

if TYPE_CHECKING:
    from concurrent.futures import Future

_GRACE_SECONDS = 2.0
"""How much longer than its time-out a receiver is waited for: resolving a name has none."""

_CA_FILE = SettingName("CALIPER_ALERT_CA_FILE")
_TIMEOUT = SettingName("CALIPER_ALERT_TIMEOUT")
_HOST = SettingName("CALIPER_SMTP_HOST")
_USER = SettingName("CALIPER_SMTP_USER")
_PASSWORD = SettingName("CALIPER_SMTP_PASSWORD")
_SECURITY = SettingName("CALIPER_SMTP_SECURITY")
_FORMS: Mapping[str, Callable[[Alert], dict[str, object]]] = dict(
    zip(WEBHOOKS, (as_json, as_slack, as_teams), strict=True)
)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who is told.

    Attributes:
        name: its setting; what is still to be told is stored by it.
        send: sends one alert; raises a `DeliveryError` or a `ConfigurationError`.
    """

    name: str
    send: Callable[[Alert], None]


def receivers(settings: AlertSettings) -> tuple[Receiver, ...]:
    """Everybody whom the settings name; no file of a secret is read yet."""
    named = []
    if settings.email:
        named.append(Receiver(EMAIL, partial(_send_mail, settings, settings.email)))
    places = (settings.webhook, settings.slack, settings.teams)
    for variable, place in zip(WEBHOOKS, places, strict=True):
        if place is not None and _is_named(variable, place):
            named.append(Receiver(variable, partial(_post, settings, variable, place)))
    return tuple(named)


def tell(
    receivers: Sequence[Receiver], alerts: Mapping[str, Sequence[Alert]], timeout: float
) -> tuple[dict[str, int], dict[str, CaliperDagsterError]]:
    """Send each receiver its alerts, in order, up to the first that it does not take.

    The receivers are told at the same time, and all of them together are waited for no longer than
    ``timeout`` and a little: Dagster ends a tick after a minute, and then its cursor is lost. What
    a slow receiver has not been sent by then is left for the next call.

    Args:
        receivers: whom.
        alerts: what is to be told, by the receivers' names.
        timeout: seconds.

    Returns:
        How many alerts each receiver has taken, and what went wrong with each that did not take
        all.
    """
    from caliper_dagster.emitter.daemon_threads import DaemonThreads

    told: dict[str, int] = {}
    errors: dict[str, CaliperDagsterError] = {}
    waiting: dict[str, Future[None]] = {}
    threads: DaemonThreads[None] = DaemonThreads(max(1, len(receivers)), "caliper-alert")
    end = monotonic() + timeout
    for receiver in receivers:
        told[receiver.name] = 0
        work = partial(_send_all, receiver, alerts.get(receiver.name, ()), told, end)
        waiting[receiver.name] = threads.submit(work)
    for name, future in waiting.items():
        try:
            future.result(max(0.0, end + _GRACE_SECONDS - monotonic()))
        except TimeoutError:
            errors[name] = _too_slow(name, timeout)
        except CaliperDagsterError as error:
            errors[name] = error
        except Exception as error:
            # The text of a foreign error may hold secrets.
            errors[name] = DeliveryError(
                Sentence(SettingName(name), f": an unexpected {type(error).__name__}."),
                transient=True,
            )
    return dict(told), errors


def _send_all(
    receiver: Receiver, alerts: Sequence[Alert], told: dict[str, int], end: float
) -> None:
    for alert in alerts:
        # Later ones would be sent unseen, after the caller has counted, and again by its next call.
        if monotonic() >= end:
            return
        receiver.send(alert)
        told[receiver.name] += 1


def _is_named(variable: str, place: Reference) -> bool:
    return place.env != variable or place.value(variable) is not None


def _too_slow(name: str, seconds: float) -> DeliveryError:
    return DeliveryError(
        Sentence(SettingName(name), f": no answer within {in_seconds(seconds)} (", _TIMEOUT, ")."),
        transient=True,
    )


def _post(settings: AlertSettings, variable: str, place: Reference, alert: Alert) -> None:
    """Post one alert to a webhook."""
    from caliper_dagster.emitter.http_exchange import HttpExchange, Response

    url, name = place.value(variable), SettingName(variable)
    if url is None:
        raise not_set(declared()[variable], place)
    exchange = HttpExchange(
        url,
        peer="receiver of alerts",
        setting=name,
        account=Sentence("the path of ", name),
        timeout=settings.timeout,
        connect_timeout=settings.timeout,
        ca_file=settings.ca_file,
        ca_setting=_CA_FILE,
    )
    with closing(exchange):
        answer = exchange.request(
            "POST",
            {"Content-Type": "application/json"},
            json.dumps(_FORMS[variable](alert)).encode(),
        )
    if not isinstance(answer, Response):
        problem = "does not answer, or has a TLS certificate that this machine does not trust"
        raise DeliveryError(Sentence("The receiver of ", name, f" {problem}."), transient=True)
    if not 200 <= answer.status < 300:
        raise DeliveryError(
            Sentence("The receiver of ", name, f" answered with HTTP status {answer.status}."),
            transient=True,
        )


def _send_mail(settings: AlertSettings, recipients: tuple[str, ...], alert: Alert) -> None:
    """Hand one alert to the mail server."""
    sender = settings.email_from or recipients[0]
    message = as_email(alert, sender, recipients)
    password = settings.smtp_password and settings.smtp_password.value(_PASSWORD)
    with Deadline(settings.timeout) as deadline:
        try:
            with closing(_session(settings, deadline)) as session:
                if settings.smtp_security == "starttls":
                    session.starttls(context=_context(settings))
                if settings.smtp_user:
                    session.login(settings.smtp_user, password or "")
                session.send_message(message, sender, recipients)
        except (smtplib.SMTPException, OSError) as error:
            raise _mail_problem(error, settings) from None


def _session(settings: AlertSettings, deadline: Deadline) -> smtplib.SMTP:
    """A connection to the mail server, which has greeted."""
    place = settings.smtp_host, settings.smtp_port
    if settings.smtp_security == "tls":
        context = _context(settings)
        return _WatchedTLSSession(deadline, *place, timeout=settings.timeout, context=context)
    return _WatchedSession(deadline, *place, timeout=settings.timeout)


class _WatchedSession(smtplib.SMTP):
    """A connection that a deadline ends from the greeting on."""

    def __init__(self, deadline: Deadline, *args: Any, **options: Any) -> None:  # noqa: ANN401
        deadline.watch_later(lambda: self.sock)
        super().__init__(*args, **options)


class _WatchedTLSSession(_WatchedSession, smtplib.SMTP_SSL):
    """The same with TLS from the first byte."""


def _context(settings: AlertSettings) -> ssl.SSLContext:
    from caliper_dagster.emitter.http_exchange import tls_context

    return tls_context(settings.ca_file, _CA_FILE)


def _mail_problem(error: Exception, settings: AlertSettings) -> DeliveryError:
    """What went wrong, without what the server said: it may repeat addresses."""
    server = Sentence("The mail server (", _HOST, ")")
    if isinstance(error, smtplib.SMTPAuthenticationError):
        words = Sentence(" refuses the account: check ", _USER, " and ", _PASSWORD, ".")
    elif isinstance(error, smtplib.SMTPNotSupportedError):
        words = Sentence(" offers no STARTTLS or no log-in: check ", _SECURITY, " and ", _USER, ".")
    elif isinstance(error, smtplib.SMTPRecipientsRefused):
        words = Sentence(" refuses every address of ", SettingName(EMAIL), ".")
    elif isinstance(error, smtplib.SMTPSenderRefused):
        words = Sentence(
            " refuses the sender: check ", SettingName("CALIPER_ALERT_EMAIL_FROM"), "."
        )
    elif isinstance(error, ssl.SSLError):
        words = Sentence(
            " has no TLS certificate that this machine trusts, or speaks no TLS here: check ",
            _SECURITY,
            ", or name its authority's certificate in ",
            _CA_FILE,
            ".",
        )
    elif isinstance(error, smtplib.SMTPResponseException):
        words = Sentence(f" refuses the alert (SMTP code {error.smtp_code}).")
    else:
        words = Sentence(
            f" does not answer within {in_seconds(settings.timeout)}: check ",
            _HOST,
            " and ",
            SettingName("CALIPER_SMTP_PORT"),
            ".",
        )
    return DeliveryError(Sentence(server, words), transient=True)
