"""Commands about events that send none: translate, validate, coverage, recipes."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Collection

from caliper_dagster.cli.options import chosen_hours, chosen_settings, output, tell
from caliper_dagster.core.errors import RunError
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.wording import plural


class InvalidFileError(Exception):
    """A file is not valid; the command has printed why."""


def translate(options: argparse.Namespace) -> None:
    """Write the events of the hours to a file as NDJSON; send nothing."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.operations.translate import translate_hours, withheld_sentence

    settings, hours = chosen_settings(options), chosen_hours(options)
    outcomes: Counter[str] = Counter()
    withheld: dict[Hour, Collection[str]] = {}
    with output(options.out) as file, terminal.ticking("Translating", len(hours)) as ticker:
        for translated in translate_hours(settings, hours, options.destination):
            file.writelines(translated.lines)
            outcomes.update(translated.counts)
            withheld.update(translated.withheld)
            ticker.advance(len(translated.hours))
    summary = ", ".join(f"{number:,} {name}" for name, number in outcomes.items())
    print(f"{hours}: {summary}", file=sys.stderr)
    if withheld:
        raise RunError(withheld_sentence(withheld))


def validate(options: argparse.Namespace) -> None:
    """Check whether the events, entities and envelopes of a file are valid Caliper."""
    from caliper_dagster.operations.validate import validate_file

    if validate_file(options.file, sys.stdout, strict=options.strict):
        raise InvalidFileError


def coverage(options: argparse.Namespace) -> None:
    """Count the Moodle events in the log, and show the recipe that translates each."""
    from caliper_dagster.cli import reports
    from caliper_dagster.config.translator import configured_recipes
    from caliper_dagster.operations import recipes

    settings, hours = chosen_settings(options), chosen_hours(options)
    covered = recipes.coverage(settings, configured_recipes(settings), hours)
    reports.show_coverage(covered, options.top)


def recipes_check(options: argparse.Namespace) -> None:
    """Check recipe files, and report a mistake with its line."""
    from caliper_dagster.config.yaml_file import read_file
    from caliper_dagster.translator import read_recipes

    for name in options.files:
        checked = list(read_recipes(name, read_file(name), resolution="user"))
        print(f"{name}: {plural(len(checked), 'event')}, all well formed")


def recipes_show(options: argparse.Namespace) -> None:
    """Show which recipe translates a Moodle event and why, with an example of its event."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.event_stores import renderings
    from caliper_dagster.config.translator import configured_recipes
    from caliper_dagster.operations import recipes

    settings = chosen_settings(options)
    name = options.event if options.event.startswith("\\") else f"\\{options.event}"
    version, shape, *_ = renderings(settings)[0]
    shown = recipes.show(configured_recipes(settings), name, version, shape)
    terminal.results().print(shown.why, markup=False, soft_wrap=True)
    if shown.similar:
        tell(f"Names of events with a recipe that are similar: {', '.join(shown.similar)}")
    terminal.show_json(shown.recipe)
    terminal.show_json(shown.event)


def recipes_diff(options: argparse.Namespace) -> None:
    """List the stored events that the present recipes would change; send nothing."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.connections import open_store
    from caliper_dagster.operations import recipes

    settings = chosen_settings(options)
    storage = open_store(settings)
    rows = [
        (
            name,
            f"{changes.changed:,}",
            f"{changes.added:,}",
            f"{changes.removed:,}",
            ", ".join(f"{path} ({number:,})" for path, number in changes.where.most_common(5)),
        )
        for name, changes in recipes.differences(settings, storage, chosen_hours(options))
    ]
    if not rows:
        print("Nothing would change.")
        return
    terminal.show_table(("Moodle event", "Changed", "New", "Removed", "Where"), rows)


def recipes_table(_options: argparse.Namespace) -> None:
    """Print a Markdown table of all Moodle events with a recipe of their own."""
    from caliper_dagster.operations import recipes

    print(recipes.reference(), end="")


def recipes_schema(_options: argparse.Namespace) -> None:
    """Print the JSON Schema of recipe files."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.translator.recipes import schema

    terminal.show_json(schema())
