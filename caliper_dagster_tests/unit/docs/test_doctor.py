"""docs/doctor.md has a row for everything that doctor can find wrong, with its verdict."""

import re

from caliper_dagster_tests.harness.paths import ROOT

ROW = re.compile(r"^\| ([^|]+) \| [^|]+ \| (BROKEN|WARN) \| [^|]+ \|$", re.M)
FOUND = re.compile(r"\b(warn|broken)\(\s*f?\"([A-Z][\w ]+?)(?: ?\{[^}]*\})?\"")


def test_each_finding_is_documented_with_its_verdict() -> None:
    documented = set(ROW.findall((ROOT / "docs" / "doctor.md").read_text()))
    modules = (ROOT / "caliper_dagster" / "operations" / "doctor").glob("*.py")
    found = {
        (subject, {"warn": "WARN", "broken": "BROKEN"}[verdict])
        for module in modules
        for verdict, subject in FOUND.findall(module.read_text())
    }
    assert len(found) > 15
    assert found - documented == set()
