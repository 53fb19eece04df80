"""The alarms of ``docs/metrics.md`` are rules of Prometheus over metrics that there are."""

import re

import yaml

from caliper_dagster.delivery.metrics import METRICS
from caliper_dagster_tests.harness.paths import ROOT

TEXT = (ROOT / "docs/metrics.md").read_text("utf-8")
NAMES = {metric.name: metric for metric in METRICS}


def test_the_alarms_use_metrics_and_labels_that_there_are() -> None:
    (rules,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    (group,) = yaml.safe_load(rules)["groups"]
    used = set()
    for rule in group["rules"]:
        assert rule.keys() <= {"alert", "expr", "for", "annotations"}
        names = re.findall(r"\bcaliper_\w+", rule["expr"])
        used.update(names)
        known = {label for name in names for label in NAMES[name].labels}
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert shown <= known, rule["alert"]
    assert len(used) > len(NAMES) / 2
