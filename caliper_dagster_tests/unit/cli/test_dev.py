"""What `dev` reports before it starts anything."""

import socket
import sys
from contextlib import closing

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster_tests.harness.environment import environment

pytestmark = pytest.mark.usefixtures("as_a_process")


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with environment({"MOODLE_DB_URL": "sqlite:///x", "DAGSTER_HOME": "home"}):
        assert main(["dev", *options]) == 2
    return capsys.readouterr().err


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        told = refused(capsys, "--port", str(port))
    assert told == (
        f"--port {port} cannot be used on 127.0.0.1 (Address already in use): choose another one, "
        f"such as `make dev PORT={port % 65_535 + 1}`.\n"
    )


def test_a_port_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "--port", "70000").startswith(
        "--port 70000 cannot be used on 127.0.0.1 (no such port): choose another one"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the words are those of Linux")
def test_an_address_of_another_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "--host", "192.0.2.1") == (
        "--host 192.0.2.1 is no address of this machine (Cannot assign requested address).\n"
    )
