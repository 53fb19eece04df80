"""What the events of the real site say about the same IRI agrees, in each version."""

from __future__ import annotations

from collections import Counter

from caliper_dagster.caliper.references import References
from caliper_dagster.caliper.ruleset import ruleset
from caliper_dagster.caliper.versions import BY_NAME
from caliper_dagster_tests.real_site.site import Translation


def test_no_reference_contradicts_a_description(translation: Translation) -> None:
    references = References()
    rules = ruleset(BY_NAME[translation.version], strict=True)
    findings = Counter(
        (event["extensions"]["moodle"]["eventName"], problem.kind.path, problem.sentence)
        for _, event in translation.everything
        for problem in references.problems(event, rules)
    )
    assert not findings
