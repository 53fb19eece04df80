"""Lookups: what is joined to log rows, one query per table.

``people``: users, their roles and enrolments. ``activities``: courses, course modules and the
activity behind each. ``module_references``: which course module each log row refers to.
``sessions``: the log-in that a row belongs to. ``log_lifecycle`` and ``membership_history``:
deleted modules, and past roles and enrolments, as the log records them.
"""
