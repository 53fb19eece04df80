"""A test alert to everybody whom the settings name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from caliper_dagster.config.alerts import EMAIL, WEBHOOKS
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.delivery.alerts.message import Alert, site_label
from caliper_dagster.delivery.alerts.receivers import receivers, tell


@dataclass(frozen=True, slots=True)
class TestedReceiver:
    """What became of a test alert.

    Attributes:
        site: the name of the site; None for a single one.
        receiver: the setting that names the receiver.
        error: why it did not take the alert; None if it did.
    """

    site: str | None
    receiver: str
    error: CaliperDagsterError | None


def send_test_alerts(sites: Iterable[Settings]) -> Iterator[TestedReceiver]:
    """Send a test alert to each receiver of each site.

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
            yield TestedReceiver(settings.site, receiver.name, errors.get(receiver.name))
    if nobody:
        raise ConfigurationError(
            f"No setting names a receiver of alerts: set {EMAIL}, {', '.join(WEBHOOKS[:-1])} or "
            f"{WEBHOOKS[-1]}."
        )
