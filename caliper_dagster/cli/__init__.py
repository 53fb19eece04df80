"""The command ``caliper-dagster``."""
