"""Opens the Dagster instance of ``DAGSTER_HOME`` for commands."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

import caliper_dagster
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.dagster.instance.storage import one_by_one

HOME = "DAGSTER_HOME"
DEFAULT_DAGSTER_YAML = Path(caliper_dagster.__file__).with_name("dagster.yaml")


def dagster_home() -> Path:
    """Create the folder ``DAGSTER_HOME`` and copy the project's ``dagster.yaml`` into it.

    An existing ``dagster.yaml`` is not changed.

    Returns:
        The absolute path of the folder, to which the environment variable is set as well.

    Raises:
        ConfigurationError: it is not set, or cannot be written to.
    """
    folder = os.environ.get(HOME)
    if not folder:
        raise ConfigurationError(
            f"{HOME} is not set: it is the folder in which Dagster stores its runs and events."
        )
    home = Path(folder).expanduser().absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / DEFAULT_DAGSTER_YAML.name).exists():
            shutil.copyfile(DEFAULT_DAGSTER_YAML, home / DEFAULT_DAGSTER_YAML.name)
    except OSError as error:
        raise ConfigurationError(
            f"{HOME} cannot be written to: {home} ({error.strerror})."
        ) from None
    os.environ[HOME] = str(home)
    return home


@contextmanager
def _no_warnings_logged() -> Iterator[None]:
    """Suppress Dagster's warnings about each attempt to connect; we report one sentence."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def open_instance(warn: Callable[[str], object] | None = None) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of ``DAGSTER_HOME``.

    Args:
        warn: called with one sentence when runs in the instance are slow, and why.

    Raises:
        ConfigurationError: it cannot be opened.
    """
    home = dagster_home()
    try:
        with _no_warnings_logged():
            instance = dg.DagsterInstance.get()
    except CaliperDagsterError:
        raise
    except Exception as error:
        # The messages of Dagster and of the drivers may contain addresses and passwords.
        raise ConfigurationError(
            f"Dagster's storage cannot be opened ({type(error).__name__}): check "
            f"DAGSTER_POSTGRES_URL and {home / DEFAULT_DAGSTER_YAML.name}."
        ) from None
    with instance:
        slow = one_by_one(instance)
        if slow and warn:
            warn(slow)
        yield instance
