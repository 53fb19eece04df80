"""An alert, and its form for each kind of receiver.

An alert consists of names that this project gives (assets, jobs, steps, checks, sites), numbers and
times. It holds no text of an exception, of a log row or of an event store: those may name a person
or repeat a secret. The link leads to where they can be read by those who may.
"""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Literal

from pydantic import BaseModel

from caliper_dagster.config.settings import Settings

PRODUCT = "caliper-dagster"


class Alert(BaseModel):
    """One thing to tell. The field names are stored and never change.

    Attributes:
        status: ``failure``, ``over`` or ``test``.
        site: the name of the site, or its address.
        subject: what is concerned: an asset or a job.
        text: what happened, in one or a few sentences.
        since: when it began, ISO 8601 in UTC; None for a test.
        link: the page in Dagster's web UI; None without its address.
    """

    status: Literal["failure", "over", "test"]
    site: str
    subject: str
    text: str
    since: str | None = None
    link: str | None = None

    @property
    def title(self) -> str:
        """The alert in one line."""
        word = {"failure": "Failure", "over": "Over", "test": "Test"}[self.status]
        return f"{word}: {self.subject} ({self.site})"


def site_label(settings: Settings) -> str:
    """What alerts call a site: its name, or the host and path of its address."""
    address = settings.moodle_wwwroot or ""
    return settings.site or address.partition("://")[2] or "no site"


def as_email(alert: Alert, sender: str, recipients: tuple[str, ...]) -> EmailMessage:
    """The alert as an e-mail in plain text."""
    message = EmailMessage()
    message["Subject"] = f"[{PRODUCT}] {alert.title}"
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    since = f"Since: {alert.since}" if alert.since else ""
    message.set_content("\n\n".join(filter(None, (alert.text, since, alert.link))) + "\n")
    return message


def as_json(alert: Alert) -> dict[str, object]:
    """The alert as plain JSON."""
    return {"source": PRODUCT, "title": alert.title, **alert.model_dump(exclude_none=True)}


def as_slack(alert: Alert) -> dict[str, object]:
    """The alert as Slack's incoming webhooks take it.

    Source: https://docs.slack.dev/messaging/formatting-message-text
    """
    lines = [f"*{_slack(alert.title)}*", _slack(alert.text)]
    if alert.since:
        lines.append(f"Since: {alert.since}")
    if alert.link:
        lines.append(f"<{_slack(alert.link)}|Open in Dagster>")
    return {"text": "\n".join(lines)}


def as_teams(alert: Alert) -> dict[str, object]:
    """The alert as an adaptive card, which workflows of Microsoft Teams take.

    Source: https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors
    """
    color = {"failure": "Attention", "over": "Good", "test": "Accent"}[alert.status]
    body: list[dict[str, object]] = [
        {"type": "TextBlock", "text": alert.title, "weight": "Bolder", "color": color},
        {"type": "TextBlock", "text": alert.text},
    ]
    if alert.since:
        body.append({"type": "TextBlock", "text": f"Since: {alert.since}", "isSubtle": True})
    card: dict[str, object] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{**block, "wrap": True} for block in body],
    }
    if alert.link:
        card["actions"] = [
            {"type": "Action.OpenUrl", "title": "Open in Dagster", "url": alert.link}
        ]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
