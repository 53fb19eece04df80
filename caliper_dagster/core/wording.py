"""Numbers in sentences."""

from __future__ import annotations


def plural(number: int, singular: str, plural_form: str | None = None) -> str:
    """A number with its noun, such as ``1 hour`` and ``2,000 hours``.

    Args:
        number: the number, printed with thousands separators.
        singular: the noun for exactly one.
        plural_form: the noun for any other number; ``singular`` with an ``s`` if omitted.
    """
    return f"{number:,} {singular if number == 1 else plural_form or f'{singular}s'}"


def in_seconds(time: float) -> str:
    """A time with its unit, such as ``1 second`` and ``0.5 seconds``."""
    return f"{time:g} {'second' if time == 1 else 'seconds'}"
