"""The command line: ``caliper-dagster``.

`main` runs one command and turns what it raises into an exit status: an error is one sentence on
standard error and exit status 2; ``--verbose`` adds Dagster's messages and stack traces. ``parser``
has the commands with their options, which ``sending``, ``mapping``, ``privacy``, ``upkeep`` and
``local_services`` carry out. They print results; ``operations`` does the work. Each command imports
what it needs when it runs, so that ``--help`` and ``translate`` do not import Dagster.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType

from caliper_dagster.cli.mapping import InvalidFileError
from caliper_dagster.cli.parser import command_parser
from caliper_dagster.config.env_file import load_env_file
from caliper_dagster.core.arrow_without_pandas import keep_pandas_out
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.core.file_modes import limit_new_files
from caliper_dagster.core.gc_tuning import raise_gc_threshold

_INVALID = 1
_ERROR = 2
_INTERRUPTED = 130


class _Interruption(KeyboardInterrupt):
    """SIGINT or SIGTERM.

    Not ``KeyboardInterrupt`` itself: when that passes through ``exec`` of a string, as in the
    making of a dataclass, CPython remembers it and ends the process by SIGINT at exit, whatever
    caught it and whatever the exit status is.
    """


def raise_interruptions() -> None:
    """Make SIGINT and SIGTERM raise an exception that ``except KeyboardInterrupt`` catches."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise _Interruption(signal.Signals(number).name)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 for success, 1 for a file that is not valid, 2 for an error, 130 after an
        interruption.
    """
    raise_gc_threshold()
    options = command_parser().parse_args(arguments)
    keep_pandas_out()
    raise_interruptions()
    try:
        if options.defs and not hasattr(options, "site"):
            raise ConfigurationError("--defs names sites, and this command uses none.")  # noqa: TRY301
        load_env_file()
        limit_new_files()
        with warnings.catch_warnings():
            if not options.verbose:
                warnings.simplefilter("ignore")
            options.command(options)
    except InvalidFileError:
        return _INVALID
    except KeyboardInterrupt:
        return _fail(
            "Interrupted. Acknowledged events stay acknowledged; run the command again to go on.",
            _INTERRUPTED,
        )
    except BrokenPipeError:
        # The reader has closed the pipe; Python must not report that at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if options.verbose:
            raise
        return _fail(_sentence(error), _ERROR)
    return 0


def _sentence(error: Exception) -> str:
    if isinstance(error, CaliperDagsterError):
        return str(error)
    # The message of any other error may contain anything, even a password.
    return f"An unexpected error occurred ({type(error).__name__}); --verbose shows where."


def _fail(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status
