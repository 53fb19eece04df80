import io
import json
from pathlib import Path

import pytest

from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.operations.validate import validate_file
from caliper_dagster_tests.unit.caliper.documents import (
    DESCRIBE,
    ENVELOPE,
    EVENT,
    VIEW,
    changed,
    in_1_1,
)

WRONG = changed(EVENT, "object/assignable/maxScore", 100)
ALSO_WRONG = changed(VIEW, "membership/roles/1", "Boss")


def validated(tmp_path: Path, text: str | bytes, **options: bool) -> tuple[int, str]:
    file, out = tmp_path / "events", io.StringIO()
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return validate_file(str(file), out, **options), out.getvalue()


def lines(*documents: object) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ENVELOPE),
        json.dumps(ENVELOPE, indent=2),
        "\n\n" + json.dumps([ENVELOPE, EVENT, DESCRIBE, in_1_1(VIEW)], indent=1),
        lines(EVENT, ENVELOPE, in_1_1(EVENT), DESCRIBE),
        "\n" + lines(EVENT) + "\n\n" + lines(VIEW) + "\n",
        lines([EVENT, VIEW], VIEW),
        b"\xef\xbb\xbf" + lines(EVENT, VIEW).encode(),
        lines(EVENT, VIEW).replace("\n", "\r\n"),
    ],
)
def test_valid_documents_in_every_form_of_file(tmp_path, text):
    invalid, told = validated(tmp_path, text)
    assert invalid == 0
    assert told.endswith(("documents, all valid.\n", "document, all valid.\n"))


def test_an_empty_file_says_so(tmp_path):
    assert validated(tmp_path, " \n\n") == (0, "There is no document.\n")


def test_the_result_groups_the_problems(tmp_path):
    text = lines(EVENT, WRONG, ALSO_WRONG, WRONG, WRONG | {"@context": "none"})
    invalid, told = validated(tmp_path, text)
    assert invalid == 4
    value = "[value: 1.2 Types and Type Coercion, Entities; 1.1 section 4]"
    assert told.splitlines() == [
        "4 of 5 documents not valid:",
        "       2  AssignableDigitalResource.maxScore must be a number with a fraction, such as "
        f"10.0 {value}",
        "          first in line 2: /object/assignable/maxScore",
        f"       1  Membership.roles must be a role of the vocabulary {value}",
        "          first in line 3: /membership/roles/1",
        "       1  @context must be the IRI of a Caliper context "
        "[context: 1.2 JSON-LD Context; 1.1 section 4.1]",
        "          first in line 5: /@context",
    ]


def test_no_more_than_twenty_kinds_of_problem_are_told(tmp_path):
    documents = [EVENT | {f"x{n}": 1} for n in range(25)]
    invalid, told = validated(tmp_path, json.dumps(documents))
    assert invalid == 25
    assert told.count("first in the file, document ") == 20
    assert told.endswith("and 5 other problems\n")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (lines(EVENT) + "{ nonsense\n" + lines(EVENT), "line 2: /"),
        (lines(EVENT) + "nonsense\n", "line 2: /"),
        ("{nonsense}\n" + lines(EVENT), "line 1: /"),
        ("nonsense", "the file: /"),
        ("[1", "the file: /"),
        (b"\xff\xfe", "the file: /"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(tmp_path, text, place):
    invalid, told = validated(tmp_path, text)
    assert invalid == 1
    assert "no JSON" in told
    assert f"first in {place}\n" in told


def test_a_mistake_in_json_is_told_with_its_line(tmp_path):
    assert "line 7, column 3" in validated(tmp_path, '\n\n[\n\n  "a"\n\n  "b"]')[1]


def test_strictly_more_is_not_valid(tmp_path):
    text = lines(changed(EVENT, "profile"))
    assert validated(tmp_path, text)[0] == 0
    assert validated(tmp_path, text, strict=True)[0] == 1


def test_standard_input(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(lines(EVENT, WRONG).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    out = io.StringIO()
    assert validate_file("-", out) == 1
    assert out.getvalue().startswith("1 of 2 documents not valid:\n")


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    missing = str(tmp_path / "missing")
    with pytest.raises(CaliperDagsterError, match="missing cannot be read: No such file"):
        validate_file(missing, io.StringIO())
    with pytest.raises(CaliperDagsterError, match="cannot be read"):
        validate_file(str(tmp_path), io.StringIO())
