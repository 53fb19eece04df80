"""The demo: a folder with a sample site and an event store, on which everything can be tried.

Here belongs what is in that folder and when it is made anew. What runs on it is what runs anywhere
else; a demo that needed code of its own would show nothing.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from dotenv import dotenv_values

from caliper_dagster.config.settings import setting_names
from caliper_dagster.core.errors import ConfigurationError, DeliveryError
from caliper_dagster.core.hours import Hour, HourRange, last_complete_hour
from caliper_dagster.embedded import event_store as embedded
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter import HttpDestination

FOLDER = ".demo"
HOURS = 24

# One hour more at each end than is shown: the one in progress, and one that the day before left.
_SAMPLE_HOURS = HOURS + 2


@dataclass(frozen=True, slots=True)
class Demo:
    """The folder of the demo."""

    folder: Path

    @property
    def sample(self) -> Path:
        """The sample site's database."""
        return self.folder / "moodle.sqlite"

    @property
    def arrived(self) -> Path:
        """What the event store keeps."""
        return self.folder / "event_store.sqlite"

    @property
    def _settings_file(self) -> Path:
        return self.folder / "demo.env"

    def is_there(self) -> bool:
        """Whether a demo has been made in the folder."""
        return self._settings_file.exists() and self.sample.exists()

    def settings(self) -> dict[str, str]:
        """The demo's settings by their environment variables."""
        found = dotenv_values(self._settings_file)
        return {name: value for name, value in found.items() if value is not None}

    def page(self) -> str:
        """Where a browser sees what the event store has received, while it runs."""
        return urljoin(self.settings()["CALIPER_EVENT_STORE_URL"], "/")

    def apply(self, environment: MutableMapping[str, str]) -> None:
        """Make the environment the demo's: none of the user's own settings may reach it."""
        for name in (*setting_names(), "DAGSTER_POSTGRES_URL"):
            environment.pop(name, None)
        environment.update(self.settings())

    def prepare(self, students: int) -> bool:
        """Have a sample site whose log ends in the present hour.

        The site of an earlier hour is thrown away, with everything that was made from it: its log
        would not be the last day's any more.

        Returns:
            True when it was made anew.

        Raises:
            ConfigurationError: the folder cannot be written to, or is in use.
        """
        if self.is_there() and Hour.of(self.sample.stat().st_mtime) == _this_hour():
            return False
        if self.is_there() and _answers(self.settings()):
            raise ConfigurationError(
                f"The demo in {self.folder} is of an earlier hour and still running: stop "
                "`caliper-dagster dev` (or `make dev`) first."
            )
        self._clear()
        summary = write_sample(
            self.sample, students=students, hours=_SAMPLE_HOURS, seed=1, overwrite=True
        )
        self._write_settings(
            {
                "MOODLE_DB_URL": f"sqlite:///{self.sample}",
                "MOODLE_WWWROOT": summary.wwwroot,
                "CALIPER_EVENT_STORE_URL": "",
                "CALIPER_API_KEY": secrets.token_urlsafe(24),
                "CALIPER_START": str(min(summary.first_hour, self.hours().start)),
                "DAGSTER_HOME": str(self.folder / "dagster"),
            }
        )
        return True

    def hours(self) -> HourRange:
        """The last day: 24 complete hours."""
        end = last_complete_hour(datetime.now(UTC)) + 1
        return HourRange(end + -HOURS, end)

    @contextmanager
    def event_store(self) -> Iterator[None]:
        """Have the event store answer at its address: its own process, or one that runs already.

        Raises:
            ConfigurationError: its port is taken by something else.
        """
        settings = self.settings()
        if _answers(settings):
            yield
            return
        port = urlsplit(settings["CALIPER_EVENT_STORE_URL"]).port or 0
        with embedded.running(self.arrived, settings["CALIPER_API_KEY"], port=port) as url:
            self._write_settings(settings | {"CALIPER_EVENT_STORE_URL": url})
            yield

    def _clear(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for kept in (self.sample, self.arrived, self._settings_file):
                for path in self.folder.glob(f"{kept.name}*"):
                    path.unlink()
            if (self.folder / "dagster").exists():
                shutil.rmtree(self.folder / "dagster")
        except OSError as error:
            raise ConfigurationError(
                f"The folder of the demo cannot be written to: {self.folder} ({error.strerror})."
            ) from None

    def _write_settings(self, settings: Mapping[str, str]) -> None:
        lines = "".join(f"{name}='{value}'\n" for name, value in settings.items())
        self._settings_file.touch(0o600)
        self._settings_file.write_text(lines)


def _this_hour() -> Hour:
    return Hour.of(datetime.now(UTC).timestamp())


def _answers(settings: Mapping[str, str]) -> bool:
    """Whether the demo's event store runs: it takes the demo's key."""
    url = settings.get("CALIPER_EVENT_STORE_URL")
    if not url:
        return False
    try:
        with HttpDestination(url, settings["CALIPER_API_KEY"], timeout=5) as event_store:
            event_store.limits()
    except DeliveryError:
        return False
    return True
