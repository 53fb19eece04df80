"""Where things are in a checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "caliper_dagster_tests" / "data"
DUMP = DATA / "moodle45_mariadb.sql.gz"
"""The database of a real Moodle 4.5 site, as ``mariadb-dump`` writes it."""
