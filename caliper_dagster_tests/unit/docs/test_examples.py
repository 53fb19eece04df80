"""Every command, setting and file that README and docs show is one that there is.

What needs a server is run elsewhere: the README's first hour, the accounts, the queries, the files
of ``deploy``.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from caliper_dagster.cli.main import command_parser
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.row_filter import RowFilter
from caliper_dagster.config.settings import Settings, environment_names
from caliper_dagster_tests.harness.paths import ROOT

DOCUMENTS = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples/host_project/README.md"),
    *sorted((ROOT / "docs").glob("*.md")),
]
_EXAMPLE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
_LANGUAGES = {"", "json", "python", "sh", "sql", "yaml"}
_PROGRAMS = set(
    ". cd chmod cp dagster dg docker helm install kubectl make pg_dump pip python3 systemctl tar "
    "useradd".split()
)
"""Programs of others that an example may call."""

_FILLED_IN = {"T": "2026-01-01", "N": "8080", "…": "2026-01-02"}
"""What stands for the reader's own values."""

_RANGE = ["--from", "2026-01-01", "--to", "2026-01-02"]
_OTHERS_VARIABLES = {"DAGSTER_HOME", "DAGSTER_POSTGRES_URL", "CELERY_BROKER_URL"}


def examples(language: str) -> list[tuple[str, str]]:
    """Each example in a language, with the document that it stands in."""
    return [
        (document.name, re.sub(rf"^{indent}", "", text, flags=re.M))
        for document in DOCUMENTS
        for indent, found, text in _EXAMPLE.findall(document.read_text(encoding="utf-8"))
        if found == language
    ]


def lines_of_shell() -> list[tuple[str, str]]:
    """Each line of the examples for a shell, without its comment."""
    return [
        (name, line)
        for name, text in examples("sh")
        for line in text.splitlines()
        if line and not line.startswith("#")
    ]


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def own_commands() -> Iterator[list[str]]:
    """The arguments of each ``caliper-dagster`` in the documents."""
    for _, line in lines_of_shell():
        for part in line.split("&&"):
            called = words(part)
            for before, (place, word) in zip(["", *called], enumerate(called), strict=False):
                # By itself, or within a container: "exec code …", "exec deploy/… -- …".
                if before in {"", "code", "--"} and word.rpartition("/")[2] == "caliper-dagster":
                    yield called[place + 1 :]
    for document in DOCUMENTS:
        text = _EXAMPLE.sub("", document.read_text(encoding="utf-8"))
        for code in re.findall(r"`caliper-dagster ([^`]*)`", text):
            yield words(code)


COMMANDS = sorted({tuple(_FILLED_IN.get(word, word) for word in found) for found in own_commands()})


def accepted(arguments: list[str]) -> bool:
    try:
        command_parser().parse_args(arguments)
    except SystemExit as ended:
        return ended.code == 0
    return True


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_is_accepted(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that is only named stands without the hours that it needs, or without a file."""
    completed = (
        [],
        _RANGE,
        [*_RANGE, "--out", "FILE"],
        ["--out", "FILE"],
        ["EVENTNAME"],
        ["--help"],
    )
    given = list(arguments)
    assert any(accepted([*given, *more]) for more in completed), capsys.readouterr().err


def test_every_command_is_in_the_table_of_commands() -> None:
    (actions,) = (
        action for action in command_parser()._actions if isinstance(action.choices, dict)
    )
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^\| `caliper-dagster ([a-z-]+)", text, re.M))
    assert shown == set(actions.choices)


def test_no_program_is_called_that_is_not_known_here() -> None:
    for name, line in lines_of_shell():
        for part in line.split("&&"):
            first = words(part)[:1]
            if first and "=" not in first[0]:
                program = first[0].rpartition("/")[2] or "."
                assert program in {*_PROGRAMS, "caliper-dagster"}, (name, line)


def test_every_target_of_make_exists() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    named = {line.split()[1] for _, line in lines_of_shell() if line.startswith("make ")}
    for document in DOCUMENTS:
        named |= set(re.findall(r"`make ([a-z]+)", document.read_text(encoding="utf-8")))
    assert {"demo", "dev", "test"} <= named <= set(targets)


@pytest.mark.parametrize(
    ("name", "text"), [found for found in examples("sh") if re.search(r"^[A-Z_]+=", found[1], re.M)]
)
def test_settings_are_ones_that_are_accepted(name: str, text: str) -> None:
    shown = dict(
        word.split("=", 1)
        for line in text.splitlines()
        for word in words(line.split(" #")[0])
        if re.match(r"[A-Z_]+=", word)
    )
    own = {name: value for name, value in shown.items() if name not in _OTHERS_VARIABLES}
    assert own.keys() <= set(environment_names()) | {
        f"{name}_FILE" for name in environment_names()
    }, name
    Settings.from_environment(own)


def test_every_file_of_the_repository_that_is_called_exists() -> None:
    for name, line in lines_of_shell():
        for word in words(line):
            if word.startswith(("deploy/", "caliper_dagster/", "examples/")) and "." in word:
                assert list(ROOT.glob(word)), (name, word)


def test_json_yaml_and_python_can_be_read() -> None:
    for _, text in examples("json"):
        json.loads(text)
    for _, text in examples("yaml"):
        assert yaml.safe_load(text)
    for _, text in examples("python"):
        assert ast.parse(text).body


def test_the_files_of_event_stores_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESEARCH_URL", "https://research.example.org/caliper")
    settings = {"CALIPER_EVENT_STORES": str(tmp_path / "event_stores.yaml")}
    found = []
    for name, text in examples("yaml"):
        if name == "connect-event-store.md":
            (tmp_path / "event_stores.yaml").write_text(text, encoding="utf-8")
            stores = event_stores(Settings.from_environment(settings))
            found.append([store.name for store in stores])
    assert ["warehouse", "research"] in found
    assert ["research"] in found


def test_the_filter_of_rows_is_accepted(tmp_path: Path) -> None:
    (example,) = (text for name, text in examples("yaml") if name == "privacy-filters.md")
    (tmp_path / "event_stores.yaml").write_text(example, encoding="utf-8")
    settings = {"CALIPER_EVENT_STORES": str(tmp_path / "event_stores.yaml")}
    (store,) = event_stores(Settings.from_environment(settings))
    assert set(store.filter.rows.rules) == set(RowFilter.model_fields)
    text = (ROOT / "docs" / "privacy-filters.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `(\w+)(?:: false)?` \|", text, re.M)
    assert described == list(RowFilter.model_fields)


def test_every_example_has_a_language_that_is_tested() -> None:
    found = {
        (document.name, language)
        for document in DOCUMENTS
        for _, language, _ in _EXAMPLE.findall(document.read_text(encoding="utf-8"))
    }
    assert {language for _, language in found} <= _LANGUAGES
