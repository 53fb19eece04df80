"""No hostile row crashes the translator, and nothing of a person leaves in its events."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from caliper_dagster_tests.harness.examples import examples
from caliper_dagster_tests.harness.hostile_rows import examine


@settings(max_examples=examples(8), phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.integers(0, 2**32))
def test_no_hostile_row_leaks_under_any_profile(seed: int) -> None:
    findings = examine(320, seed, batch=40)
    assert findings.leaks == []
    assert findings.outcomes["event"] + findings.outcomes["failed"] == 320
