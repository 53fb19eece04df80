"""What `doctor` says of the files in which secrets stand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.operations.doctor import Finding, Verdict
from caliper_dagster.operations.doctor.secret_files import secret_files
from caliper_dagster_tests.harness.environment import environment

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def key() -> Iterator[Path]:
    """A file with a key, in a folder that everybody may enter; pytest's own folders are closed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).resolve() / "key"
        path.parent.chmod(0o755)
        path.write_text(KEY, encoding="utf-8")
        yield path


def findings(**values: str) -> list[Finding]:
    with environment(values):
        return [*secret_files([Settings.from_environment()])]


@pytest.mark.parametrize(
    "variable",
    ["CALIPER_PSEUDONYM_KEY", "CALIPER_STORAGE_KEY", "CALIPER_SMTP_PASSWORD", "CALIPER_API_KEY",
     "MOODLE_DB_URL", "DAGSTER_POSTGRES_URL"],
)  # fmt: skip
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_use_is_told_with_its_cure(
    variable: str, mode: int, key: Path
) -> None:
    key.chmod(mode)
    (found,) = findings(**{f"{variable}_FILE": str(key)})
    assert found.verdict is Verdict.WARNING
    assert (
        found.text == f"other accounts may read {key} (mode {mode:o}), in which {variable} stands."
    )
    assert found.cure == (
        f"`chmod 600 {key}`; if somebody may have read it, replace the secret, too."
    )


def test_a_closed_file_is_fine_and_so_is_one_in_a_closed_folder(key: Path) -> None:
    key.chmod(0o600)
    (found,) = findings(CALIPER_PSEUDONYM_KEY_FILE=str(key))
    assert found.verdict is Verdict.FINE
    key.chmod(0o644)
    key.parent.chmod(0o700)
    (found,) = findings(CALIPER_PSEUDONYM_KEY_FILE=str(key))
    assert found.verdict is Verdict.FINE


def test_the_event_store_of_a_file_is_named(key: Path) -> None:
    key.chmod(0o644)
    stores = key.parent / "stores.yaml"
    stores.write_text(
        "research:\n  url: https://e.example.org\n  privacy: pseudonymous\n"
        f"  pseudonym_key: {{file: {key}}}\n"
        f"  headers: {{X-Tenant: {{file: {key}-2}}}}\n",
        encoding="utf-8",
    )
    (found,) = findings(CALIPER_EVENT_STORES=str(stores))
    assert found.text.endswith("in which pseudonym_key of event store research stands.")


def test_without_such_files_nothing_is_said() -> None:
    assert findings(CALIPER_PSEUDONYM_KEY=KEY) == []
