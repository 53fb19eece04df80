"""The doctor: checks everything that a run needs, and reports problems before a run meets them.

The checks change nothing, except the modes of files when that is asked for: they read the database,
request the configuration of the event store without sending events, and write a file of a few bytes
to the storage and remove it again.

``examination`` decides what is checked, in which order, and what is left out because another check
has found the cause. ``findings`` defines a finding. Each other module is one subject:
``environment`` (settings), ``dagster_instance``, ``moodle`` (the database and its log),
``moodle_site`` (what Moodle says about itself), ``event_stores``, ``storage`` (partitions, ledger,
files), ``mapping`` and ``alert_test``.
docs/doctor.md lists the findings.
"""

from caliper_dagster.operations.doctor.alert_test import send_test_alerts
from caliper_dagster.operations.doctor.examination import examine, examine_configured
from caliper_dagster.operations.doctor.findings import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine", "examine_configured", "send_test_alerts"]
