"""Lookups: what is joined to log rows, one query per table."""
