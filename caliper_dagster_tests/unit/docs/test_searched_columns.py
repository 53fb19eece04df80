"""Each text column of Moodle's table of users is searched for, or the privacy page says why not."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.translator.personal_values import PersonValues
from caliper_dagster_tests.harness.paths import ROOT

_ROW = re.compile(r"^\| (`.*?) \| (yes|no) \| (.+) \|$", re.MULTILINE)


def test_every_text_column_is_searched_or_has_a_reason(tmp_path: Path) -> None:
    write_sample(tmp_path / "moodle.sqlite", students=1, hours=1)
    with closing(sqlite3.connect(tmp_path / "moodle.sqlite")) as site:
        columns = {
            name for _, name, kind, *_ in site.execute("PRAGMA table_info(mdl_user)")
            if kind == "TEXT"
        }  # fmt: skip
    page = (ROOT / "docs" / "privacy.md").read_text()
    section = page.partition("### Which columns")[2].partition("\n## ")[0]
    said = {
        column: searched
        for names, searched, _ in _ROW.findall(section)
        for column in re.findall(r"`(\w+)`", names)
    }
    assert said.keys() == columns
    assert {name for name, searched in said.items() if searched == "yes"} == {*PersonValues._fields}
