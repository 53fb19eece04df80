"""The sites of a host's project of Dagster, which has them as components.

Dagster loads the components (``caliper_dagster.MoodleSite``) as its own commands do, so that
templates have the same values.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from caliper_dagster.config.env_file import load_env_file
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import require_distinct
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.dagster.component import MoodleSite

_CONFIG_FILES = ("dg.toml", "pyproject.toml")


def sites_of_project(path: Path) -> tuple[Settings, ...]:
    """The settings of the components in a project, with the code location of the project.

    The project's ``.env`` is added to the environment, as ``dg`` does.

    Args:
        path: the folder of the project; or a folder or file in it, then only the components at or
            below it count.

    Raises:
        ConfigurationError: there is no such project, it cannot be loaded, or it has no such
            component; an attribute of one is wrong; or two of them are the same site.
    """
    place = path.absolute()
    root = _project_root(place)
    load_env_file(root)
    try:
        tree = dg.ComponentTree.for_project(root)
        components = tree.get_all_components(MoodleSite)
    except Exception as error:
        raise _load_error(root, error) from error
    location = getattr(tree, "code_location_name", None) or root.name
    sites = tuple(
        _in_location(component.settings, location)
        for component in components
        if component.file is None or component.file.absolute().is_relative_to(place)
    )
    if not sites:
        raise ConfigurationError(
            f"--defs {path} has no component caliper_dagster.MoodleSite: name the folder of the "
            "project, or a folder or defs.yaml in it."
        )
    require_distinct(
        sites, lambda problem: ConfigurationError(f"The project {root} is wrong: {problem}.")
    )
    return sites


def _project_root(place: Path) -> Path:
    for folder in (place, *place.parents):
        if any((folder / name).is_file() for name in _CONFIG_FILES):
            return folder
    raise ConfigurationError(
        f"--defs {place} is in no project of Dagster: neither there nor above is a pyproject.toml."
    )


def _load_error(root: Path, error: BaseException) -> ConfigurationError:
    """Our own sentence if there is one; the words of others may repeat a value of the file."""
    cause: BaseException | None = error
    is_missing = False
    while cause is not None:
        if isinstance(cause, CaliperDagsterError):
            return ConfigurationError(str(cause))
        is_missing |= isinstance(cause, ModuleNotFoundError)
        cause = cause.__cause__ or cause.__context__
    if is_missing:
        return ConfigurationError(
            f"The package of the project {root} cannot be imported: install it beside "
            "caliper_dagster (`pip install -e`), or name its folder in PYTHONPATH."
        )
    return ConfigurationError(
        f"The project {root} cannot be loaded: `dg check defs`, run there, says where and why."
    )


def _in_location(settings: Settings, location: str) -> Settings:
    """The settings with the code location of the project, unless an attribute names one."""
    if "code_location" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"code_location": location})
