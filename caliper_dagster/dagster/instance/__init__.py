"""The Dagster instance: its storage classes, its run launcher, and how commands open it."""
