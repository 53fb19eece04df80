"""``docs/migrate.md`` shows both events of each of the plugin's names (``make docs``)."""

import os
import re
from collections import Counter

from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.real_site.migration import WHY, kind, written
from caliper_dagster_tests.real_site.site import NAMES, Event

PAGE = ROOT / "docs" / "migrate.md"
_BETWEEN_MARKERS = re.compile(
    r"(?<=<!-- plugin: written by `make docs` -->\n).*?(?=<!-- end of plugin -->)", re.S
)


def test_the_page_shows_what_the_plugin_sent_and_what_is_sent_now(events: dict[int, Event]) -> None:
    text, made = PAGE.read_text(encoding="utf-8"), written(events)
    if "CALIPER_WRITE_DOCS" in os.environ:
        text = _BETWEEN_MARKERS.sub(lambda _: made, text)
        PAGE.write_text(text, encoding="utf-8")
    assert _BETWEEN_MARKERS.findall(text) == [made]


def test_each_name_has_both_events_unless_the_plugin_or_the_site_has_none() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = Counter(re.findall(r"^<details><summary>(\w+)", text, re.M))
    assert set(re.findall(r"^### `(.*)`$", text, re.M)) == NAMES
    assert shown == {"caliper_dagster": 29, "logstore_caliper": 28}
    assert WHY.keys() == {kind(name) for name in NAMES}
