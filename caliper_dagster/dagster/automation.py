"""What takes a site's hours without a person, its schedule and its sensors: whether they are on.

Dagster keeps a switch for each that somebody has set in the web UI; the others are as the settings
say (``CALIPER_AUTOMATION``). https://docs.dagster.io/guides/automate
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.jobs import SCHEDULE
from caliper_dagster.dagster.tags import BACKLOG_SENSOR, LATE_ROWS_SENSOR

_SET_BY_A_PERSON = ("RUNNING", "STOPPED")


@dataclass(frozen=True, slots=True)
class Automation:
    """The schedule of a site, or one of its sensors.

    Attributes:
        kind: ``schedule`` or ``sensor``.
        name: its name in Dagster.
        is_on: whether Dagster's daemon evaluates it.
    """

    kind: str
    name: str
    is_on: bool


def automation_of(instance: dg.DagsterInstance, settings: Settings) -> tuple[Automation, ...]:
    """The schedule that takes each hour, and the sensors that take what comes late or was left.

    Args:
        instance: the Dagster instance in which the switches are kept.
        settings: of the site.
    """
    switches = {
        (state.instigator_type.value.lower(), state.instigator_name): state.status.value
        for state in instance.all_instigator_state()
        if state.status.value in _SET_BY_A_PERSON
    }
    return tuple(
        Automation(kind, name, switches.get((kind, name), default) == "RUNNING")
        for kind, name, default in _declared(settings)
    )


def _declared(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Kind, name and default status of each."""
    definitions = build_definitions(settings)
    names = {settings.site_name(name) for name in (SCHEDULE, LATE_ROWS_SENSOR, BACKLOG_SENSOR)}
    for kind, found in (("schedule", definitions.schedules), ("sensor", definitions.sensors)):
        for definition in found or ():
            if definition.name in names:
                yield kind, definition.name, definition.default_status.value


def describe(automation: tuple[Automation, ...], settings: Settings) -> str:
    """What is on and what is off, and how to switch on what is off: a clause for a person."""
    on, off = ([one for one in automation if one.is_on is state] for state in (True, False))
    if not off:
        return f"{_named(on)} on"
    setting = "`automation: true`" if settings.host else "CALIPER_AUTOMATION=true"
    by_setting = "" if settings.automation else f"set {setting}, or "
    cure = f"{by_setting}switch {'it' if len(off) == 1 else 'them'} on in the web UI"
    if on:
        return f"{_named(on)} on, but {_named(off)} off: {cure}"
    return f"{_named(off)} off, so that no hour is sent by itself: {cure}"


def _named(automation: list[Automation]) -> str:
    """Their names as the subject of a sentence, with its verb."""
    names = " and ".join(f"the {one.kind} {one.name}" for one in automation)
    return f"{names} {'is' if len(automation) == 1 else 'are'}"
