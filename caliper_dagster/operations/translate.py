"""Translation without Dagster: from hours of the log directly to events, without storing them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.translator import build_translator
from caliper_dagster.core.frames import WITH_EVENT
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.expander import LogLifecycle, count_rows, expand, read_log

_ROWS_PER_CHUNK = 50_000


def translate_hours(
    settings: Settings, hours: HourRange
) -> Iterator[tuple[HourRange, Iterator[bytes], dict[str, int]]]:
    """Translate the hours, about 50,000 rows at a time.

    Yields:
        A range of the hours; a line of JSON per event; the number of rows by outcome.

    Raises:
        ConfigurationError: a setting is missing or wrong.
        SourceError: the database cannot be read.
    """
    translate = build_translator(settings).translate
    with open_moodle(settings) as database:
        lifecycle = LogLifecycle(database)
        for chunk in _chunks(count_rows(database, hours)):
            log = pa.concat_tables(rows for _, rows in read_log(database, chunk))
            outcomes = translate(expand(database, log.unify_dictionaries(), lifecycle))
            yield chunk, _lines(outcomes), _counts(outcomes)


def _chunks(rows: dict[Hour, int]) -> Iterator[HourRange]:
    """Consecutive ranges of hours, each ending with the hour that reaches 50,000 rows."""
    first, chunk_rows = min(rows), 0
    for hour, number in rows.items():
        chunk_rows += number
        if chunk_rows >= _ROWS_PER_CHUNK:
            yield HourRange(first, hour + 1)
            first, chunk_rows = hour + 1, 0
    if first <= max(rows):
        yield HourRange(first, max(rows) + 1)


def _lines(outcomes: pa.Table) -> Iterator[bytes]:
    chosen = pc.is_in(outcomes["outcome"].cast(pa.string()), pa.array(WITH_EVENT))
    for batch in outcomes["json"].filter(chosen).chunks:
        for text in batch.to_pylist():
            yield f"{text}\n".encode()


def _counts(outcomes: pa.Table) -> dict[str, int]:
    counts = pc.value_counts(outcomes["outcome"].cast(pa.string()))
    return {str(entry["values"]): int(entry["counts"]) for entry in counts.to_pylist()}
