"""Tables whose records belong to no person, as log rows name them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from caliper_dagster.core.object_tables import belong_to_no_person
from caliper_dagster.translator.entities.activities import MODULE_TYPES

OF_NOBODY = [
    ("course", "core"),
    ("course_modules", "core"),
    ("course_sections", "core"),
    ("course_categories", "core"),
    *((module, f"mod_{module}") for module in MODULE_TYPES),
    ("pluginmodule", "mod_pluginmodule"),
]
OF_SOMEBODY = [
    ("quiz_attempts", "mod_quiz"),
    ("assign_submission", "mod_assign"),
    ("user", "core"),
    ("grade_grades", "core"),
    ("quiz", "mod_assign"),
    (None, "mod_quiz"),
    ("quiz", None),
    (None, None),
]


@pytest.mark.parametrize(
    "kind", [pa.array, lambda values, type_: pa.chunked_array([values], type_)]
)
def test_courses_and_activities_belong_to_nobody(kind: type[pa.Array]) -> None:
    tables, components = zip(*OF_NOBODY, *OF_SOMEBODY, strict=True)
    found = belong_to_no_person(kind(tables, pa.string()), kind(components, pa.string()))
    assert found.to_pylist() == [True] * len(OF_NOBODY) + [False] * len(OF_SOMEBODY)
