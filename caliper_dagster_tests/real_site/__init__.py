"""The real Moodle site, row by row: expander and translator held against the specification.

What is expected is worked out here from the rows of the database and the tables of ``mapping.csv``
and ``caliper.md``, with plain loops, and never with the code that is tested.
"""
