"""The terms that Caliper's JSON-LD contexts define, from the copies in ``contexts/``.

A JSON-LD consumer silently drops what its context does not define, so a key or a type that is not
among these terms is lost on the way.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import orjson

from caliper_dagster.caliper.versions import VERSIONS

_FILES = {version.context: f"caliper-{version.name}.jsonld" for version in VERSIONS} | {
    iri: f"caliper-{version.name}-{profile.lower()}profile-extension.jsonld"
    for version in VERSIONS
    for profile, iri in version.extension_contexts.items()
}


@cache
def terms(context: str) -> frozenset[str]:
    """Every term that a context defines, itself or through another that it names.

    Read from the package once, when it is first asked for.

    Args:
        context: IRI of one of Caliper's contexts.
    """
    folder = resources.files("caliper_dagster.caliper") / "contexts"
    definition = orjson.loads((folder / _FILES[context]).read_bytes())["@context"]
    found: set[str] = set()
    for part in definition if isinstance(definition, list) else [definition]:
        found |= terms(part) if isinstance(part, str) else part.keys()
    return frozenset(found)
