"""The parser of ``caliper-dagster``: all commands, their options and their help."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

import caliper_dagster
from caliper_dagster.cli.local_services import demo, dev, event_store, sample
from caliper_dagster.cli.mapping import (
    coverage,
    recipes_check,
    recipes_diff,
    recipes_schema,
    recipes_show,
    recipes_table,
    translate,
    validate,
)
from caliper_dagster.cli.options import positive_integer
from caliper_dagster.cli.privacy import (
    person_erase,
    person_export,
    person_pseudonym,
    person_replace_key,
    privacy_report,
    storage_export,
    storage_protect,
)
from caliper_dagster.cli.sending import backfill, follow, rejected, resend
from caliper_dagster.cli.upkeep import doctor, metrics, prune

_FAULTS_HELP = (
    "faults to inject, for tests, such as 429=0.1,drop=0.05,400=0.001,413=100000,until=500,seed=7; "
    "docs/reliability.md lists them all"
)


_SITE_HELP = (
    "the site to use, one of the names in the file of CALIPER_SITES; with --defs its "
    "asset_key_prefix, with _ in place of /"
)


_DEFS_HELP = (
    "take the settings from the components caliper_dagster.MoodleSite in this project of Dagster, "
    "or in this folder or defs.yaml of it, and not from the environment"
)


_EVENT_STORE_HELP = "use only this event store, one of the names in CALIPER_EVENT_STORES"


_DESTINATION_HELP = (
    "as for this event store, one of the names in CALIPER_EVENT_STORES; not needed where there is "
    "only one"
)


def command_parser() -> argparse.ArgumentParser:
    """The parser of ``caliper-dagster``, with all commands and their options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--verbose", action="store_true", help="print Dagster's messages and stack traces"
    )
    sited = argparse.ArgumentParser(add_help=False)
    sited.add_argument("--site", metavar="NAME", help=_SITE_HELP)
    ranged = argparse.ArgumentParser(add_help=False, parents=[sited])
    hour = "hour in UTC, such as 2026-01-31T14:00Z"
    ranged.add_argument("--from", dest="start", metavar="T", required=True, help=f"first {hour}")
    ranged.add_argument(
        "--to", dest="end", metavar="T", required=True, help=f"end (exclusive), an {hour}"
    )

    parser = argparse.ArgumentParser(
        prog="caliper-dagster",
        description="Moodle's log as 1EdTech Caliper events. Settings are environment variables; "
        "the file .env in the working directory may set them too.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {caliper_dagster.__version__}"
    )
    parser.add_argument("--defs", metavar="PATH", help=_DEFS_HELP)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        command: Callable[[argparse.Namespace], None],
        *parents: argparse.ArgumentParser,
        to: argparse._SubParsersAction[argparse.ArgumentParser] = commands,
    ) -> argparse.ArgumentParser:
        text = command.__doc__ or ""
        added = to.add_parser(
            re.sub("^(recipes|person|privacy|storage)_", "", command.__name__).replace("_", "-"),
            parents=[common, *parents],
            help=text[:1].lower() + text[1:].rstrip("."),
            description=text,
        )
        added.set_defaults(command=command)
        return added

    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument("--folder", default=".demo", help="folder of the demo (%(default)s)")

    added = add(demo, folder)
    added.add_argument("--students", type=int, default=200, help="number of students (%(default)s)")

    added = add(doctor, sited)
    added.add_argument(
        "--strict", action="store_true", help="end with exit status 2 after warnings, too"
    )
    added.add_argument(
        "--fix-modes",
        action="store_true",
        help="take the right to read stored personal data from other accounts (CALIPER_FILE_MODE)",
    )
    added.add_argument(
        "--send-test-alert",
        action="store_true",
        help="also send a test alert to everybody whom CALIPER_ALERT_… names",
    )

    added = add(backfill, ranged)
    added.add_argument("--plan", action="store_true", help="only estimate the work and the time")
    added.add_argument(
        "--fresh", action="store_true", help="expand every row again, with Moodle's present records"
    )
    added.add_argument(
        "--again", action="store_true", help="start over instead of continuing where interrupted"
    )
    added.add_argument("--newest-first", action="store_true", help="run the newest hours first")
    added.add_argument(
        "--processes",
        type=positive_integer,
        default=1,
        metavar="N",
        help="number of runs at the same time, one per free processor (%(default)s)",
    )

    add(follow, sited)

    added = add(translate, ranged)
    added.add_argument(
        "--out", metavar="FILE", required=True, help="file to write; - for standard output"
    )
    added.add_argument("--destination", metavar="NAME", help=_DESTINATION_HELP)

    added = add(resend, ranged)
    which = added.add_mutually_exclusive_group()
    which.add_argument(
        "--all", action="store_true", help="send every event, including acknowledged ones"
    )
    which.add_argument(
        "--rejected", action="store_true", help="send only events that the event store has rejected"
    )
    which.add_argument(
        "--changed",
        action="store_true",
        help="also send acknowledged events whose content a newer release has changed",
    )
    added.add_argument("--destination", metavar="NAME", help=_EVENT_STORE_HELP)

    added = add(prune, sited)
    added.add_argument(
        "--plan", action="store_true", help="only tell what would be deleted, and what stays"
    )

    group = commands.add_parser(
        "storage",
        help="protect and export stored hours",
        description="Protect and export stored hours.",
    ).add_subparsers(metavar="COMMAND", required=True)
    add(storage_protect, sited, to=group)
    added = add(storage_export, ranged, to=group)
    added.add_argument(
        "--asset", default="caliper_events", help="the asset whose hours are copied (%(default)s)"
    )
    added.add_argument("--out", metavar="FOLDER", required=True, help="folder of the copies")

    added = add(metrics, sited)
    added.add_argument(
        "--out", metavar="FILE", required=True, help="file (*.prom) to write; - for standard output"
    )

    added = add(rejected, ranged)
    added.add_argument("--destination", metavar="NAME", help=_EVENT_STORE_HELP)

    added = add(coverage, ranged)
    added.add_argument(
        "--top",
        type=positive_integer,
        metavar="N",
        help="list only the N most frequent events; the sums are those of all",
    )

    group = commands.add_parser(
        "recipes",
        help="check, show and compare recipes",
        description="Check, show and compare recipes.",
    ).add_subparsers(metavar="COMMAND", required=True)
    added = add(recipes_check, to=group)
    added.add_argument("files", metavar="FILE", nargs="+")
    added = add(recipes_show, sited, to=group)
    added.add_argument(
        "event", metavar="EVENTNAME", help=r"such as '\mod_quiz\event\attempt_started'"
    )
    add(recipes_diff, ranged, to=group)
    add(recipes_table, to=group)
    add(recipes_schema, to=group)

    group = commands.add_parser(
        "person",
        help="what concerns a single person, and the keys of pseudonyms",
        description="What concerns a single person, and the keys of pseudonyms.",
    ).add_subparsers(metavar="COMMAND", required=True)
    person = argparse.ArgumentParser(add_help=False, parents=[sited])
    person.add_argument("user", metavar="USER", help="user id in Moodle, or user name")
    added = add(person_export, person, to=group)
    added.add_argument(
        "--output",
        metavar="FOLDER",
        required=True,
        help="new or empty folder to write; only its owner may enter it",
    )
    added = add(person_erase, person, to=group)
    added.add_argument(
        "--yes", action="store_true", help="erase; without it, only tell what would be changed"
    )
    added = add(person_pseudonym, sited, to=group)
    added.add_argument("user", metavar="USER", help="id or user name in Moodle")
    added.add_argument("--destination", metavar="NAME", help=_DESTINATION_HELP)
    added = add(person_replace_key, sited, to=group)
    added.add_argument("--destination", metavar="NAME", help=_DESTINATION_HELP)
    added.add_argument(
        "--out",
        metavar="FILE",
        required=True,
        help="file for the ids of the events that were sent under other keys; - for standard "
        "output",
    )

    group = commands.add_parser(
        "privacy",
        help="what is done with personal data",
        description="What is done with personal data.",
    ).add_subparsers(metavar="COMMAND", required=True)
    added = add(privacy_report, sited, to=group)
    added.add_argument(
        "--output", metavar="FOLDER", default="privacy-report", help="folder to write (%(default)s)"
    )

    added = add(validate)
    added.add_argument("file", metavar="FILE", help="JSON or NDJSON; - for standard input")
    added.add_argument(
        "--strict",
        action="store_true",
        help="also check the stricter rules of the events that this project sends",
    )

    added = add(event_store)
    added.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    added.add_argument("--port", type=int, required=True, help="port to listen on")
    added.add_argument(
        "--db", metavar="FILE", required=True, help="SQLite file for received events"
    )
    added.add_argument(
        "--api-key", metavar="KEY", help="key that senders must present (CALIPER_API_KEY)"
    )
    added.add_argument("--hostile", metavar="FAULTS", default="", help=_FAULTS_HELP)

    added = add(sample)
    added.add_argument("--out", metavar="FILE", required=True, help="SQLite file to write")
    added.add_argument("--students", type=int, default=200, help="number of students (%(default)s)")
    added.add_argument(
        "--hours", type=int, default=48, help="length of the log in hours (%(default)s)"
    )
    added.add_argument(
        "--seed", type=int, default=1, help="seed of the random numbers (%(default)s)"
    )
    added.add_argument("--overwrite", action="store_true", help="replace an existing file")

    added = add(dev, folder)
    added.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    added.add_argument(
        "--port", type=positive_integer, default=3000, help="port of the web UI (%(default)s)"
    )
    return parser
