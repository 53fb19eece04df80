"""A finding: what is so, how bad that is, and what cures it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """The severity of a finding.

    Broken is what keeps events from being sent, or loses log rows. Everything else that should not
    be so is a warning.
    """

    FINE = "ok"
    WARNING = "WARN"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the checklist, and one below it with the cure.

    Attributes:
        verdict: how bad it is.
        subject: what was looked at; at most 16 letters. docs/doctor.md lists the subjects.
        text: what is so.
        cure: what to do about it; empty when nothing is wrong, or when the text says it.
        site: the name of the site; None for a single site, or for all sites together.
    """

    verdict: Verdict
    subject: str
    text: str
    cure: str = ""
    site: str | None = None


def fine(subject: str, text: str) -> Finding:
    """What is as it should be."""
    return Finding(Verdict.FINE, subject, text)


def warn(subject: str, text: str, cure: str) -> Finding:
    """What should not be so, although events are sent and no row is lost."""
    return Finding(Verdict.WARNING, subject, text, cure)


def broken(subject: str, text: str, cure: str = "") -> Finding:
    """What keeps events from being sent, or loses log rows."""
    return Finding(Verdict.BROKEN, subject, text, cure)
