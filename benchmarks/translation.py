"""How fast is translation, and where does the time go?

Run ``python -m benchmarks.translation``. The rows are those of a sample site; ``--expanded`` takes
them from a Parquet file of ``EXPANDED_LOG``, ``--real`` from the dump of a real site beside the
checkout, for which it starts a MariaDB server. They are repeated to any length (:func:`longer`) and
translated in chunks, as the assets do. With ``--mix views`` 80 of 100 are views (`benchmarks.mix`).

What is compared in the same run is one dict per event from entities that are ready (ids, times and
checks cost it nothing) and ``orjson.dumps``. All times are of the processor.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import mix
from caliper_dagster.core.frames import EXPANDED_LOG, REPEATED
from caliper_dagster.core.hours import HourRange
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.translator import Translator

WWWROOT = "https://moodle.example.org"
CHUNK = 200_000
"""Rows that are translated together, as the assets do."""

FACULTIES = 32
"""Sets of persons, courses and activities among which copies of rows are divided."""

_BLOCKS = 4
"""Parts of a copy that belong to different sets."""

_STEP = 10_000_000
_STANDING = frozenset(
    """
    user userid relateduserid realuserid course courseid category categoryid module instance cmid
    contextid contextinstanceid coursemoduleid
    """.split()
)
"""Keys of what stays while things are made in it: persons, courses, activities."""

_IDS = ("userid", "relateduserid", "realuserid", "courseid", "contextid", "contextinstanceid")
_REPEATED = [column.name for column in EXPANDED_LOG.columns if column.type == REPEATED]
_OF_THINGS = ("other", "object", "session", "unresolved")
_RECORDS = (
    *_OF_THINGS, "user", "user_membership", "realuser", "realuser_membership", "relateduser",
    "relateduser_membership", "course", "module",
)  # fmt: skip


# Rows


def longer(expanded: pa.Table, rows: int, new: float) -> pa.Table:
    """The rows over and over, with log ids and times that go on.

    A copy is either about the same persons and things as the last one, or about others: every
    quarter of such a copy has ids of its own for all that people made (attempts, posts, grades,
    log-ins), and belongs to one of 32 sets of persons, courses and activities that take turns, so
    that a long table has as many as a large site. With share 1, a row is as likely to be the first
    one about its thing as in the rows given, however long the table is; this is what a real log is
    like, for nobody hands in twice. With share 0 the same rows return.

    Args:
        expanded: ``EXPANDED_LOG`` rows.
        rows: how many to make.
        new: share of the copies about other persons and things.
    """
    order = pc.sort_indices(expanded["timecreated"])
    one = pa.table(
        {
            name: (column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column)
            .take(order)
            .combine_chunks()
            for name, column in zip(expanded.column_names, expanded.columns, strict=True)
        }
    )
    first, last = (one["timecreated"][at].as_py() for at in (0, one.num_rows - 1))
    span = 3600 * (1 + (last - first) // 3600)
    parts, made = [], 0
    for copy in range(-(-rows // one.num_rows)):
        made = int((copy + 1) * new)
        for block in range(_BLOCKS):
            low, high = (one.num_rows * at // _BLOCKS for at in (block, block + 1))
            thing = made * _BLOCKS + block if made else 0
            part = one.slice(low, high - low)
            parts.append(_moved(part, copy, copy * span, thing % FACULTIES, thing))
    table = pa.concat_tables(parts).unify_dictionaries().slice(0, rows)
    return EXPANDED_LOG.conform(table)


def with_views(expanded: pa.Table) -> pa.Table:
    """The rows and four views for each of them, with log ids of their own."""
    ordered = expanded.take(pc.sort_indices(expanded["timecreated"]))
    names = ordered["eventname"].cast(pa.string()).to_pylist()
    times = ordered["timecreated"].to_numpy()
    rows, moments = mix.with_views(names, times, np.random.default_rng(1))
    columns = dict(zip(ordered.column_names, ordered.take(pa.array(rows)).columns, strict=True))
    columns |= {"id": pa.array(np.arange(len(rows)) + 1), "timecreated": pa.array(moments)}
    return EXPANDED_LOG.conform(pa.table(columns))


def _moved(rows: pa.Table, copy: int, seconds: int, faculty: int, thing: int) -> pa.Table:
    """Rows of another time, about other persons and things."""
    columns = dict(zip(rows.column_names, rows.columns, strict=True))
    columns["id"] = pc.add(rows["id"], copy * _STEP)
    columns["timecreated"] = pc.add(rows["timecreated"], seconds)
    steps = dict.fromkeys(_IDS, faculty * _STEP) | {"objectid": thing * _STEP}
    for name, step in steps.items():
        above = pc.greater(rows[name], 1)  # 1 is the guest, the front page, the system
        columns[name] = pc.if_else(above, pc.add(rows[name], step), rows[name])
    for name in _REPEATED:
        column = rows[name].combine_chunks().dictionary_encode()
        texts = column.dictionary.to_pylist()
        if name in _RECORDS:
            own = thing if name in _OF_THINGS else faculty
            texts = [orjson.dumps(_shifted(orjson.loads(text), faculty, own)) for text in texts]
        columns[name] = pa.DictionaryArray.from_arrays(column.indices, pa.array(texts, pa.string()))
    return pa.table(columns).cast(EXPANDED_LOG.schema)


def _shifted(value: Any, faculty: int, thing: int, key: str = "") -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {
            name: _shifted(part, faculty, faculty if name in _STANDING else thing, name)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_shifted(part, faculty, thing, key) for part in value]
    if not (key == "id" or key.endswith("id") or key in _STANDING):
        return value
    step = (faculty if key in _STANDING else thing) * _STEP
    if isinstance(value, int) and not isinstance(value, bool) and value > 1:
        return value + step
    if isinstance(value, str) and value.isdecimal() and int(value) > 1:
        return str(int(value) + step)
    return value


@contextmanager
def _dump() -> Iterator[pa.Table]:
    """The rows of the real site."""
    from caliper_dagster_tests.harness import moodle_dump, servers
    from caliper_dagster_tests.harness.moodle_dump import expand_dump

    run = servers.begin_run()
    try:
        server = servers.connect("mariadb", run.folder)
        url = server.create_database()
        moodle_dump.load_dump(url)
        yield expand_dump(server.create_reader(url))
    finally:
        run.end()


def _sample(students: int, hours: int) -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        site = write_sample(Path(folder) / "moodle.sqlite", students=students, hours=hours)
        return _expanded(f"sqlite:///{site.path}", site.hours)


def _expanded(url: str, hours: HourRange) -> pa.Table:
    with MoodleDatabase.open(url) as database:
        log = pa.concat_tables(rows for _, rows in read_log(database, hours))
        return expand(database, log.unify_dictionaries())


# Measuring


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Processor time of the fastest of some repeats."""
    times = []
    for _ in range(repeats):
        gc.collect()
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def chunks(rows: pa.Table) -> list[pa.Table]:
    """The rows in chunks, each with the records that are its own, as they come from storage."""
    found = []
    for start in range(0, rows.num_rows, CHUNK):
        part = rows.slice(start, CHUNK)
        for at, field in enumerate(part.schema):
            if pa.types.is_dictionary(field.type):
                texts = part[field.name].cast(pa.string()).combine_chunks()
                part = part.set_column(at, field.name, texts.dictionary_encode())
        found.append(EXPANDED_LOG.conform(part))
    return found


def one_dict_each(events: list[dict[str, Any]]) -> list[bytes]:
    """JSON of events, each of a new dict of entities that are ready."""
    made = []
    for event in events:
        whole = dict(event)
        extensions = event["extensions"]
        whole["extensions"] = {**extensions, "moodle": dict(extensions["moodle"])}
        made.append(orjson.dumps(whole))
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--expanded", type=Path, help="Parquet file of EXPANDED_LOG rows")
    source.add_argument("--real", action="store_true", help="the dump beside the checkout")
    parser.add_argument("--students", type=int, default=400, help="of the sample site")
    parser.add_argument("--hours", type=int, default=96, help="of the sample site")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the longest table")
    parser.add_argument("--repeats", type=int, default=3)
    mix.add_option(parser)
    given = parser.parse_args()
    if given.real:
        with _dump() as expanded:
            rows = expanded
    elif given.expanded:
        rows = EXPANDED_LOG.conform(pq.read_table(given.expanded))
    else:
        rows = _sample(given.students, given.hours)
    if given.mix == mix.VIEWS:
        rows = with_views(rows)
    report(rows, given.rows, given.repeats)


def report(expanded: pa.Table, most: int, repeats: int) -> None:
    """Print all figures for rows of this kind."""
    translator = Translator(WWWROOT)
    names = pc.count_distinct(expanded["eventname"].cast(pa.string())).as_py()
    print(f"{expanded.num_rows:,} rows with {names} event names, repeated")
    against_dicts(translator, expanded, repeats)
    by_length(translator, expanded, most, repeats)
    where_time_goes(translator, longer(expanded, CHUNK, 1))


def against_dicts(translator: Translator, expanded: pa.Table, repeats: int) -> None:
    """A chunk of rows, for several shares of new persons and things, and dicts for the same."""
    print(f"\n{CHUNK:,} rows at once")
    print("new things   events/s   dict per event   ratio   bytes per event")
    for new in (0.0, 0.5, 1.0):
        rows = longer(expanded, CHUNK, new)
        events = [orjson.loads(text) for text in translator.translate(rows)["json"].to_pylist()]
        dicts = seconds(partial(one_dict_each, events), repeats)
        size = sum(map(len, one_dict_each(events))) / len(events)
        number = len(events)
        del events
        ours = seconds(partial(translator.translate, rows), repeats)
        print(
            f"{new:>10.0%} {number / ours:>10,.0f} {number / dicts:>16,.0f} "
            f"{dicts / ours:>7.2f} {size:>17,.0f}"
        )


def by_length(translator: Translator, expanded: pa.Table, most: int, repeats: int) -> None:
    """Tables of several lengths, all about new persons and things."""
    print("\n     rows   events/s   microseconds per event")
    whole = longer(expanded, most, 1)
    for length in (2_000, 10_000, 100_000, 1_000_000):
        if length <= most:
            parts = chunks(whole.slice(0, length))

            def work(parts: list[pa.Table] = parts) -> int:
                return sum(translator.translate(part).num_rows for part in parts)

            number, ours = work(), seconds(work, repeats)
            print(f"{length:>9,} {number / ours:>10,.0f} {ours / number * 1e6:>24.1f}")


def where_time_goes(translator: Translator, rows: pa.Table) -> None:
    """Own time of modules and of the dearest functions; profiling makes calls look dearer."""
    profile = cProfile.Profile()
    profile.runcall(translator.translate, rows)
    functions = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in functions.values())
    print("\nwhere the time goes (profiled)")
    spent: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, _) in functions.items():
        module = Path(file).stem if file.startswith("/") else name
        spent[module] = spent.get(module, 0) + own
    for module, own in sorted(spent.items(), key=lambda item: -item[1])[:16]:
        print(f"{own / total:>6.1%}  {module}")


if __name__ == "__main__":
    main()
