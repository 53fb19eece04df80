"""The file ``.env``, and the folder in which it is: that in which a command is called.

The environment wins over the file, in every command and in what the command starts. Relative paths
mean that folder.

``dagster dev`` has rules of its own: it reads ``.env`` of its working directory once more, the file
then wins, and ``DAGSTER_HOME`` must be absolute. A command that starts it therefore passes the
settings on as environment and gives it another working directory, in which there is no ``.env``;
the process that loads the definitions returns to the folder.
"""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

from dotenv import load_dotenv

from caliper_dagster.core.errors import ConfigurationError

_NAME = ".env"
_FOLDER = "_CALIPER_DAGSTER_FOLDER"
"""The variable that tells a process of Dagster in which folder the command was called."""

_PATHS_OF_DAGSTER = ("DAGSTER_HOME", "DAGSTER_POSTGRES_URL_FILE")
"""What Dagster's web server and daemon read, which stay in the other working directory."""


def load_env_file(folder: Path | None = None) -> None:
    """Add the settings of ``.env``, if there is one, to the environment.

    Args:
        folder: in which the file is; the working directory if omitted.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    folder = folder or Path.cwd()
    # ${PWD} in the file is its folder, also where no shell has started this process.
    os.environ["PWD"] = str(folder)
    path = folder / _NAME
    if not path.exists() or path.is_dir():
        return
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"The file {path} cannot be read ({reason}).") from None
    load_dotenv(stream=StringIO(text), override=False)


def environment_for_dagster() -> dict[str, str]:
    """The environment for a process of Dagster with another working directory."""
    paths = {name: os.environ[name] for name in _PATHS_OF_DAGSTER if os.environ.get(name)}
    absolute = {name: str(Path(path).expanduser().absolute()) for name, path in paths.items()}
    return {**os.environ, **absolute, _FOLDER: str(Path.cwd())}


def enter_folder() -> None:
    """Return to the folder in which the command was called that started this process.

    In a process that no command has started, nothing happens.
    """
    folder = os.environ.get(_FOLDER)
    if folder:
        os.chdir(folder)
