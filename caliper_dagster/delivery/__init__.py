"""Policy between the parts and Dagster, in plain Python."""
