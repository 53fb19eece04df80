"""Which of Moodle's tables hold records that belong to no person.

The object of a log row is a record of such a table, or it may lead to the person who owns it.
"""

from __future__ import annotations

from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

_OF_COURSES = pa.array(["course", "course_categories", "course_modules", "course_sections"])

Texts = TypeVar("Texts", pa.Array, pa.ChunkedArray)


def belong_to_no_person(tables: Texts, components: Texts) -> Texts:
    """Which log rows have an object that belongs to no person: of a course, or an activity.

    The table of a module's activities is called like the module, also that of a plugin.

    Args:
        tables: ``objecttable`` of each row, as strings.
        components: ``component`` of each row, as strings.

    Returns:
        A mask without nulls. A row without a table is False.
    """
    of_course = pc.is_in(tables, value_set=_OF_COURSES)
    of_activity = pc.equal(pc.binary_join_element_wise("mod", tables, "_"), components)
    return pc.or_(of_course, pc.fill_null(of_activity, False))
