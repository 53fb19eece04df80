"""Dagster's web UI and daemon on this project: ``dagster dev``, and what it serves in words."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import requests

from caliper_dagster.config.env_file import environment_for_dagster
from caliper_dagster.config.event_stores import EventStoreDefinition, require_event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.dagster.automation import automation_of, describe
from caliper_dagster.dagster.instance.open import dagster_home, open_instance

_WORKING_DIRECTORY = "dev"
"""A folder in ``DAGSTER_HOME``, always empty: Dagster must not find ``.env`` beside it (see
``config.env_file``)."""

_LOCATIONS = "{workspaceOrError {... on Workspace {locationEntries {loadStatus}}}}"
_SECONDS_BETWEEN_LOOKS = 0.3


def serve(host: str, port: int, on_ready: Callable[[str], object]) -> int:
    """Run the web UI and the daemon until they end, or until this process is interrupted.

    Args:
        host: the address to listen on.
        port: the port of the web UI.
        on_ready: called with the address of the web UI as soon as it shows the assets.

    Returns:
        The exit status of Dagster; 0 after an interruption.

    Raises:
        ConfigurationError: ``DAGSTER_HOME`` is not set, or cannot be written to.
    """
    working_directory = dagster_home() / _WORKING_DIRECTORY
    working_directory.mkdir(exist_ok=True)
    process = subprocess.Popen(  # noqa: S603 - this interpreter; host and port are the user's
        [
            *(sys.executable, "-W", "ignore", "-m", "dagster", "dev"),
            *("--module-name", "caliper_dagster.definitions"),
            *("--working-directory", str(Path.cwd())),
            *("--host", host, "--port", str(port)),
        ],
        cwd=working_directory,
        env=environment_for_dagster(),
        # A terminal interrupts all its processes; Dagster must be interrupted once, by us.
        start_new_session=True,
    )
    try:
        address = f"http://{_reachable(host)}:{port}"
        if _wait_until_ready(process, address):
            on_ready(address)
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        # Dagster's process ends its own children, the web server and the daemon.
        process.terminate()
        process.wait()


def introduction(sites: Iterable[Settings]) -> Iterator[str]:
    """A sentence for each site: what it is, where its events go, and who takes its hours.

    Args:
        sites: the settings of each site.
    """
    with open_instance() as instance:
        for settings in sites:
            try:
                address, stores = settings.identity().address, _destinations(settings)
            except CaliperDagsterError as error:
                yield f"{settings.site}: {error}" if settings.site else str(error)
                continue
            site = f"{settings.site} ({address})" if settings.site else address
            who = describe(automation_of(instance, settings), settings)
            yield f"{site}: events go to {stores}; {who}."


def _destinations(settings: Settings) -> str:
    return " and ".join(map(_destination, require_event_stores(settings)))


def _destination(store: EventStoreDefinition) -> str:
    with store.open() as endpoint:
        return f"{store.name} ({endpoint.address})" if store.name else endpoint.address


def _reachable(host: str) -> str:
    """The host as a part of an address: "all interfaces" is no address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - replaced
    return f"[{host}]" if ":" in host else host


def _wait_until_ready(process: subprocess.Popen[bytes], address: str) -> bool:
    """Wait until the web UI answers and the definitions are loaded; False if Dagster has ended."""
    with requests.Session() as session:
        session.trust_env = False  # This machine is not behind a proxy.
        while process.poll() is None:
            if _is_loaded(session, address):
                return True
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    return False


def _is_loaded(session: requests.Session, address: str) -> bool:
    try:
        answer = session.post(f"{address}/graphql", json={"query": _LOCATIONS}, timeout=30)
        entries = answer.json()["data"]["workspaceOrError"]["locationEntries"]
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return False
    return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)
