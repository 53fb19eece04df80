"""Commands for those who run an installation: doctor, prune, metrics."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from caliper_dagster.cli.options import chosen_sites, tell
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.core.wording import plural

if TYPE_CHECKING:
    from caliper_dagster.operations.doctor import Finding


def doctor(options: argparse.Namespace) -> None:
    """Check everything that a run needs, and report problems with their cures."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.operations.doctor import (
        Verdict,
        examine,
        examine_configured,
        send_test_alerts,
    )

    found: Counter[Verdict] = Counter()

    def show(findings: Iterable[Finding]) -> None:
        for finding in findings:
            found[finding.verdict] += 1
            site = f"{finding.site}  " if finding.site else ""
            lines = [f"{finding.verdict.value:6}  {site}{finding.subject:16}  {finding.text}"]
            if finding.cure:
                lines.append(f"{'':8}→ {finding.cure}")
            for line in lines:
                terminal.results().print(line, soft_wrap=True, markup=False)

    if options.defs:
        show(examine(chosen_sites(options), fix_modes=options.fix_modes))
    else:
        show(examine_configured(options.site, fix_modes=options.fix_modes))
    if options.send_test_alert:
        show(send_test_alerts(chosen_sites(options)))
    problems, warnings_ = found[Verdict.BROKEN], found[Verdict.WARNING]
    if problems:
        raise ConfigurationError(f"{plural(problems, 'problem')} to fix.")
    if options.strict and warnings_:
        raise ConfigurationError(f"{plural(warnings_, 'warning')}, and --strict allows none.")


def prune(options: argparse.Namespace) -> None:
    """Delete what is older than the settings CALIPER_KEEP_… say."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.dagster import retention
    from caliper_dagster.dagster.instance.open import open_instance

    sites = chosen_sites(options)
    if not any(map(retention.has_limits, sites)):
        tell(
            "No setting says how long anything is kept: set CALIPER_KEEP_PARTITIONS, "
            "CALIPER_KEEP_SUPERSEDED_BATCHES, CALIPER_KEEP_RUNS or CALIPER_KEEP_COMPUTE_LOGS."
        )
    with open_instance(tell) as instance:
        # The records of Dagster are those of all sites, and in a host's project of other assets.
        runs = not options.site and not options.defs
        pruned = retention.prune(instance, sites, plan=options.plan, runs=runs)
    rows = [
        (
            f"{site} " * bool(site) + removal.what,
            f"{removal.number:,}",
            terminal.size(removal.bytes),
        )
        for site, removal in pruned.removals
    ]
    if rows:
        terminal.show_table(
            ("Would be deleted" if options.plan else "Deleted", "Number", "Size"), rows
        )
    for reason, number in pruned.kept.items():
        tell(f"{plural(number, 'hour')} past the time to keep stay: {reason}.")


def metrics(options: argparse.Namespace) -> None:
    """Write metrics for Prometheus, to a file that node_exporter's textfile collector reads."""
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.delivery.metrics import check_name, exposition, write_file
    from caliper_dagster.operations.metrics import collect

    if options.out != "-":
        check_name(Path(options.out))
    with open_instance() as instance:
        collected = collect(instance, chosen_sites(options), time.time())
    text = exposition(collected.samples)
    if options.out == "-":
        print(text, end="")
    else:
        write_file(Path(options.out), text)
    for sentence in collected.failures:
        tell(sentence)
    if collected.failures:
        raise CaliperDagsterError(
            f"The metrics of {plural(len(collected.failures), 'site')} could not be read; "
            "caliper_metrics_collected is 0."
        )
