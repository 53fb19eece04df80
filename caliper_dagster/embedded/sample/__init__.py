"""A sample Moodle site in one SQLite file, for the demo and for tests.

``schema`` defines the tables and ``names`` the texts. ``site`` builds the static part (users,
courses, activities, roles). ``journal`` is the log with its event names. ``work`` holds quiz
attempts, assignment submissions with their grades, and forum posts. ``traffic`` lets people use
the site hour by hour. ``writer`` writes all of it into a file. The arguments of ``write_sample``
decide everything.
"""

from caliper_dagster.embedded.sample.writer import SampleSummary, write_sample

__all__ = ["SampleSummary", "write_sample"]
