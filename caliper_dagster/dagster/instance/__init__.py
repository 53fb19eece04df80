"""Dagster's own storage and run launchers."""
