"""The code location: ``workspace.yaml``, systemd units and Helm values name this module."""

from caliper_dagster.config.env_file import enter_folder
from caliper_dagster.core.arrow_without_pandas import keep_pandas_out
from caliper_dagster.core.file_modes import limit_new_files
from caliper_dagster.core.gc_tuning import raise_gc_threshold

# Before the imports that follow, which take less time for it: each run of the daemon is a process.
raise_gc_threshold()
keep_pandas_out()

from caliper_dagster.dagster.build import project_definitions  # noqa: E402

enter_folder()
limit_new_files()
defs = project_definitions()
