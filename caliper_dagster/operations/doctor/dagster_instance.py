"""The Dagster instance: its version, storage, daemon, and what it lets run at once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import dagster as dg

from caliper_dagster.config.declaration import secret_of
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.assets import pools_of
from caliper_dagster.dagster.automation import automation_of, describe
from caliper_dagster.dagster.instance.health import last_heartbeat, pool_limits, run_limits
from caliper_dagster.dagster.instance.open import HOME, dagster_home, open_instance
from caliper_dagster.dagster.instance.storage import POSTGRES_URL
from caliper_dagster.operations.doctor.findings import Finding, broken, fine, warn

SUPPORTED = "1.13"
"""The minor version of Dagster that ``pyproject.toml`` asks for."""

_DAEMON_SILENT = 300
"""Seconds without a heartbeat after which the daemon is taken to be down; it sends two a minute."""

_BACKFILLS = 2
"""Runs of backfills at once, if ``dagster.yaml`` does not say."""


def home() -> Iterator[Finding]:
    """Whether Dagster has a home, without which nothing runs and nothing is sent."""
    try:
        dagster_home()
    except ConfigurationError:
        if os.environ.get(HOME):
            raise
        yield broken(
            "Dagster",
            f"{HOME} is not set: without it `translate` works, but nothing is sent.",
            f"Set {HOME} to a folder in which Dagster keeps its runs, such as .dagster_home.",
        )


def instance() -> Iterator[Finding]:
    """The findings about the instance itself."""
    slow: list[str] = []
    with open_instance(slow.append) as opened:
        kind = "PostgreSQL" if secret_of(POSTGRES_URL) else "SQLite"
        yield fine("Dagster", f"stores its runs in {kind}, home {Path(os.environ[HOME])}")
        yield from (
            warn("Dagster", sentence, "Install a Dagster that this release knows, or wait for one.")
            for sentence in slow
        )
        yield version(dg.__version__, metadata.version("dagster-webserver"))
        yield daemon(last_heartbeat(opened), time.time())
        yield from _runs(opened)


def version(installed: str, web_server: str) -> Finding:
    """Whether the installed Dagster is one that this release is made for.

    Args:
        installed: the version of ``dagster``.
        web_server: that of ``dagster-webserver``, which must be the same.
    """
    cure = f"Install both with the same version {SUPPORTED}.x: `pip install -c constraints.txt …`."
    if not installed.startswith(f"{SUPPORTED}."):
        return warn(
            "Dagster version",
            f"{installed} is installed; this release of caliper_dagster is tested with "
            f"{SUPPORTED} only.",
            cure,
        )
    if web_server != installed:
        return warn(
            "Dagster version", f"dagster is {installed}, but dagster-webserver {web_server}.", cure
        )
    return fine("Dagster version", installed)


def daemon(heartbeat: float | None, now: float) -> Finding:
    """Whether Dagster's daemon runs; backfills on the command line do without it.

    Args:
        heartbeat: when it last sent one, as Unix time; None if it never did.
        now: Unix time.
    """
    if heartbeat is not None and now - heartbeat <= _DAEMON_SILENT:
        return fine("Daemon", "is running")
    if heartbeat is None:
        state = "has never run"
    else:
        when = datetime.fromtimestamp(heartbeat, UTC)
        state = f"has not answered since {when:%Y-%m-%d %H:%M UTC}"
    return warn(
        "Daemon",
        f"Dagster's daemon {state}: without it neither the schedule nor a sensor sends an hour.",
        "Start `caliper-dagster dev`, or the service `dagster-daemon run` (docs/deployment.md).",
    )


def _runs(opened: dg.DagsterInstance) -> Iterator[Finding]:
    limits = run_limits(opened)
    needed = 1 + (_BACKFILLS if limits.backfills is None else limits.backfills)
    if limits.runs is not None and limits.runs < needed:
        yield _too_few(
            "Runs",
            "Dagster starts",
            plural(limits.runs, "run"),
            needed,
            "Raise `concurrency: runs: max_concurrent_runs` in dagster.yaml.",
        )
    else:
        number = "any number" if limits.runs is None else f"{limits.runs:,}"
        yield fine("Runs", f"{number} at once")


def pools(settings: Settings) -> Iterator[Finding]:
    """Whether the pools of a site have a slot for the newest hour while a backfill runs."""
    with open_instance() as opened:
        backfills = run_limits(opened).backfills
        limits = pool_limits(opened, pools_of(settings))
    needed = 1 + (_BACKFILLS if backfills is None else backfills)
    few = {pool: limit for pool, limit in limits.items() if limit is not None and limit < needed}
    for pool, limit in few.items():
        yield _too_few(
            "Pools",
            f"the pool {pool} has",
            plural(limit, "slot"),
            needed,
            f"Raise its limit in the web UI (Deployment, Concurrency), or `concurrency: pools: "
            f"default_limit` in dagster.yaml, to {needed} or more.",
        )
    if not few:
        slots = ", ".join(
            f"{pool} {'any number' if limit is None else limit}" for pool, limit in limits.items()
        )
        yield fine("Pools", f"slots: {slots}")


def automation(settings: Settings) -> Iterator[Finding]:
    """Whether the site's hours are taken without a person."""
    with open_instance() as opened:
        found = automation_of(opened, settings)
    text = describe(found, settings)
    # Where events are sent immediately, the sensor takes every hour.
    needed = [one for one in found if one.kind == "sensor" or not settings.send_immediately]
    is_on = all(one.is_on for one in needed)
    yield fine("Automation", text) if is_on else warn("Automation", f"{text}.", "")


def _too_few(subject: str, who: str, number: str, needed: int, cure: str) -> Finding:
    if number.startswith("0 "):
        return broken(subject, f"{who} {number}: no hour is sent by Dagster's daemon.", cure)
    return warn(
        subject,
        f"{who} {number} at once; with fewer than {needed} the newest hour waits for backfills.",
        cure,
    )
