"""The code location: ``workspace.yaml``, systemd units and Helm values name this module."""

from caliper_dagster.dagster.build import build_definitions

defs = build_definitions()
