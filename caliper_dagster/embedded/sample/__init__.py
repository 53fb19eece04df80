"""A sample Moodle site in one SQLite file, for the demo and for tests.

``schema`` holds the tables, ``names`` the words, ``site`` builds what stands still (users, courses,
activities, roles), ``journal`` is the log and its event names, ``work`` keeps quiz attempts and
assignment submissions with their grades, ``traffic`` lets people use the site hour by hour, and
``writer`` puts it all into a file. Everything is decided by the arguments of ``write_sample``.
"""

from caliper_dagster.embedded.sample.writer import SampleSummary, write_sample

__all__ = ["SampleSummary", "write_sample"]
