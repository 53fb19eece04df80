"""The messages that the package's own code words for its users, collected from its source.

A message is the text of an error of ours, of a failed step, of a wrong setting, or of a warning on
the command line. What is known only when it is printed is a ``…`` in it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product
from pathlib import Path

from caliper_dagster.core import errors
from caliper_dagster_tests.harness.paths import ROOT

PACKAGE = ROOT / "caliper_dagster"

GAP = "…"
_FORMAT = re.compile(r"\{\w+:g\}|%s")
_WORD = re.compile(r"\b[A-Z]?[a-z]+\b")
_FEWEST_WORDS = 2
"""What has fewer is a list of settings, which becomes part of another message."""
_MOST_VARIANTS = 24
_ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.CaliperDagsterError)
} | {"StoppedError", "Failure"}
_OF_SETTINGS = {"Mistake": 1, "ValueError": 0}
"""Errors of settings and recipes whose text becomes part of a sentence, and its argument there."""


@dataclass(frozen=True, order=True)
class Message:
    """A message, and where it is worded.

    Attributes:
        text: with `GAP` for what is known only when it is printed.
        place: module and line.
    """

    text: str
    place: str = field(compare=False)


@cache
def all_messages() -> list[Message]:
    """Every message, each text once."""
    found: dict[str, Message] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for message in _Module(path).messages():
            found.setdefault(message.text, message)
    return sorted(found.values())


class _Module:
    """One module of the package: its calls, its constants and its functions."""

    def __init__(self, path: Path) -> None:
        self._path = path.relative_to(PACKAGE)
        self._tree = ast.parse(path.read_text())

    def messages(self) -> Iterator[Message]:
        expressions = [*self._within(self._tree, self._tree), *self._problems()]
        for function, expression in expressions:
            for text in self._texts(expression, function, 0):
                whole = re.sub(rf"\s*{GAP}(\s*{GAP})*", lambda gap: _joined(gap[0]), text).strip()
                if len(_WORD.findall(whole)) >= _FEWEST_WORDS:
                    yield Message(whole, f"{self._path}:{expression.lineno}")

    def _problems(self) -> Iterator[tuple[ast.AST, ast.expr]]:
        """The texts of tables of problems: what a driver or a library says, in our words."""
        for name, value in self._constants.items():
            if name.endswith("_PROBLEMS") and isinstance(value, ast.Dict):
                yield from ((self._tree, text) for text in value.values)

    def _within(self, node: ast.AST, function: ast.AST) -> Iterator[tuple[ast.AST, ast.expr]]:
        """The expression of each message below a node, and the function that it is in."""
        for child in ast.iter_child_nodes(node):
            inside = child if isinstance(child, ast.FunctionDef) else function
            expression = self._message_of(child)
            if expression is not None:
                yield inside, expression
            else:
                yield from self._within(child, inside)

    def _message_of(self, node: ast.AST) -> ast.expr | None:
        if not isinstance(node, ast.Call):
            return None
        name = _called(node)
        if name in _ERRORS:
            return _argument(node, 0, "description")
        if name == "Sentence":
            return node
        if name == "StandingResult":
            return _argument(node, 0, "problem")
        has_problems = self._path.parts[0] == "config" or self._path.name == "recipes.py"
        if has_problems and name in {*_OF_SETTINGS, "error"}:
            return _argument(node, _OF_SETTINGS.get(name, 0), "")
        to_stderr = name == "print" and any(key.arg == "file" for key in node.keywords)
        is_warning = name == "warning" and self._path.parts[0] != "embedded"
        return _argument(node, 0, "") if to_stderr or is_warning else None

    @cached_property
    def _constants(self) -> Mapping[str, ast.expr]:
        found = {}
        for node in self._tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id] = node.value
        return found

    @cached_property
    def _functions(self) -> Mapping[str, ast.FunctionDef]:
        return {n.name: n for n in ast.walk(self._tree) if isinstance(n, ast.FunctionDef)}

    def _texts(self, node: ast.expr, function: ast.AST, depth: int) -> list[str]:
        """What an expression may be as a text."""
        if depth > 6:
            return [GAP]
        if isinstance(node, ast.Constant):
            return [_FORMAT.sub(GAP, node.value) if isinstance(node.value, str) else GAP]
        if isinstance(node, ast.JoinedStr):
            return self._product(node.values, function, depth)
        if isinstance(node, ast.FormattedValue):
            inner = node.value if isinstance(node.value, ast.IfExp) else None
            return self._texts(inner, function, depth + 1) if inner else [GAP]
        if isinstance(node, ast.IfExp):
            return self._any((node.body, node.orelse), function, depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._product((node.left, node.right), function, depth)
        if isinstance(node, ast.BoolOp):
            return self._any(node.values, function, depth)
        if isinstance(node, ast.Name):
            return self._of_name(node.id, function, depth)
        if isinstance(node, ast.Call):
            return self._of_call(node, function, depth)
        return [GAP]

    def _of_name(self, name: str, function: ast.AST, depth: int) -> list[str]:
        assigned = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        ]
        if function is not self._tree and assigned:
            return self._any(assigned, function, depth)
        if name in self._constants:
            value = self._constants[name]
            if isinstance(value, ast.Constant | ast.JoinedStr | ast.Call | ast.BinOp):
                return self._texts(value, self._tree, depth + 1)
        return [GAP]

    def _of_call(self, node: ast.Call, function: ast.AST, depth: int) -> list[str]:
        name = _called(node)
        if name in {"Sentence", "SettingName"}:
            return self._product(node.args, function, depth)
        if name in self._functions and self._functions[name] is not function:
            called = self._functions[name]
            results = [n.value for n in ast.walk(called) if isinstance(n, ast.Return) and n.value]
            return self._any(results, called, depth)
        return [GAP]

    def _any(self, nodes: object, function: ast.AST, depth: int) -> list[str]:
        texts: dict[str, None] = {}
        for node in nodes:  # type: ignore[attr-defined]
            texts.update(dict.fromkeys(self._texts(node, function, depth + 1)))
        return list(texts)

    def _product(self, nodes: object, function: ast.AST, depth: int) -> list[str]:
        parts = [self._texts(node, function, depth + 1) for node in nodes]  # type: ignore[attr-defined]
        variants = ["".join(choice) for choice in product(*parts)]
        return variants if len(variants) <= _MOST_VARIANTS else variants[:_MOST_VARIANTS]


def _joined(gap: str) -> str:
    return f" {GAP}" if gap[0].isspace() else GAP


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _argument(node: ast.Call, place: int, keyword: str) -> ast.expr | None:
    for given in node.keywords:
        if given.arg == keyword:
            return given.value
    return node.args[place] if len(node.args) > place else None
