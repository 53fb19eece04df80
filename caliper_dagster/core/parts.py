"""A long sequence in parts, for what takes only so many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def in_parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in their order, at most ``size`` at a time; nothing for none."""
    return (items[begin : begin + size] for begin in range(0, len(items), size))
