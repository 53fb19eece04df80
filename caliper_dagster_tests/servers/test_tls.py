"""Moodle databases that accept nothing but TLS."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster_tests.harness.servers import Certificate, tls_server
from caliper_dagster_tests.unit.expander.test_connection import fill

AUTHORITY = {"mariadb": "ssl_ca", "postgres": "sslrootcert"}
ENCRYPTED = {
    "mariadb": "SELECT VARIABLE_VALUE <> '' FROM information_schema.SESSION_STATUS "
    "WHERE VARIABLE_NAME = 'SSL_CIPHER'",
    "postgres": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
}
WITHOUT = {"mariadb": {"ssl_disabled": "true"}, "postgres": {"sslmode": "disable"}}


@dataclass(frozen=True)
class Moodle:
    kind: str
    url: sa.URL
    certificate: Certificate

    def trusting(self, file: Path) -> sa.URL:
        """The URL with a certificate authority."""
        query = {AUTHORITY[self.kind]: str(file)}
        if self.kind == "postgres":
            query["sslmode"] = "verify-full"
        return self.url.update_query_dict(query)


@pytest.fixture(scope="module", params=["mariadb", "postgres"])
def moodle(request: pytest.FixtureRequest) -> Iterator[Moodle]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o711)
        with tls_server(request.param, home) as (server, certificate):
            url = server.create_database()
            fill(url)
            yield Moodle(request.param, sa.make_url(url), certificate)


def is_encrypted(moodle: Moodle, url: sa.URL) -> bool:
    with MoodleDatabase.open(url.render_as_string(hide_password=False)) as database:
        ((encrypted,),) = database.execute(sa.text(ENCRYPTED[moodle.kind]))
    return bool(encrypted)


def refusal(url: sa.URL) -> str:
    with pytest.raises(ConfigurationError) as refused:
        MoodleDatabase.open(url.render_as_string(hide_password=False))
    sentence = str(refused.value)
    assert sentence.startswith("MOODLE_DB_URL: ")
    assert str(url.password) not in sentence
    return sentence


def test_the_certificate_of_the_server_is_checked_by_its_authority(moodle: Moodle) -> None:
    assert is_encrypted(moodle, moodle.trusting(moodle.certificate.file))


def test_a_certificate_of_another_authority_is_refused(moodle: Moodle, tmp_path: Path) -> None:
    other = Certificate.create(tmp_path)
    assert "certificate" in refusal(moodle.trusting(other.file))


def test_a_connection_without_tls_is_refused_with_the_way_to_it(moodle: Moodle) -> None:
    sentence = refusal(moodle.url.update_query_dict(WITHOUT[moodle.kind]))
    assert f"{AUTHORITY[moodle.kind]}=FILE" in sentence
