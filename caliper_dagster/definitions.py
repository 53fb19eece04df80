"""The code location: ``workspace.yaml``, systemd units and Helm values name this module."""

from caliper_dagster.config.env_file import enter_folder
from caliper_dagster.core.file_modes import limit_new_files
from caliper_dagster.dagster.build import project_definitions

enter_folder()
limit_new_files()
defs = project_definitions()
