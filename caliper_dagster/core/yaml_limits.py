"""Reads YAML that somebody may have written by mistake or in bad faith.

A few lines of aliases of aliases stand for billions of values, and deep nesting ends a recursive
reader. The parser's events tell both before anything is built. And the reader raises errors of any
class, without a place, for values such as ``2026-02-30`` or ``!!int ""``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

_DEPTH = 50
_NODES = 200_000


class YamlLimitError(yaml.MarkedYAMLError):
    """A document that cannot be read or must not be; it says where, and repeats no value."""


def load_limited(text: str, loader: Any) -> tuple[Any, yaml.Node | None]:  # noqa: ANN401 - any YAML
    """Read one document within the limits of :func:`check_limits`.

    Args:
        text: the document.
        loader: one of yaml's safe loaders.

    Returns:
        The document as values, and as nodes, which know their lines; None for no document.

    Raises:
        YamlLimitError: see :func:`check_limits`; or a value is not of the type that it has by its
            form or its tag; or the text holds characters that YAML does not allow.
        YAMLError: it is not YAML.
    """
    try:
        check_limits(text, loader)
    except yaml.reader.ReaderError as error:
        raise YamlLimitError(
            problem="it holds a character that YAML does not allow",
            problem_mark=_mark_of_character(error, text),
        ) from None
    nodes = yaml.compose(text, Loader=loader)
    try:
        return yaml.load(text, Loader=loader), nodes  # noqa: S506 - for the caller to choose
    except yaml.YAMLError:
        raise
    except Exception:  # The constructors of yaml convert values that they have not checked.
        raise YamlLimitError(
            problem="a value is not of the type that its form or its tag says",
            problem_mark=_mark_of_unreadable(nodes, loader),
        ) from None


def _mark_of_character(error: yaml.reader.ReaderError, text: str) -> yaml.Mark:
    # The parser in C counts bytes, the one in Python counts characters.
    in_bytes = error.encoding == "?"
    before = text.encode()[: error.position] if in_bytes else text[: error.position].encode()
    return yaml.Mark("", error.position, before.count(b"\n"), 0, "", 0)


def _mark_of_unreadable(document: yaml.Node | None, loader: Any) -> yaml.Mark | None:  # noqa: ANN401
    """Where the first value stands that cannot be converted."""
    for node in _scalars(document):
        try:
            loader("").construct_object(node)
        except Exception:
            return node.start_mark
    return None


def _scalars(document: yaml.Node | None) -> Iterator[yaml.Node]:
    waiting = [document] if document is not None else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.ScalarNode):
            yield node
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)
        elif isinstance(node, yaml.MappingNode):
            waiting += [part for pair in reversed(node.value) for part in reversed(pair)]


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
