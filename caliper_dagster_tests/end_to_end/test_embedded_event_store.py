"""The embedded event store as a process of its own."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.embedded.arrivals import arrivals
from caliper_dagster.embedded.event_store import running
from caliper_dagster_tests.harness.envelopes import KEY, envelope, event, post
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port

SERVE = (
    "import sys\nfrom caliper_dagster.embedded.event_store import serve\n"
    f"serve(0, sys.argv[1], {KEY!r})"
)


def test_what_was_answered_with_200_survives_kill_9(tmp_path):
    path = tmp_path / "store.sqlite"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with server, closing(server.stdout):
        try:
            url = re.search(r"http://\S+/caliper", server.stdout.readline()).group()
            for number in range(20):
                assert post(url, envelope(event(number))).status_code == 200
        finally:
            server.kill()
    assert arrivals(path).events == 20


def test_serve_ends_quietly_when_interrupted(tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, tmp_path / "store.sqlite"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with server:
        url = re.search(r"http://\S+/caliper", server.stdout.readline()).group()
        post(url, envelope())
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=60)
    assert errors == ""
    assert server.returncode == 0


def test_running_stops_the_process_and_keeps_what_arrived(tmp_path):
    path = tmp_path / "store.sqlite"
    with running(path, KEY, free_port()) as url:
        post(url, envelope())
        place = urlsplit(url)
    with pytest.raises(OSError), closing(http.client.HTTPConnection(place.netloc)) as connection:
        connection.connect()
    with running(path, KEY, port=place.port) as again:
        assert again == url
        post(again, envelope())
    assert (arrivals(path).events, arrivals(path).received) == (1, 2)


def test_running_ends_with_its_parent(tmp_path):
    script = (
        "import os, sys\nfrom caliper_dagster.embedded.event_store import running\n"
        f"with running(sys.argv[1], {KEY!r}) as url:\n"
        "    print(url, flush=True)\n    sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "store.sqlite"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        url = parent.stdout.readline().strip()
        # A long-lived connection: it is closed when, and only when, the store has ended.
        with socket.create_connection(urlsplit(url).netloc.split(":"), timeout=60) as connection:
            parent.kill()
            assert connection.recv(1) == b""


def test_the_key_is_in_no_process_list(tmp_path):
    with running(tmp_path / "store.sqlite", KEY):
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if place.joinpath("status").read_text().split("PPid:\t")[1].split()[0] == str(
                    os.getpid()
                ):
                    shown = place.joinpath("cmdline").read_bytes()
                    shown += place.joinpath("environ").read_bytes()
                    assert KEY.encode() not in shown
            except OSError:
                continue


def test_running_says_why_it_cannot_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigurationError, match=f"listen on 127.0.0.1 port {port}"),
            running(tmp_path / "store.sqlite", KEY, port=port),
        ):
            pass
    with pytest.raises(ConfigurationError, match="CALIPER_API_KEY"), running(tmp_path / "x", ""):
        pass
    with (
        pytest.raises(ConfigurationError, match="cannot keep its data"),
        running(tmp_path, KEY),
    ):
        pass
