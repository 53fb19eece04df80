"""Validity of a ``CALIPER_EVENTS`` table from a sample, for the verdict and check of each hour.

Each distinct entity is checked when it is rendered, and the rest of an event is one of a few
combinations of type, action and profile. So ids are checked in every row, and whole events in a
sample: some of every combination that occurs. Types and assignees that any event tells are read
column-wise, from the fragments that the events were joined from, each once, or else from the JSON
of every row; the references of the sample are checked against them.

A combination in whose sample an event is not valid is no longer trusted: all its events are
validated. So events that are not valid are found one by one, and valid ones cost nothing more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.caliper.document_rules import parse, validate
from caliper_dagster.caliper.problems import Problem, article, violation
from caliper_dagster.caliper.references import References
from caliper_dagster.caliper.ruleset import EVENT_ID
from caliper_dagster.caliper.vocabulary import TERM
from caliper_dagster.core.frames import WITH_EVENT
from caliper_dagster.core.hour_verdict import HourVerdict, Reason, is_invalid
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.translator.leak_search import Leak, Pool
from caliper_dagster.translator.rows import Indices, Rows

_COMBINATION = (
    "event_name", "event_type", "action", "profile", "recipe", "outcome", "caliper_version",
)  # fmt: skip
_EVENT_COLUMNS = {"event_id": "id", "event_type": "type", "action": "action", "profile": "profile"}
"""Columns that repeat a property of the event."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that rows of one recipe share.

    Attributes:
        problem: the problem; positions in lists are ``*``.
        event_name: Moodle event of the rows; None for a problem of the table.
        recipe: recipe of the rows; None for a problem of the table.
        rows: how many of the checked rows have it.
        log_id: the first of them.
    """

    problem: Problem
    event_name: str | None
    recipe: str | None
    rows: int
    log_id: int | None


@dataclass(frozen=True, slots=True)
class SampleReport:
    """The result of a sample.

    Attributes:
        events: events in the table.
        checked: events that were validated as a whole.
        invalid: how many of these are not valid.
        findings: the problems, those of the most rows first.
        invalid_rows: rows of the table whose event is not valid by itself. An event that only
            contradicts another one is not among them: nobody can tell which of the two is wrong.
        repeated_ids: ids that several events of the table have.
    """

    events: int
    checked: int
    invalid: int
    findings: tuple[Finding, ...]
    invalid_rows: tuple[int, ...] = ()
    repeated_ids: frozenset[str] = frozenset()


def sample_problems(
    events: pa.Table, pools: Iterable[Pool] | None = None, *, per_type: int | None = 10
) -> SampleReport:
    """Validate events of a table, strictly: the ids of all, and a sample of whole events.

    Args:
        events: a ``CALIPER_EVENTS`` table of one version and any number of hours. Rows without an
            event are left out.
        pools: what these events were joined from; if not given, their JSON is read.
        per_type: how many whole events of each combination of event name, recipe, type, action and
            profile, spread evenly over its rows: the same table gives the same sample. All of them
            when it is None.
    """
    rows = np.flatnonzero(pc.is_in(events["outcome"], pa.array(WITH_EVENT)).to_numpy())
    combinations = _combinations(Rows(events, frozenset()), rows)
    sampled_rows = _sampled_rows(rows, combinations, per_type)
    if pools is None:
        described = _Described.of(_select(events.select(["json"]), rows)["json"].chunks)
    else:
        described = _Described.of(pool.fragments.distinct() for pool in pools)
    tally = _Tally(events)
    tally.validate(sampled_rows, References(described.types()))
    if tally.invalid_rows:
        doubtful = np.isin(combinations, combinations[np.isin(rows, tally.invalid_rows)])
        tally.validate(np.setdiff1d(rows[doubtful], sampled_rows), None)
    ids = _select(events.select(["event_id"]), rows)["event_id"]
    repetitions = len(ids) - ids.null_count - pc.count_distinct(ids).as_py()
    no_ids = rows[~_are_ids(ids)]
    findings = [*tally.findings(), *described.findings(), *_id_findings(len(no_ids), repetitions)]
    findings.sort(key=lambda finding: -finding.rows)
    return SampleReport(
        len(rows),
        tally.checked,
        tally.invalid,
        tuple(findings),
        tuple(sorted({*tally.invalid_rows, *no_ids.tolist()})),
        _repeated(ids) if repetitions else frozenset(),
    )


class EventFaults:
    """The events of an hour that must not be sent, counted in any number of parts."""

    def __init__(self) -> None:
        self._invalid = self._repeated = 0
        self._fields: Counter[str] = Counter()

    def add(self, rows: pa.Table, report: SampleReport) -> None:
        """Count some rows of the hour, marked by `core.hour_verdict.mark_invalid`.

        Args:
            rows: ``CALIPER_EVENTS`` rows of the hour.
            report: of a table that holds these rows.
        """
        if report.invalid_rows:
            self._invalid += _true(is_invalid(rows))
        if report.repeated_ids:
            counts = pc.value_counts(rows["event_id"].drop_null()).field("counts")
            self._repeated += _true(pc.greater(counts, 1))

    def add_leaks(self, leaks: Iterable[Leak]) -> None:
        """Count values of persons that must not leave.

        Args:
            leaks: those of the hour, in some of its rows.
        """
        for leak in leaks:
            self._fields[f"{leak.field} ({leak.kind})"] += leak.events

    def verdict(self, account: Account) -> HourVerdict:
        """The verdict on the hour.

        Args:
            account: of all its log rows.
        """
        return HourVerdict.of(
            {
                Reason.UNEXPLAINED: account.unexplained,
                Reason.REPEATED_ID: self._repeated,
                Reason.INVALID: self._invalid,
                Reason.PERSONAL_DATA: self._fields.total(),
            },
            self._fields,
        )


def _true(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask, min_count=0).as_py())


class _Tally:
    """Validates rows of a table as whole events, and counts their problems."""

    def __init__(self, events: pa.Table) -> None:
        columns = ("log_id", "event_name", "recipe", "json", *_EVENT_COLUMNS)
        self._events = events.select(columns)
        self._logs: dict[tuple[Problem, str, str], list[int]] = {}
        self.checked = 0
        self.invalid = 0
        self.invalid_rows: list[int] = []

    def validate(self, rows: Indices, references: References | None) -> None:
        """Validate some rows.

        Args:
            rows: positions in the table, in order.
            references: what the events of the table say of IRIs; None to validate each event by
                itself.
        """
        values = _select(self._events, rows).to_pylist()
        self.checked += len(values)
        for number, row in zip(rows.tolist(), values, strict=True):
            problems = list(_row_problems(row, references or References()))
            kinds = dict.fromkeys(problem.kind for problem in problems)
            self.invalid += bool(kinds)
            for kind in kinds:
                self._logs.setdefault((kind, row["event_name"], row["recipe"]), []).append(
                    row["log_id"]
                )
            if kinds and (references is None or any(_row_problems(row, References()))):
                self.invalid_rows.append(number)

    def findings(self) -> Iterator[Finding]:
        """The problems, and the rows that have them."""
        for (problem, event_name, recipe), logs in self._logs.items():
            yield Finding(problem, event_name, recipe, len(logs), logs[0])


_BEGINS = '{"type":"'
_ENTITY = r'^(?P<type>[A-Za-z]+)","id":"(?P<iri>[^"]*)"'
_ASSIGNEE = r'"assignee":"(?P<assignee>[^"]*)"'
_BYTES_PER_BATCH = 16 << 20
"""Texts that are taken apart at a time: their parts need several times their memory."""


@dataclass(frozen=True, slots=True)
class _Described:
    """What texts of JSON say of IRIs, as columns of distinct combinations.

    Attributes:
        entities: ``iri``, ``type``.
        assignees: ``iri`` of an attempt, ``assignee``.
    """

    entities: pa.Table
    assignees: pa.Table

    @classmethod
    def of(cls, texts: Iterable[pa.StringArray]) -> _Described:
        """Read them off JSON in which an entity begins with its type and its id.

        Args:
            texts: whole events, or the fragments of which they consist, in any order.
        """
        read = [cls._of_texts(batch) for array in texts for batch in _batches(array)]
        read = read or [cls._of_texts(pa.array([], pa.string()))]
        return cls(
            _distinct(pa.concat_tables(one.entities for one in read)),
            _distinct(pa.concat_tables(one.assignees for one in read)),
        )

    @classmethod
    def _of_texts(cls, json: pa.StringArray) -> _Described:
        texts = pc.list_flatten(pc.split_pattern(json, _BEGINS))
        heads = pc.extract_regex(texts, _ENTITY)
        names, iris = pc.struct_field(heads, "type"), pc.struct_field(heads, "iri")
        named = pc.invert(pc.starts_with(iris, TERM))
        entities = pa.table({"iri": iris, "type": names}).filter(named)
        attempts = np.flatnonzero(pc.fill_null(pc.equal(names, "Attempt"), False).to_numpy(False))
        own = texts.take(pa.array(attempts))
        inline = pc.ends_with(own, '"assignee":')
        following = iris.take(pa.array(np.minimum(attempts + 1, len(iris) - 1)))
        told = pc.struct_field(pc.extract_regex(own, _ASSIGNEE), "assignee")
        assignees = pa.table(
            {
                "iri": iris.take(pa.array(attempts)),
                "assignee": pc.if_else(inline, following, told),
            }
        )
        known = pc.and_(
            pc.invert(pc.starts_with(assignees["iri"], TERM)),
            pc.invert(pc.starts_with(assignees["assignee"], TERM)),
        )
        return cls(entities, assignees.filter(known))

    def types(self) -> dict[str, str]:
        """The type of each IRI; one of them where there are several."""
        columns = self.entities.to_pydict()
        return dict(zip(columns["iri"], columns["type"], strict=True))

    def findings(self) -> Iterator[Finding]:
        """IRIs of two types, and attempts of two assignees."""
        several = _several(self.entities)
        types = several.group_by("iri").aggregate([("type", "distinct")])["type_distinct"]
        for names, number in sorted(
            Counter(tuple(sorted(pair)) for pair in types.to_pylist()).items()
        ):
            sentence = f"{article(names[0])} has the IRI of {article(names[1])}"
            yield Finding(Problem("/id", "reference", sentence), None, None, number, None)
        attempts = pc.count_distinct(_several(self.assignees)["iri"]).as_py()
        if attempts:
            sentence = "the Attempt has two assignees"
            yield Finding(Problem("/assignee", "reference", sentence), None, None, attempts, None)


def _batches(texts: pa.StringArray) -> Iterator[pa.StringArray]:
    size = 1 + len(texts) * _BYTES_PER_BATCH // max(1, texts.nbytes)
    return (texts.slice(start, size) for start in range(0, len(texts), size))


def _distinct(table: pa.Table) -> pa.Table:
    return table.group_by(table.column_names).aggregate([])


def _several(table: pa.Table) -> pa.Table:
    """The rows of IRIs of which distinct rows say several things."""
    counted = table["iri"].value_counts()
    again = counted.filter(pc.greater(counted.field("counts"), 1)).field("values")
    return table.filter(pc.is_in(table["iri"], again))


def _select(events: pa.Table, rows: Indices) -> pa.Table:
    """Some rows, in the order of the table; ``take`` would first copy all JSON into one chunk."""
    selected = np.zeros(events.num_rows, dtype=np.bool_)
    selected[rows] = True
    return events.filter(pa.array(selected))


def _combinations(table: Rows, rows: Indices) -> Indices:
    """The number of each row's combination."""
    if not len(rows):
        return rows
    inverse: Indices = table.distinct(_COMBINATION, rows)[1]
    return inverse


def _sampled_rows(rows: Indices, combinations: Indices, per_type: int | None) -> Indices:
    """Rows spread evenly over those of each combination, in the order of the table."""
    if per_type is None or not len(rows):
        return rows
    order = np.argsort(combinations, kind="stable")
    ends = np.cumsum(np.bincount(combinations))
    samples = [
        group[np.unique(np.linspace(0, len(group) - 1, min(per_type, len(group))).astype(np.intp))]
        for group in np.split(order, ends[:-1])
    ]
    sampled_rows: Indices = np.sort(rows[np.concatenate(samples)])
    return sampled_rows


def _row_problems(row: Mapping[str, Any], references: References) -> Iterator[Problem]:
    if row["json"] is None:
        yield from violation("table", "the row has no event")
        return
    event, problems = parse(row["json"])
    yield from problems or validate(event, strict=True, references=references)
    if isinstance(event, dict):
        for column, key in _EVENT_COLUMNS.items():
            if key in event and event[key] != row[column]:
                yield from violation("table", f"the event has another {key} than its row", key)


def _are_ids(ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Which ids are valid for events (1.2 Event)."""
    valid = pc.match_substring_regex(ids, f"^{EVENT_ID}$", ignore_case=True)
    return np.asarray(pc.fill_null(valid, False).to_numpy(), dtype=np.bool_)


def _repeated(ids: pa.ChunkedArray) -> frozenset[str]:
    """The ids that occur several times."""
    counts = pc.value_counts(ids.drop_null())
    again = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    return frozenset(again.to_pylist())


def _id_findings(invalid: int, repeated: int) -> Iterator[Finding]:
    """Ids that are not valid for events, and ids that occur twice."""
    if invalid:
        yield Finding(Problem("/id", "id", "the id is no urn:uuid:"), None, None, invalid, None)
    if repeated:
        yield Finding(Problem("/id", "id", "the id occurs again"), None, None, repeated, None)
