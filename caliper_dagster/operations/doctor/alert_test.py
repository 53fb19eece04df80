"""A test alert to everybody whom the settings name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from caliper_dagster.config.alerts import EMAIL, WEBHOOKS
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.delivery.alerts.message import Alert, site_label
from caliper_dagster.delivery.alerts.receivers import receivers, tell
from caliper_dagster.operations.doctor.findings import Finding, broken, fine

_SUBJECT = "Test alert"


def send_test_alerts(sites: Iterable[Settings]) -> Iterator[Finding]:
    """Send a test alert to each receiver of each site, and say what became of it.

    Raises:
        ConfigurationError: no setting names a receiver, or the file of a secret cannot be read.
    """
    nobody = True
    for settings in sites:
        named = receivers(settings.alerts)
        alert = Alert(
            status="test",
            site=site_label(settings),
            subject="alerts",
            text="This is a test. Alerts about failed runs and failed checks reach you this way.",
            link=settings.alerts.web_ui_url,
        )
        wanted = {receiver.name: [alert] for receiver in named}
        _, errors = tell(named, wanted, settings.alerts.timeout)
        for receiver in named:
            nobody = False
            error = errors.get(receiver.name)
            told = (
                broken(_SUBJECT, str(error))
                if error
                else fine(_SUBJECT, f"{receiver.name} took the test alert")
            )
            yield replace(told, site=settings.site)
    if nobody:
        raise ConfigurationError(
            f"No setting names a receiver of alerts: set {EMAIL}, {', '.join(WEBHOOKS[:-1])} or "
            f"{WEBHOOKS[-1]}."
        )
