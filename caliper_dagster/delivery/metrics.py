"""Metrics for Prometheus: which there are, and the text file that node_exporter reads.

The names, meanings and labels are defined here and nowhere else; ``docs/metrics.md`` is generated
from them. All are gauges in base units. A time is Unix time, so that an alarm takes its age when it
is evaluated, also when nothing has written the file since. Labels hold names of ours and of the
settings only. https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from caliper_dagster.core.errors import ConfigurationError

SITE, EVENT_STORE = "site", "event_store"
EXTENSION = ".prom"
"""The textfile collector reads no other files."""

_READABLE = 0o644
"""The exporter has an account of its own, and a metric holds nothing personal."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name, its meaning in one sentence, and its labels."""

    name: str
    meaning: str
    labels: tuple[str, ...] = (SITE,)


class Sample(NamedTuple):
    """A value of a metric; a label whose value is empty is left out."""

    metric: Metric
    labels: Mapping[str, str]
    value: float


OF_STORE = (SITE, EVENT_STORE)

COLLECTED = Metric(
    "caliper_metrics_collected",
    "1 if all metrics of the site are here, 0 if something that they come from could not be read.",
)
BACKLOG_HOURS = Metric(
    "caliper_backlog_hours", "Hours whose events are made and wait for the event store.", OF_STORE
)
FAILED_HOURS = Metric(
    "caliper_failed_hours", "Hours whose last run failed before the event store had them.", OF_STORE
)
UNRETRIED_HOURS = Metric(
    "caliper_failed_hours_not_retried",
    "Hours that failed or wait for the event store, and that no sensor retries.",
    OF_STORE,
)
NEWEST_HOUR = Metric(
    "caliper_newest_complete_hour_timestamp_seconds",
    "End of the newest hour that the event store has completely; the first hour's start if none.",
    OF_STORE,
)
LAST_ACKNOWLEDGEMENT = Metric(
    "caliper_last_acknowledgement_timestamp_seconds",
    "Time of the event store's last acknowledgement; 0 if there is none.",
    OF_STORE,
)
LAST_SUCCESS = Metric(
    "caliper_last_success_timestamp_seconds",
    "End of the last run that succeeded, of the schedule, a sensor or a command; 0 if none has.",
)
REJECTED_EVENTS = Metric(
    "caliper_rejected_events",
    "Events whose last answer by the event store is a rejection.",
    OF_STORE,
)
WITHHELD_EVENTS = Metric(
    "caliper_last_day_withheld_events",
    "Events of the last 24 hours that are not sent because something is wrong with them.",
    (*OF_STORE, "reason"),
)
LOG_ROWS = Metric("caliper_last_day_log_rows", "Log rows of the last 24 hours.")
FAILED_ROWS = Metric(
    "caliper_last_day_failed_rows", "Log rows of the last 24 hours whose translation failed."
)
UNEXPLAINED_ROWS = Metric(
    "caliper_last_day_unexplained_rows",
    "Log rows of the last 24 hours that are neither an event nor filtered nor failed.",
)
CHECK_PASSED = Metric(
    "caliper_standing_check_passed",
    "1 if the standing check passed when it was evaluated last, 0 if it failed or warned.",
    (SITE, "asset", "check"),
)
CHECK_EVALUATED = Metric(
    "caliper_standing_check_evaluated_timestamp_seconds",
    "Time at which the standing check was evaluated last.",
    (SITE, "asset", "check"),
)
LEDGER_SIZE = Metric(
    "caliper_ledger_size_bytes", "Size of the ledger; sites that share a ledger share its size."
)

METRICS = (
    *(COLLECTED, BACKLOG_HOURS, FAILED_HOURS, UNRETRIED_HOURS, NEWEST_HOUR, LAST_ACKNOWLEDGEMENT),
    *(LAST_SUCCESS, REJECTED_EVENTS, WITHHELD_EVENTS, LOG_ROWS, FAILED_ROWS, UNEXPLAINED_ROWS),
    *(CHECK_PASSED, CHECK_EVALUATED, LEDGER_SIZE),
)
"""All metrics, in the order of the file."""


def exposition(samples: Iterable[Sample]) -> str:
    """The samples in Prometheus' text format; a metric without samples is left out."""
    by_metric: dict[Metric, list[str]] = {metric: [] for metric in METRICS}
    for metric, labels, value in samples:
        pairs = ",".join(
            f'{name}="{_escaped(labels[name])}"' for name in metric.labels if labels.get(name)
        )
        by_metric[metric].append(f"{metric.name}{f'{{{pairs}}}' if pairs else ''} {value!r}\n")
    return "".join(
        f"# HELP {metric.name} {metric.meaning}\n# TYPE {metric.name} gauge\n{''.join(lines)}"
        for metric, lines in by_metric.items()
        if lines
    )


def check_name(path: Path) -> None:
    """Make sure that node_exporter reads a file of that name.

    Raises:
        ConfigurationError: it does not.
    """
    if path.suffix != EXTENSION or path.name.startswith("."):
        raise ConfigurationError(
            f"--out must end in {EXTENSION}, not {path.name}: node_exporter reads no other file."
        )


def write_file(path: Path, text: str) -> None:
    """Write or replace the file; a reader sees the old content or the new one.

    Raises:
        ConfigurationError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        try:
            with temporary.open("x", encoding="utf-8") as file:
                os.fchmod(file.fileno(), _READABLE)
                file.write(text)
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"--out cannot be written to: {path} ({error.strerror})."
        ) from None


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
