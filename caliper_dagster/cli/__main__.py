"""``python -m caliper_dagster.cli``: the command without its installed script."""

import sys

from caliper_dagster.cli.main import main

sys.exit(main())
