"""Commands about personal data: privacy, person, storage."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from caliper_dagster.cli.options import chosen_hours, chosen_settings, chosen_sites, output, tell
from caliper_dagster.core.wording import plural


def privacy_report(options: argparse.Namespace) -> None:
    """Write the record of processing: what data of whom goes where, and how long it is kept."""
    from caliper_dagster.operations.privacy_report import write_report

    for path in write_report(chosen_sites(options), Path(options.output)):
        print(path)


def person_export(options: argparse.Namespace) -> None:
    """Write all that is stored and was sent about a person to a folder."""
    from caliper_dagster.cli import reports
    from caliper_dagster.delivery.persons.export import export
    from caliper_dagster.delivery.persons.users import require_person

    settings = chosen_settings(options)
    exported = export(settings, require_person(settings, options.user), Path(options.output))
    reports.show_export(exported)
    tell(f"Begin with {exported.folder / 'index.md'}. Whoever has the folder has these data.")


def person_erase(options: argparse.Namespace) -> None:
    """Remove a person from what is stored; without --yes only tell what would be changed."""
    from caliper_dagster.cli import reports
    from caliper_dagster.operations.persons import erase_person

    settings = chosen_settings(options)
    erased = erase_person(settings, options.user, plan=not options.yes, tell=tell)
    reports.show_erasure(erased, plan=not options.yes)
    if not options.yes:
        tell("Nothing was changed. --yes erases the person; that cannot be undone.")
        return
    for event_store, place in erased.lists.items():
        tell(
            f"{event_store} still holds {plural(erased.held[event_store], 'event')} about the "
            f"person: its owner deletes those that {place} lists, or receives them again without "
            "the person (`resend --all`)."
        )


def person_pseudonym(options: argparse.Namespace) -> None:
    """Print the pseudonym of a person at an event store; needs the key of the event store."""
    from caliper_dagster.config.event_stores import named_destination
    from caliper_dagster.delivery.persons.users import user_id
    from caliper_dagster.operations import pseudonyms

    settings = chosen_settings(options)
    store = named_destination(settings, options.destination)
    user = user_id(settings, options.user)
    for since, pseudonym in pseudonyms.pseudonyms(settings, store, user):
        print(f"{pseudonym}  from {since} on" if since.number else pseudonym)


def person_replace_key(options: argparse.Namespace) -> None:
    """Accept another key of pseudonyms, and list the events that were sent under the former one."""
    from caliper_dagster.config.event_stores import named_destination
    from caliper_dagster.operations import pseudonyms

    settings = chosen_settings(options)
    store = named_destination(settings, options.destination)
    with output(options.out) as file:
        replaced = pseudonyms.replace_keys(
            settings, store, lambda event_id: file.write(f"{event_id}\n".encode())
        )
    if replaced is None:
        tell(f"The {store.label} has its keys as before: nothing changes.")
        return
    since, number = replaced
    hours = f"the hours from {since} on" if since.number else "all hours"
    tell(
        f"The keys of the {store.label} are accepted for {hours}. It holds "
        f"{plural(number, 'event')} under other ids, which are listed: have them deleted there, "
        "then run `caliper-dagster backfill` over these hours to send them again."
    )


def storage_protect(options: argparse.Namespace) -> None:
    """Write stored hours again as CALIPER_STORAGE_KEY and CALIPER_STORED_… protect them now."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.connections import open_store
    from caliper_dagster.operations import stored_hours

    for settings in chosen_sites(options):
        store = open_store(settings)
        total = sum(len(store.hour_sizes(frame)) for frame in store.frames())
        with terminal.ticking("Writing", total) as ticker:
            number = stored_hours.protect(settings, lambda *_: ticker.advance(1))
        site = f"{settings.site}: " if settings.site else ""
        print(f"{site}{plural(number, 'file')} written again.", file=sys.stderr)


def storage_export(options: argparse.Namespace) -> None:
    """Copy stored hours into a folder, decrypted, for DuckDB and other readers of Parquet."""
    from caliper_dagster.operations.stored_hours import export

    hours = export(
        chosen_settings(options), options.asset, chosen_hours(options), Path(options.out)
    )
    print(f"{plural(sum(1 for _ in hours), 'hour')} copied, in the clear.", file=sys.stderr)
