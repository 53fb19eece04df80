"""The settings of standing checks and of alerts: their limits, and who is told.

Nobody is told until a setting names a receiver. Of a secret the model holds only its place.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, field_validator

from caliper_dagster.config.declaration import Model, Reference, SecretReference, setting
from caliper_dagster.config.value_checks import listed, split_url

EMAIL = "CALIPER_ALERT_EMAIL"
WEBHOOKS = ("CALIPER_ALERT_WEBHOOK", "CALIPER_ALERT_SLACK", "CALIPER_ALERT_TEAMS")


def _address(text: str) -> str:
    name, at, host = text.rpartition("@")
    if not (name and at and host) or not text.isprintable() or set(text) & set(' <>"'):
        raise ValueError("must be e-mail addresses such as moodle@example.org, without names")
    return text


def _base_url(text: str) -> str:
    parts = split_url(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError("must be an http or https URL without user and password")
    return text.rstrip("/")


EmailAddress = Annotated[str, AfterValidator(_address)]


class CheckLimits(Model):
    """The limits of the standing checks."""

    newest_hour_age: int = setting(
        "CALIPER_CHECK_NEWEST_HOUR",
        3,
        "hours after which the newest hour that an event store has completely is too old",
        gt=0,
    )
    purge_days: int = setting(
        "CALIPER_CHECK_PURGE_DAYS",
        7,
        "days before Moodle deletes log rows that were not taken (`loglifetime`), in which the "
        "check fails",
        gt=0,
    )
    fallback_share: float = setting(
        "CALIPER_CHECK_FALLBACK",
        0.1,
        "largest share, from 0 to 1, of a day's log rows that may have the fallback recipe",
        ge=0,
        le=1,
    )
    unresolved_share: float = setting(
        "CALIPER_CHECK_UNRESOLVED",
        0.6,
        "largest share, from 0 to 1, of a day's log rows that may refer to records that Moodle's "
        "database does not have",
        ge=0,
        le=1,
    )


class AlertSettings(Model):
    """Who is told of failed runs and failed checks, and how."""

    email: tuple[EmailAddress, ...] | None = setting(
        EMAIL,
        None,
        "e-mail addresses, separated by commas, that are told when a run or a check fails and when "
        "that is over",
    )
    email_from: EmailAddress | None = setting(
        "CALIPER_ALERT_EMAIL_FROM",
        None,
        f"sender of alerts; the first address of {EMAIL} when not set",
    )
    smtp_host: str = setting("CALIPER_SMTP_HOST", "localhost", "mail server that takes alerts")
    smtp_port: int = setting("CALIPER_SMTP_PORT", 587, "its port", gt=0, lt=65536)
    smtp_security: Literal["starttls", "tls", "none"] = setting(
        "CALIPER_SMTP_SECURITY",
        "starttls",
        "how the connection to it is encrypted: `starttls`, `tls` from the first byte (port 465), "
        "or `none`",
    )
    smtp_user: str | None = setting("CALIPER_SMTP_USER", None, "user name at the mail server")
    smtp_password: SecretReference | None = setting(
        "CALIPER_SMTP_PASSWORD",
        Reference(env="CALIPER_SMTP_PASSWORD"),
        "password at the mail server",
        secret=True,
    )
    webhook: SecretReference | None = setting(
        WEBHOOKS[0],
        Reference(env=WEBHOOKS[0]),
        "URL to which alerts are posted as plain JSON",
        secret=True,
    )
    slack: SecretReference | None = setting(
        WEBHOOKS[1],
        Reference(env=WEBHOOKS[1]),
        "URL of an incoming webhook of Slack that takes alerts",
        secret=True,
    )
    teams: SecretReference | None = setting(
        WEBHOOKS[2],
        Reference(env=WEBHOOKS[2]),
        "URL of a workflow of Microsoft Teams that takes alerts (adaptive cards)",
        secret=True,
    )
    timeout: float = setting(
        "CALIPER_ALERT_TIMEOUT",
        10,
        "seconds to wait for a receiver of alerts; one that does not answer is told later",
        gt=0,
        le=30,
    )
    ca_file: str | None = setting(
        "CALIPER_ALERT_CA_FILE",
        None,
        "file (PEM) of the certificate authorities to trust for receivers of alerts, instead of "
        "the default ones",
    )
    web_ui_url: Annotated[str, AfterValidator(_base_url)] | None = setting(
        "CALIPER_WEB_UI_URL",
        None,
        "address of Dagster's web UI, to which alerts link: https://dagster.example.org",
    )

    @field_validator("email", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return listed(value) or None if isinstance(value, str) else value
