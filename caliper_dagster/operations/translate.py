"""Translation without Dagster: from hours of the log directly to events, without storing them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.event_stores import named_destination, renderings, sent_as
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.translator import HoursToTranslate, translators
from caliper_dagster.core.frames import WITH_EVENT
from caliper_dagster.core.hours import HourRange
from caliper_dagster.delivery.row_filter import RowRules, translated
from caliper_dagster.expander import (
    EarlierParts,
    LogLifecycle,
    LogPart,
    MoodleDatabase,
    expand,
    read_log_in_parts,
)

_ROWS_PER_CHUNK = 50_000


def translate_hours(
    settings: Settings, hours: HourRange, destination: str | None = None
) -> Iterator[tuple[HourRange, Iterator[bytes], dict[str, int]]]:
    """Translate the hours, about 50,000 rows at a time.

    Args:
        settings: of the site.
        hours: the hours.
        destination: name of an event store: its events as it is sent them, without those that its
            filter keeps back. The events of ``caliper_events`` when not given.

    Yields:
        The hours that end with these rows; a line of JSON per event; the number of rows by outcome,
        and of those that are filtered by rule.

    Raises:
        ConfigurationError: a setting is missing or wrong, or there is no such event store.
        SourceError: the database cannot be read.
    """
    store = named_destination(settings, destination) if destination else None
    rendering = store.rendering if store else renderings(settings)[0]
    with open_moodle(settings) as database:
        rules = RowRules.read(sent_as(settings, rendering), lambda: nullcontext(database))
        lifecycle = LogLifecycle(database)
        for part in translators(settings, rendering, hours):
            for ended_hours, outcomes in _translated(part, rules, database, lifecycle):
                kept_back: dict[str, int] = {}
                if store is not None:
                    outcomes, kept_back = store.filter.apply(outcomes)
                counts = _counts(outcomes)
                if kept_back:
                    counts["kept back"] = sum(kept_back.values())
                yield ended_hours, _lines(outcomes), counts


def _translated(
    part: HoursToTranslate,
    rules: RowRules | None,
    database: MoodleDatabase,
    lifecycle: LogLifecycle,
) -> Iterator[tuple[HourRange, pa.Table]]:
    """The outcomes of the log rows of some hours, and the hours that end with them."""
    earlier: EarlierParts | None = None
    for chunk in _chunks(read_log_in_parts(database, part.hours)):
        if not chunk[-1].ends:
            earlier = earlier or EarlierParts()
        log = pa.concat_tables(read.rows for read in chunk).unify_dictionaries()
        expanded = expand(database, log, lifecycle, earlier=earlier)
        outcomes = translated(part.translator, rules, expanded)
        if earlier is not None:
            earlier.add(log)
        ended = [read.hour for read in chunk if read.ends]
        if ended:
            earlier = None
        first = chunk[0].hour
        yield HourRange(first, ended[-1] + 1) if ended else HourRange(first, first), outcomes


def _chunks(parts: Iterable[LogPart]) -> Iterator[list[LogPart]]:
    """Whole hours, up to the one that reaches 50,000 rows; or a part of an hour alone."""
    chunk: list[LogPart] = []
    continues = False
    for part in parts:
        is_whole = part.ends and not continues
        continues = not part.ends
        if not is_whole and chunk:
            yield chunk
            chunk = []
        chunk.append(part)
        if not is_whole or sum(part.rows.num_rows for part in chunk) >= _ROWS_PER_CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _lines(outcomes: pa.Table) -> Iterator[bytes]:
    chosen = pc.is_in(outcomes["outcome"].cast(pa.string()), pa.array(WITH_EVENT))
    for batch in outcomes["json"].filter(chosen).chunks:
        for text in batch.to_pylist():
            yield f"{text}\n".encode()


def _counts(outcomes: pa.Table) -> dict[str, int]:
    outcome = outcomes["outcome"].cast(pa.string())
    rule = pc.binary_join_element_wise(outcome, outcomes["reason"].cast(pa.string()), " by ")
    named = pc.if_else(pc.equal(outcome, "filtered"), rule, outcome)
    counts = pc.value_counts(named).to_pylist()
    return {str(entry["values"]): int(entry["counts"]) for entry in counts}
