"""Does translation cost more when there are more recipes?

Run ``python -m benchmarks.recipes``. The same expanded rows of a sample site, which hold 30 event
names, are translated in turn with the recipes of these names alone and with all recipes. The ratio
of the medians should be 1.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.translator import Recipes, Translator, load_recipes


def main() -> None:
    """Measure, and print events per second and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=1000)
    parser.add_argument("--hours", type=int, default=48)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = write_sample(
            Path(folder) / "moodle.sqlite", students=given.students, hours=given.hours
        )
        with MoodleDatabase.open(f"sqlite:///{site.path}") as database:
            log = pa.concat_tables(rows for _, rows in read_log(database, site.hours))
            expanded = expand(database, log.unify_dictionaries())
    everything = load_recipes()
    few = Recipes({name: everything.find(name) for name in site.rows})
    translators = {
        f"{len(few.exact)} recipes": Translator(site.wwwroot, recipes=few),
        f"{len(everything.exact)} recipes": Translator(site.wwwroot, recipes=everything),
    }
    seconds: dict[str, list[float]] = {name: [] for name in translators}
    for _ in range(given.runs + 1):
        for name, translator in translators.items():
            began = time.perf_counter()
            translator.translate(expanded)
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    for name, median in medians.items():
        print(f"{name:>14}: {expanded.num_rows / median:>10,.0f} events/s")
    few_seconds, all_seconds = medians.values()
    print(f"cost of an event with all recipes, compared: {all_seconds / few_seconds:.2f}")


if __name__ == "__main__":
    main()
