"""The settings in the environment of a test or of a process that it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from caliper_dagster.config.settings import environment_names


def clean_environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment without any setting of this project."""
    dagster = {"DAGSTER_HOME", "DAGSTER_POSTGRES_URL", "DAGSTER_POSTGRES_URL_FILE"}
    ours = {*environment_names(), *dagster}
    return {name: value for name, value in environment.items() if name not in ours}


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Exactly these settings, and afterwards what was there before."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(clean_environment(before) | dict(values))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
