"""Tests of caliper_dagster; they mirror the package."""
