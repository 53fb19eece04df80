"""Alerts reach a mail server and webhooks, and what goes wrong is said without a secret."""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path

import pytest

from caliper_dagster.config.alerts import EMAIL, WEBHOOKS
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.delivery.alerts.message import Alert
from caliper_dagster.delivery.alerts.receivers import Receiver, receivers, tell
from caliper_dagster_tests.harness.alert_receivers import MailServer, mail_server, webhook
from caliper_dagster_tests.harness.environment import environment

WEBHOOK, SLACK, TEAMS = WEBHOOKS
ALERT = Alert(
    status="failure",
    site="moodle.example.org",
    subject="emission_results",
    text="A run failed in the step emission_results <once>.",
    since="2026-03-02T02:10:00Z",
    link="https://dagster.example.org/runs/1",
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost, with its key."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {path} -out {path}.cert"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.cert").read_text())
    return path


def told(*alerts: Alert, **settings: str) -> tuple[dict[str, int], dict[str, CaliperDagsterError]]:
    """Tell all receivers of the settings the alerts."""
    with environment(settings):
        named = Settings.from_environment().alerts
        everybody = receivers(named)
        wanted = dict.fromkeys([receiver.name for receiver in everybody], alerts)
        return tell(everybody, wanted, named.timeout)


def mail_settings(server: MailServer, **changes: str) -> dict[str, str]:
    """The settings of a mail server without TLS."""
    return {
        EMAIL: "moodle@example.org, second@example.org",
        "CALIPER_SMTP_HOST": "localhost",
        "CALIPER_SMTP_PORT": str(server.port),
        "CALIPER_SMTP_SECURITY": "none",
        **changes,
    }


def test_nobody_is_told_until_a_setting_names_a_receiver() -> None:
    assert told(ALERT) == ({}, {})


def test_an_email(certificate: Path) -> None:
    with mail_server(certificate) as server:
        secret = certificate.with_name("password")
        secret.write_text("s3cret\n")
        settings = mail_settings(
            server,
            CALIPER_SMTP_SECURITY="starttls",
            CALIPER_ALERT_CA_FILE=f"{certificate}.cert",
            CALIPER_SMTP_USER="caliper",
            CALIPER_SMTP_PASSWORD_FILE=str(secret),
            CALIPER_ALERT_EMAIL_FROM="dagster@example.org",
        )
        assert told(ALERT, ALERT, **settings) == ({EMAIL: 2}, {})
        message = server.messages[0]
        assert message["Subject"] == (
            "[caliper-dagster] Failure: emission_results (moodle.example.org)"
        )
        assert message["From"] == "dagster@example.org"
        assert message["To"] == "moodle@example.org, second@example.org"
        assert message.get_content().splitlines() == [
            "A run failed in the step emission_results <once>.",
            "",
            "Since: 2026-03-02T02:10:00Z",
            "",
            "https://dagster.example.org/runs/1",
        ]
        assert server.encrypted == [True, True]
        assert base64.b64decode(server.logins[0]) == b"\0caliper\0s3cret"


@pytest.mark.parametrize(
    ("refused", "changes", "words"),
    [
        ("AUTH", {"CALIPER_SMTP_USER": "u", "CALIPER_SMTP_PASSWORD": "s3cret"}, "the account"),
        ("RCPT", {}, "every address"),
        ("MAIL", {}, "CALIPER_ALERT_EMAIL_FROM"),
        ("", {"CALIPER_SMTP_SECURITY": "starttls"}, "CALIPER_SMTP_SECURITY"),
        ("", {"CALIPER_SMTP_PORT": "9"}, "CALIPER_SMTP_PORT"),
    ],
)
def test_a_mail_server_that_refuses(refused: str, changes: dict[str, str], words: str) -> None:
    with mail_server() as server:
        server.refuses = refused
        number, errors = told(ALERT, **mail_settings(server, **changes))
        assert number == {EMAIL: 0}
        assert words in str(errors[EMAIL])
        assert "s3cret" not in str(errors[EMAIL])
        assert "@example.org" not in str(errors[EMAIL])


def test_a_certificate_that_is_not_trusted(certificate: Path) -> None:
    with mail_server(certificate) as server:
        settings = mail_settings(server, CALIPER_SMTP_SECURITY="starttls")
        number, errors = told(ALERT, **settings)
        assert number == {EMAIL: 0}
        assert "CALIPER_ALERT_CA_FILE" in str(errors[EMAIL])
        assert not server.messages


def test_webhooks_of_three_kinds() -> None:
    with webhook() as server:
        settings = {name: f"{server.url}/{name}/T0KEN" for name in WEBHOOKS}
        assert told(ALERT, **settings) == (dict.fromkeys(WEBHOOKS, 1), {})
        bodies = {path.split("/")[1]: body for path, body in server.taken}
    assert bodies[WEBHOOK] == {
        "source": "caliper-dagster",
        "title": "Failure: emission_results (moodle.example.org)",
        "status": "failure",
        "site": "moodle.example.org",
        "subject": "emission_results",
        "text": "A run failed in the step emission_results <once>.",
        "since": "2026-03-02T02:10:00Z",
        "link": "https://dagster.example.org/runs/1",
    }
    assert bodies[SLACK] == {
        "text": "*Failure: emission_results (moodle.example.org)*\n"
        "A run failed in the step emission_results &lt;once&gt;.\n"
        "Since: 2026-03-02T02:10:00Z\n"
        "<https://dagster.example.org/runs/1|Open in Dagster>"
    }
    (attachment,) = bodies[TEAMS]["attachments"]
    assert bodies[TEAMS]["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert [block["text"] for block in card["body"]] == [
        "Failure: emission_results (moodle.example.org)",
        "A run failed in the step emission_results <once>.",
        "Since: 2026-03-02T02:10:00Z",
    ]
    assert card["actions"][0]["url"] == "https://dagster.example.org/runs/1"


def test_a_receiver_that_does_not_answer_holds_up_nobody() -> None:
    with webhook() as silent, webhook() as server, mail_server() as mail:
        silent.silent, mail.silent = 2, True
        number, errors = told(
            ALERT,
            ALERT,
            **mail_settings(mail, CALIPER_ALERT_TIMEOUT="1"),
            CALIPER_ALERT_WEBHOOK=f"{silent.url}/T0KEN",
            CALIPER_ALERT_SLACK=server.url,
        )
        assert number == {EMAIL: 0, WEBHOOK: 0, SLACK: 2}
        assert "does not answer within 1 seconds" in str(errors[EMAIL])
        assert "T0KEN" not in str(errors[WEBHOOK])


def test_what_a_slow_receiver_is_not_told_in_time_is_left_for_the_next_call() -> None:
    with webhook() as server:
        server.delay = 0.4
        settings = {"CALIPER_ALERT_SLACK": server.url, "CALIPER_ALERT_TIMEOUT": "1"}
        number, errors = told(*[ALERT] * 8, **settings)
        time.sleep(1)
        assert 0 < number[SLACK] < 8
        assert len(server.taken) == number[SLACK]
        assert not errors


def test_receivers_that_do_not_answer_are_waited_for_together() -> None:
    def wait(_alert: Alert) -> None:
        time.sleep(3)

    everybody = [Receiver(name, wait) for name in WEBHOOKS]
    number, errors = tell(everybody, {name: [ALERT] for name in WEBHOOKS}, 0.1)
    assert set(errors) == set(number) == set(WEBHOOKS)


def test_a_receiver_takes_the_first_of_two_alerts() -> None:
    with webhook() as server:
        server.status = 503
        number, errors = told(ALERT, CALIPER_ALERT_TEAMS=f"{server.url}/T0KEN")
        assert number == {TEAMS: 0}
        assert str(errors[TEAMS]) == (
            "The receiver of CALIPER_ALERT_TEAMS answered with HTTP status 503."
        )


def test_a_file_of_certificates_that_is_none(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    with webhook() as server:
        _, errors = told(ALERT, CALIPER_ALERT_SLACK=server.url, CALIPER_ALERT_CA_FILE=missing)
    assert str(errors[SLACK]).startswith("CALIPER_ALERT_CA_FILE is wrong")


@pytest.mark.parametrize("value", ["nobody", "A <a@example.org>", "a@b\nBcc: x@y"])
def test_an_address_that_is_none(value: str) -> None:
    with pytest.raises(ConfigurationError, match="CALIPER_ALERT_EMAIL is wrong"):
        Settings.from_environment({EMAIL: value})
