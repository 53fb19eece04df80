"""The terms that Caliper's JSON-LD contexts define, from the copies in ``contexts/``.

A JSON-LD consumer silently drops what its context does not define, so a key or a type that is not
among these terms does not reach its user.
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

    The first call reads it from the package.

    Args:
        context: IRI of one of Caliper's contexts.
    """
    folder = resources.files("caliper_dagster.caliper") / "contexts"
    definition = orjson.loads((folder / _FILES[context]).read_bytes())["@context"]
    defined: set[str] = set()
    for part in definition if isinstance(definition, list) else [definition]:
        defined |= terms(part) if isinstance(part, str) else part.keys()
    return frozenset(defined)
