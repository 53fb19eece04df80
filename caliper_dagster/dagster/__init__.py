"""The Dagster side: definitions, assets, sensors, checks and the instance."""
