"""What the options of several commands mean: the site, the hours, the file to write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import HourRange, last_complete_hour, parse_hour


def tell(sentence: str) -> None:
    """Print a sentence about the progress of the work, which is no result."""
    print(sentence, file=sys.stderr, flush=True)


def chosen_settings(options: argparse.Namespace) -> Settings:
    """The settings of the site that the command is for."""
    from caliper_dagster.config.sites import FILE, chosen_site

    sites = _all_sites(options)
    if options.defs and options.site is None and len(sites) == 1:
        return sites[0]
    return chosen_site(options.site, sites, options.defs or FILE)


def chosen_sites(options: argparse.Namespace) -> Sequence[Settings]:
    """The settings of the site that the command is for, or of all."""
    return [chosen_settings(options)] if options.site else _all_sites(options)


def _all_sites(options: argparse.Namespace) -> tuple[Settings, ...]:
    if options.defs:
        from caliper_dagster.operations.host_project import sites_of_project

        return sites_of_project(Path(options.defs))
    from caliper_dagster.config.sites import all_sites

    return all_sites()


def chosen_hours(options: argparse.Namespace) -> HourRange:
    """The hours from ``--from`` to ``--to``.

    Raises:
        ConfigurationError: these are no hours, or there are none between them.
    """
    hours = HourRange(parse_hour(options.start, "--from"), parse_hour(options.end, "--to"))
    if not len(hours):
        raise ConfigurationError("--to must be later than --from.")
    return hours


def complete_hours(options: argparse.Namespace, settings: Settings) -> HourRange:
    """The requested hours; all must be partitions of complete hours."""
    hours = chosen_hours(options)
    if hours.start < settings.start:
        raise ConfigurationError(
            f"--from is before the first hour, CALIPER_START {settings.start}."
        )
    complete = last_complete_hour(datetime.now(UTC)) + 1
    if complete < hours.end:
        raise ConfigurationError(f"--to is after {complete}, the end of the last complete hour.")
    return hours


@contextmanager
def output(name: str) -> Iterator[BinaryIO]:
    """The file, or standard output for ``-``."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = Path(name).open("wb")  # noqa: SIM115 - closed below; only opening is guarded
    except OSError as error:
        raise ConfigurationError(
            f"--out cannot be written to: {name} ({error.strerror})."
        ) from None
    with file:
        yield file


def positive_integer(text: str) -> int:
    """The type of an option: a whole number from 1 on."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)
