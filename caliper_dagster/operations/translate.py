"""Translation without Dagster: from hours of the log directly to events, without storing them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.event_stores import named_destination, renderings, sent_as
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.translator import HoursToTranslate, translators
from caliper_dagster.core.frames import WITH_EVENT
from caliper_dagster.core.hours import SECONDS, Hour, HourRange
from caliper_dagster.core.wording import plural
from caliper_dagster.delivery.row_filter import RowRules, searched
from caliper_dagster.expander import (
    EarlierParts,
    LogLifecycle,
    LogPart,
    MoodleDatabase,
    expand,
    read_log_in_parts,
)
from caliper_dagster.translator.leak_search import Leak

_ROWS_PER_CHUNK = 50_000


class TranslatedHours(NamedTuple):
    """The events of some hours.

    Attributes:
        hours: those that end with these rows.
        lines: a line of JSON per event.
        counts: number of rows by outcome; of those that are filtered, by rule.
        withheld: hours that are left out, for they hold values of persons that the privacy profile
            forbids; each with the fields that hold them.
    """

    hours: HourRange
    lines: Iterator[bytes]
    counts: dict[str, int]
    withheld: Mapping[Hour, Collection[str]]


def translate_hours(
    settings: Settings, hours: HourRange, destination: str | None = None
) -> Iterator[TranslatedHours]:
    """Translate the hours, about 50,000 rows at a time.

    What the leak check withholds is left out, as it would not be sent: whole hours. Of an hour that
    comes in parts, for it has more rows, each part is searched with the persons of its own rows.

    Args:
        settings: of the site.
        hours: the hours.
        destination: name of an event store: its events as it is sent them, without those that its
            filter keeps back. The events of ``caliper_events`` when not given.

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
            for ended_hours, whole, leaks in _translated(part, rules, database, lifecycle):
                outcomes, left_out = _without(whole, leaks)
                kept_back: dict[str, int] = {}
                if store is not None:
                    outcomes, kept_back = store.filter.apply(outcomes)
                counts = _counts(outcomes)
                if kept_back:
                    counts["kept back"] = sum(kept_back.values())
                if left_out:
                    counts["withheld"] = left_out
                yield TranslatedHours(ended_hours, _lines(outcomes), counts, _fields(leaks))


def _translated(
    part: HoursToTranslate,
    rules: RowRules | None,
    database: MoodleDatabase,
    lifecycle: LogLifecycle,
) -> Iterator[tuple[HourRange, pa.Table, list[Leak]]]:
    """The hours that end with some log rows, the outcomes of these, and what must not leave."""
    earlier: EarlierParts | None = None
    for chunk in _chunks(read_log_in_parts(database, part.hours)):
        if not chunk[-1].ends:
            earlier = earlier or EarlierParts()
        log = pa.concat_tables(read.rows for read in chunk).unify_dictionaries().combine_chunks()
        expanded = expand(database, log, lifecycle, earlier=earlier)
        outcomes, leaks, _ = searched(part.translator, rules, expanded)
        if earlier is not None:
            earlier.add(log)
        ended = [read.hour for read in chunk if read.ends]
        if ended:
            earlier = None
        first = chunk[0].hour
        yield HourRange(first, ended[-1] + 1 if ended else first), outcomes, leaks


def _without(outcomes: pa.Table, leaks: Collection[Leak]) -> tuple[pa.Table, int]:
    """The outcomes without the hours that are withheld, and how many of those had an event."""
    if not leaks:
        return outcomes, 0
    seconds = outcomes["timecreated"].to_numpy()
    withheld = np.isin(seconds // SECONDS, [leak.hour for leak in leaks])
    has_event = pc.is_in(outcomes["outcome"].cast(pa.string()), pa.array(WITH_EVENT)).to_numpy()
    return outcomes.filter(pa.array(~withheld)), int((withheld & has_event).sum())


def _fields(leaks: Iterable[Leak]) -> dict[Hour, set[str]]:
    fields: dict[Hour, set[str]] = {}
    for leak in leaks:
        fields.setdefault(Hour(leak.hour), set()).add(f"{leak.field} ({leak.kind})")
    return fields


def withheld_sentence(withheld: Mapping[Hour, Collection[str]]) -> str:
    """What the command says of hours that are left out.

    Args:
        withheld: at least one hour, with its fields.
    """
    fields = ", ".join(sorted({field for found in withheld.values() for field in found}))
    return (
        f"Not written: {plural(len(withheld), 'hour')} (from {min(withheld)}) with values of "
        f"persons that the privacy profile forbids, in {fields}: correct the recipe or the text in "
        "Moodle, or name a field that is in order in CALIPER_ALLOWED_FIELDS."
    )


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
