"""Commands that work on this machine only: demo, dev, event-store, sample."""

from __future__ import annotations

import argparse
import os
import socket
from contextlib import ExitStack
from errno import EADDRNOTAVAIL
from pathlib import Path

from caliper_dagster.cli.options import tell
from caliper_dagster.cli.sending import run_backfill
from caliper_dagster.config.declaration import secret_of
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError


def demo(options: argparse.Namespace) -> None:
    """Run everything once on a sample site and an embedded event store."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.embedded.arrivals import arrivals
    from caliper_dagster.operations.demo import Demo

    work = Demo(Path(options.folder).absolute())
    out = terminal.results()
    is_new = work.prepare(options.students)
    out.print(f"{'Wrote' if is_new else 'Kept'} the sample Moodle site {work.sample}")
    with work.event_store():
        work.apply(os.environ)
        run_backfill(Settings.from_environment(), work.hours(), verbose=options.verbose)
    received = arrivals(work.arrived)
    terminal.show_numbers(
        [
            ("Received by the event store: envelopes", received.envelopes),
            ("Received by the event store: events", received.events),
        ]
    )
    out.print("To see these hours in the web UI, run `make dev` (or `caliper-dagster dev`).")


def dev(options: argparse.Namespace) -> None:
    """Start Dagster's web UI and daemon, on the demo if MOODLE_DB_URL is not set."""
    # Before Dagster is imported, which takes seconds.
    _check_port(options.host, options.port)
    from caliper_dagster.operations.demo import Demo

    with ExitStack() as stack:
        site = ("MOODLE_DB_URL", "MOODLE_DB_URL_FILE", "CALIPER_SITES")
        if not any(os.environ.get(name) for name in site):
            work = Demo(Path(options.folder).absolute())
            if not work.is_there():
                raise ConfigurationError(
                    "MOODLE_DB_URL is not set and there is no demo: run `caliper-dagster demo` (or "
                    "`make demo`) first."
                )
            stack.enter_context(work.event_store())
            work.apply(os.environ)
            tell(f"Using the demo in {work.folder}")
            tell(f"Its event store shows what it receives: {work.page()}")
        _serve_dagster(options)


def _serve_dagster(options: argparse.Namespace) -> None:
    from caliper_dagster.config.sites import all_sites
    from caliper_dagster.operations.dev import introduction, serve

    sites = all_sites()
    if not _is_loopback(options.host):
        tell(
            f"Other machines reach the web UI on {options.host}: it has no log-in, and whoever "
            "reaches it can launch runs. docs/deployment.md shows a proxy in front of it."
        )

    def on_ready(address: str) -> None:
        for sentence in introduction(sites):
            tell(sentence)
        tell(f"Ready: {address} (Ctrl-C ends it)")

    tell("Starting Dagster…")
    if status := serve(options.host, options.port, on_ready):
        raise CaliperDagsterError(f"Dagster ended with status {status}.")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _check_port(host: str, port: int) -> None:
    """Fail if the port is taken: Dagster would start its daemon and report that it serves."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OverflowError:
        reason = "no such port"
    except OSError as error:
        unknown = isinstance(error, socket.gaierror)
        reason = str(error.strerror) if unknown else os.strerror(error.errno or 0)
        if unknown or error.errno == EADDRNOTAVAIL:
            raise ConfigurationError(
                f"--host {host} is no address of this machine ({reason})."
            ) from None
    else:
        return
    raise ConfigurationError(
        f"--port {port} cannot be used on {host} ({reason}): choose another one, such as "
        f"`make dev PORT={port % 65_535 + 1}`."
    )


def event_store(options: argparse.Namespace) -> None:
    """Run the embedded event store, for demos and tests."""
    from caliper_dagster.embedded.event_store import serve
    from caliper_dagster.embedded.faults import Faults

    key = options.api_key or secret_of("CALIPER_API_KEY")
    if not key:
        raise ConfigurationError(
            "CALIPER_API_KEY is not set and --api-key is missing: senders must present this key."
        )
    serve(options.port, options.db, key, options.host, Faults.parse(options.hostile))


def sample(options: argparse.Namespace) -> None:
    """Write a sample Moodle database to an SQLite file."""
    from caliper_dagster.embedded.sample import write_sample

    written = write_sample(
        options.out,
        students=options.students,
        hours=options.hours,
        seed=options.seed,
        overwrite=options.overwrite,
    )
    print(f"{written.path}: {written.total:,} log rows of {written.hours}")
    print(f"MOODLE_DB_URL='sqlite:///{written.path.absolute()}'")
    print(f"MOODLE_WWWROOT='{written.wwwroot}'")
