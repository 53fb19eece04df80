"""The events of the real site in the other shapes: each row, in each version."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.caliper.references import References
from caliper_dagster.caliper.shapes import ShapeName
from caliper_dagster.caliper.versions import VersionName
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.receivers import bare_references, refused_by_openlrw
from caliper_dagster_tests.real_site.site import VERSIONS, WWWROOT, Translation


@pytest.mark.parametrize("shape", ["objects", "openlrw"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_event_is_valid_and_what_the_receiver_takes(
    expanded: pa.Table,
    translations: dict[str, Translation],
    version: VersionName,
    shape: ShapeName,
) -> None:
    translated = Translation(
        version, Translator(WWWROOT, version=version, shape=shape).translate(expanded)
    )
    events = [event for _, event in translated.everything]
    canonical = [event["id"] for _, event in translations[version].everything]
    assert [event["id"] for event in events] == canonical
    refused = Counter(
        place
        for event in events
        for place in (
            refused_by_openlrw(event) if shape == "openlrw" else bare_references(event, version)
        )
    )
    assert refused == {}
    known = References()
    problems = Counter(
        problem.sentence
        for event in events
        for problem in validate(event, strict=True, references=known)
    )
    assert problems == {}
