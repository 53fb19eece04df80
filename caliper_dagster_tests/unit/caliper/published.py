"""The fixtures and contexts that 1EdTech publishes, which lie beside the checkout."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from caliper_dagster_tests.harness.paths import ROOT

CALIPER = Path(os.environ.get("CALIPER_TEST_PUBLISHED") or ROOT.parent / "shared" / "caliper")

WITHOUT = pytest.mark.skipif(
    not CALIPER.is_dir(), reason=f"1EdTech's fixtures are not there: no folder {CALIPER}"
)

NOT_VALID = {
    "caliperEndpointConfigPayload": "an endpoint's configuration: no event, entity or envelope",
    "caliperEventMessagePostedInlineContext": "Caliper's context must not be in line (JSON-LD "
    "Context); the example shows how JSON-LD would read it all the same",
    "caliperIdentifierSystemIdentifier": "a part of an entity, without @context",
    "caliperEnvelopeEventBatch": "a NavigationEvent with GeneralProfile, in which only the generic "
    "Event may be used (General Profile)",
    "caliperEnvelopeEventThinned": "likewise",
}
"""Published as valid for 1.2, and not accepted."""

NOT_VALID_IN_1_1 = {
    "caliperEntityCollection": "its extension context does not define Collection, so a consumer "
    "cannot know what it is",
    "caliperEntityMultiselectScale": "its extension context misspells MultiselectScale as "
    "MultiselectionScale; likewise",
    "caliperEntityRatingWithMultiselectScale": "likewise",
}
"""Published as valid for 1.1, and not accepted."""


@cache
def fixtures(folder: str) -> dict[str, bytes]:
    """The documents of a folder by name; none when the folder is not there."""
    files = sorted((CALIPER / "fixtures" / folder).glob("*.json"))
    return {file.stem: file.read_bytes() for file in files}
