"""The fixtures and contexts that 1EdTech publishes.

They are not ours to hand on: ``CALIPER_TEST_PUBLISHED`` names a folder with ``fixtures`` and
``contexts``, otherwise one beside the checkout is looked for. Without them nothing here runs.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import resources
from pathlib import Path

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.caliper.problems import Problems
from caliper_dagster_tests.harness.paths import ROOT

CALIPER = Path(os.environ.get("CALIPER_TEST_PUBLISHED") or ROOT.parent / "shared" / "caliper")

if not (CALIPER / "fixtures").is_dir():
    pytest.skip(
        f"1EdTech's fixtures are not there: no folder {CALIPER}/fixtures", allow_module_level=True
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


def invalid(folder: str) -> dict[str, Problems]:
    """The documents of a folder that are not accepted, and why."""
    found = {name: validate(document) for name, document in fixtures(folder).items()}
    return {name: problems for name, problems in found.items() if problems}


def test_published_documents_of_1_2_are_valid():
    found = invalid("v1p2")
    assert found.keys() == NOT_VALID.keys(), found


def test_published_documents_of_1_1_are_valid():
    found = invalid("v1p1")
    assert found.keys() == NOT_VALID_IN_1_1.keys(), found


def test_published_errors_are_found_where_their_name_says():
    found = invalid("v1p2-errors")
    assert found.keys() == fixtures("v1p2-errors").keys()
    for name, problems in found.items():
        fault = name.partition("-")[2].lower().removeprefix("malformed").removeprefix("malfromed")
        places = [problem.path.strip("/").split("/")[0].lower().strip("@") for problem in problems]
        # The names abbreviate: Date for dateCreated, Generatable, IsTimeDependant; two are no JSON.
        known = {"creationdate": "datecreated", "modifieddate": "datemodified"}
        fault = known.get(fault, fault)
        assert any(not place or place[:5] in fault for place in places), (name, fault, places)


def test_exceptions_are_few_and_there():
    assert len(NOT_VALID) <= 5
    assert NOT_VALID.keys() <= fixtures("v1p2").keys()
    assert NOT_VALID_IN_1_1.keys() <= fixtures("v1p1").keys()


@pytest.mark.parametrize("version", ["v1p1", "v1p2"])
def test_the_contexts_in_the_package_are_the_published_ones(version):
    ours = resources.files("caliper_dagster.caliper") / "contexts"
    files = list((CALIPER / "contexts" / version).glob("*.jsonld"))
    assert files
    for file in files:
        assert (ours / file.name).read_bytes() == file.read_bytes()
