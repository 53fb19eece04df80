"""Refuses YAML that is small as a file and endless as a document.

A few lines of aliases of aliases stand for billions of values, and deep nesting ends a recursive
reader. The parser's events tell both before anything is built.
"""

from __future__ import annotations

from typing import Any

import yaml

_DEPTH = 50
_NODES = 200_000


class YamlLimitError(yaml.MarkedYAMLError):
    """A document that is nested too deeply or too large with its aliases; no value is repeated."""


def check_limits(text: str, loader: Any) -> None:  # noqa: ANN401 - one of yaml's loaders
    """Check a text before it is loaded.

    Raises:
        YamlLimitError: it is nested deeper than 50 levels, has more than 200,000 values with each
            alias counted as what it stands for, or holds itself.
        YAMLError: it is not YAML.
    """
    sizes: dict[str, int] = {}
    anchors: list[str | None] = []
    held = [0]
    for event in yaml.parse(text, Loader=loader):
        size = 0
        if isinstance(event, yaml.CollectionStartEvent):
            anchors.append(event.anchor)
            held.append(1)
        elif isinstance(event, yaml.CollectionEndEvent):
            size = held.pop()
            _remember(sizes, anchors.pop(), size)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in anchors:
                raise _error("it holds itself", event)
            size = sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
            _remember(sizes, event.anchor, size)
        held[-1] += size
        if len(anchors) > _DEPTH:
            raise _error(f"it is nested deeper than {_DEPTH} levels", event)
        if held[-1] > _NODES:
            raise _error(f"it stands for more than {_NODES:,} values", event)


def _remember(sizes: dict[str, int], anchor: str | None, size: int) -> None:
    if anchor:
        sizes[anchor] = size


def _error(problem: str, event: yaml.Event) -> YamlLimitError:
    mark: Any = event.start_mark  # of the parser in C or in Python
    return YamlLimitError(problem=problem, problem_mark=mark)
