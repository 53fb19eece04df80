"""The events of the sample site: all valid, and searched by their fragments as by their JSON."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from caliper_dagster.embedded.sample import SampleSummary, write_sample
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.translator import Translator
from caliper_dagster.translator.fragments import Fragments
from caliper_dagster.translator.leak_search import Pool
from caliper_dagster.translator.sampling import sample_problems


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleSummary, list[pa.Table]]:
    """The sample site, and its expanded hours."""
    summary = write_sample(tmp_path_factory.mktemp("site") / "moodle.db", students=20, hours=24)
    with MoodleDatabase.open(f"sqlite:///{summary.path}", summary.prefix, 60) as database:
        return summary, [expand(database, log) for _, log in read_log(database, summary.hours)]


@pytest.mark.parametrize("version", ["v1p2", "v1p1"])
def test_every_event_of_the_sample_site_is_strictly_valid(version, site):
    summary, hours = site
    translator = Translator(summary.wwwroot, version=version, person_names=True, ip_addresses=True)
    events = pa.concat_tables([translator.translate(hour) for hour in hours])
    report = sample_problems(events, per_type=None)
    assert report.events >= summary.total
    assert report.findings == ()


KEYED = {"profile": "pseudonymous", "key": b"k" * 32}


def contradicting(json: pa.Array) -> pa.Array:
    """Texts in which each entity has another type, and each attempt another assignee."""
    retyped = pc.replace_substring_regex(
        json, r'\{"type":"([A-Za-z]+)","id"', r'{"type":"No\1","id"'
    )
    retyped = pc.replace_substring(retyped, '{"type":"NoAttempt"', '{"type":"Attempt"')
    return pc.replace_substring(retyped, '"assignee":', '"assignee":"urn:x:nobody","was":')


@pytest.mark.parametrize("settings", [{}, {"version": "v1p1"}, {"shape": "openlrw"}, KEYED])
def test_the_fragments_describe_what_the_events_describe(settings, site):
    """Every entity and every attempt is contradicted, so the findings count all of them."""
    summary, hours = site
    searched = Translator(summary.wwwroot, **settings).translate_and_search(pa.concat_tables(hours))
    events, pools = searched.events, searched.pools
    index = events.schema.get_field_index("json")
    others = events.set_column(index, "json", contradicting(events["json"]))
    other_pools = []
    for slot, fragments, rows in pools:
        texts = [text.encode() for text in contradicting(fragments.distinct()).to_pylist()]
        other = Fragments.empty(len(texts))
        other.fill(np.arange(len(texts)), texts, np.arange(len(texts)))
        other_pools.append(Pool(slot, other, rows))
    both = pa.concat_tables([events, others]).unify_dictionaries()
    from_json = sample_problems(both, per_type=0)
    assert sample_problems(both, pools + other_pools, per_type=0) == from_json
    kinds = {finding.problem.sentence: finding.rows for finding in from_json.findings}
    assert kinds["the Attempt has two assignees"] >= 5
    assert kinds["a NoPerson has the IRI of a Person"] >= 10
