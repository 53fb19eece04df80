"""Recipe files with hostile content, and how loading them must end.

A file is drawn as a recipe with wrong values, as any YAML, or as a good file that is damaged. The
same seed draws the same files.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from caliper_dagster.core.errors import RecipeError
from caliper_dagster.translator import load_recipes

FILE = "site.yaml"
LONGEST_SENTENCE = 5_000
"""Characters: a sentence may list all names that there are."""

GOOD = r"""# Recipes of a site.
- events: [\mod_zoom\event\join_meeting_button_clicked, '*\event\attendance_taken']
  pattern: our-zoom
  type: ViewEvent
  action: Viewed
  object: {type: WebPage, path: "mod/zoom/view.php?id={cmid}#{other.room}"}
  target: activity
  actor: learner
  other: [room, seat]
  extensions: [change]
  when: {grade_removed: {type: Event, action: Removed, object: activity}}
"""

TEXTS = (
    "", "x", "a" * 100_000, "(a+)+$" * 20, "*", "**", "*[a-z]", r"*\event\viewed", "\\",
    r"\mod_x\event\y", "{other.password}", "{other.}", "{}", "{{objectid}}", "{objectid!r}",
    "{other.__class__}", "../../etc/passwd", "//evil.example/", "x\0y", "\x1b[2Jx", "a\nb",
    "http://[::1", "%s%n%d", "{other.nickname}", "{other.my_token}", "Ж" * 300, "<script>",
    "\u2019", "\u2028", "x.php?id={objectid}&u={userid}", "{userid}" * 500, "NaN", "🙂",
)  # fmt: skip
VALUES: Sequence[object] = (
    None, True, 0, -1, 2**70, 1.5, float("inf"), [], {}, [[]], [None], {"a": 1},
)  # fmt: skip
TAGS = (
    '!!int ""', '!!float ""', "!!bool x", "!!timestamp x", "2026-02-30", "0b_", "9" * 5_000, "=",
    "<<", "!!binary ä", "!!binary aGk=", "!!set {a}", "!!omap [a: 1]", "!!pairs [a: 1]", "*x",
    "!!python/object/apply:os.system [id]", "!x y", "&x [*x]", '"\\ud800"', "1:2:3", ".inf",
    "{? [a] : b}", "{<<: 1}", "{<<: {a: 1}}", "--- a", "| \n", "[" * 60, "{a: " * 60, "2026-01-01",
)  # fmt: skip
MARKS = ("", "\t", "\0", "\x85", "}", "&a ", "*a", "!!x ", "\\", '"', "\ufeff")
KEYS = (
    "events", "pattern", "type", "action", "action_1_1", "object", "target", "generated", "actor",
    "session", "other", "extensions", "derived", "when", "unless", "password", "x" * 10_000,
    "\x1b[31m", "a.b", "__class__",
)  # fmt: skip


@dataclass(slots=True)
class RecipeFindings:
    """What became of the files.

    Attributes:
        files: how many.
        refused: of these, refused with a sentence.
        wrong: what else was raised, or what a sentence lacked; with the number of the file.
        slowest: seconds that the slowest took.
    """

    files: int = 0
    refused: int = 0
    wrong: list[tuple[int, str]] = field(default_factory=list)
    slowest: float = 0.0


def files(seed: int) -> Iterator[str]:
    """Hostile files without end."""
    chance = random.Random(seed)
    while True:
        kind = chance.randrange(4)
        if kind == 0:
            yield _damaged(chance)
        elif kind == 1:
            yield _with_tag(chance)
        else:
            yield _with_wrong_values(chance)


def _damaged(chance: random.Random) -> str:
    text = GOOD
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(text))
        mark = chance.choice(MARKS)
        text = text[:place] + mark + text[place + chance.randrange(3) :]
    return text


def _with_tag(chance: random.Random) -> str:
    lines = GOOD.splitlines()
    place = chance.randrange(1, len(lines))
    start, _, _ = lines[place].partition(": ")
    lines[place] = f"{start}: {chance.choice(TAGS)}"
    return "\n".join(lines)


def _with_wrong_values(chance: random.Random) -> str:
    (recipe,) = yaml.safe_load(GOOD)
    for _ in range(chance.randint(1, 3)):
        recipe[chance.choice(KEYS)] = _value(chance)
    return yaml.safe_dump(chance.choice(([recipe], [recipe] * 3, recipe, [[recipe]])))


def _value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(8)
    if kind == 0 and depth < 4:
        return [_value(chance, depth + 1) for _ in range(chance.randint(1, 3))]
    if kind == 1 and depth < 4:
        return {chance.choice(KEYS + TEXTS): _value(chance, depth + 1) for _ in range(2)}
    if kind == 2:
        return {"type": chance.choice(("WebPage", *TEXTS)), "path": chance.choice(TEXTS)}
    if kind == 3:
        return chance.choice(VALUES)
    return chance.choice(TEXTS)


def examine_files(number: int, seed: int = 1) -> RecipeFindings:
    """Load hostile files; each must load, or be refused with a sentence that names its line."""
    found = RecipeFindings()
    for place, text in zip(range(number), files(seed), strict=False):
        began = time.perf_counter()
        problem = problem_of(text)
        found.slowest = max(found.slowest, time.perf_counter() - began)
        found.files += 1
        found.refused += problem is not None
        if problem:
            found.wrong.append((place, problem))
    return found


def problem_of(text: str) -> str | None:
    """What is wrong with how loading a text ends; empty for a good refusal, None if it loads."""
    try:
        load_recipes().with_user_recipes([(FILE, text)])
    except RecipeError as error:
        return "; ".join(flaws(str(error)))
    except Exception as error:  # which this is about
        return f"raises {type(error).__name__}"
    return None


def flaws(sentence: str) -> Sequence[str]:
    """What a sentence about a file lacks."""
    return [
        flaw
        for flaw, is_there in (
            ("names no line", not sentence.startswith(f"{FILE}, line ")),
            ("is longer than a sentence", len(sentence) > LONGEST_SENTENCE),
            ("holds characters that do not print", not sentence.isprintable()),
        )
        if is_there
    ]
