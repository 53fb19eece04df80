"""The demo: a folder with a sample site and an embedded event store.

This module creates the folder and its settings, and replaces them when the sample is out of date.
The demo then runs the same code as any other site.
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

from caliper_dagster.config.settings import environment_names
from caliper_dagster.core.errors import ConfigurationError, DeliveryError
from caliper_dagster.core.hours import Hour, HourRange, last_complete_hour
from caliper_dagster.embedded import event_store as embedded
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter import HttpDestination

HOURS = 24

# One more hour at each end: the hour in progress, and the hour before the first one shown.
_SAMPLE_HOURS = HOURS + 2

_DAGSTER_STORAGE = ("DAGSTER_POSTGRES_URL", "DAGSTER_POSTGRES_URL_FILE")


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
        """The database of the event store."""
        return self.folder / "event_store.sqlite"

    @property
    def _settings_file(self) -> Path:
        return self.folder / "demo.env"

    def is_there(self) -> bool:
        """Whether the folder contains a demo."""
        return self._settings_file.exists() and self.sample.exists()

    def settings(self) -> dict[str, str]:
        """The settings of the demo by environment variable."""
        values = dotenv_values(self._settings_file)
        return {name: value for name, value in values.items() if value is not None}

    def page(self) -> str:
        """The address of the web page on which the running event store shows what it received."""
        return urljoin(self.settings()["CALIPER_EVENT_STORE_URL"], "/")

    def apply(self, environment: MutableMapping[str, str]) -> None:
        """Replace all settings in the environment by those of the demo."""
        for name in (*environment_names(), *_DAGSTER_STORAGE):
            environment.pop(name, None)
        environment.update(self.settings())

    def prepare(self, students: int) -> bool:
        """Make sure that there is a sample site whose log ends in the present hour.

        A sample site of an earlier hour is deleted with all its results, because its log no longer
        covers the last day.

        Args:
            students: the number of students of a new sample site.

        Returns:
            True if the sample site was created.

        Raises:
            ConfigurationError: the folder cannot be written to, or is in use.
        """
        if self.is_there() and Hour.of(self.sample.stat().st_mtime) == _this_hour():
            return False
        if self.is_there() and _answers(self.settings()):
            raise ConfigurationError(
                f"The demo in {self.folder} is from an earlier hour and still running: stop "
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
        """The last 24 complete hours."""
        end = last_complete_hour(datetime.now(UTC)) + 1
        return HourRange(end + -HOURS, end)

    @contextmanager
    def event_store(self) -> Iterator[None]:
        """Run the event store of the demo, unless another process runs it already.

        Raises:
            ConfigurationError: another program uses its port.
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
            for file in (self.sample, self.arrived, self._settings_file):
                for path in self.folder.glob(f"{file.name}*"):
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
    """Whether the event store of the demo is running, that is, accepts the key of the demo."""
    url = settings.get("CALIPER_EVENT_STORE_URL")
    if not url:
        return False
    try:
        with HttpDestination(url, settings["CALIPER_API_KEY"], timeout=5) as event_store:
            event_store.limits()
    except DeliveryError:
        return False
    return True
