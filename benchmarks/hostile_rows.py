"""Does any hostile log row or recipe file crash the translator, stop it or leak through it?

Run ``python -m benchmarks.hostile_rows``. A million rows of ``harness.hostile_rows`` are
translated, divided among the privacy profiles and versions, and their events are searched for the
marks. Files of ``harness.hostile_recipes`` are loaded. The exit status is 1 if anything is found.
Every batch of 2,000 rows has a seed of its own, so pieces with seeds that are 1,000 apart are one
run in parts.
"""

from __future__ import annotations

import argparse
import time

from caliper_dagster_tests.harness.hostile_recipes import examine_files
from caliper_dagster_tests.harness.hostile_rows import Findings, examine


def main() -> int:
    """Examine, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--recipe-files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.perf_counter()

    def report(findings: Findings) -> None:
        if findings.rows % 100_000 == 0:
            print(f"{findings.rows:>10,} rows, {len(findings.leaks)} leaks", flush=True)

    findings = examine(given.rows, given.seed, report=report)
    seconds = time.perf_counter() - began
    outcomes = ", ".join(f"{name} {count:,}" for name, count in findings.outcomes.most_common())
    print(f"{findings.rows:,} rows in {seconds:,.0f} s; {outcomes}")
    print(f"recipe files refused: {findings.refused}; slowest batch: {findings.slowest:.1f} s")
    for leak in sorted(set(findings.leaks)):
        print("LEAK", *leak)
    files = examine_files(given.recipe_files, given.seed)
    print(
        f"{files.files:,} recipe files, {files.refused:,} refused with file and line; "
        f"slowest: {files.slowest:.1f} s"
    )
    for number, flaw in files.wrong:
        print("RECIPE FILE", number, flaw)
    return 1 if findings.leaks or files.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
