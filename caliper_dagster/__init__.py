"""Moodle's log as 1EdTech Caliper events, outside Moodle, as a Dagster project.

The chain, left to right: ``expander`` (log rows to expanded rows), ``translator`` (expanded rows to
Caliper events), ``emitter`` (events to an event store). Only the modules at this level, beside
``errors``, ``settings``, ``hours`` and ``frames``, know Dagster. Importing this package imports
neither Dagster nor pandas and opens nothing.
"""
