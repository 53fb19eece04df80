"""Rights of persons: what is stored and was sent about them, and how it is erased.

``stored`` finds them in the partitions, ``export`` writes what is found to a folder, ``erase``
takes it out, and ``requests`` follows Moodle's own deletions and data requests. Each works on whole
columns of one hour at a time. Nothing here knows Dagster.
"""
