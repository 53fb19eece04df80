"""Replacements for the outside world on one machine: a sample Moodle site and an event store."""
