"""Everything that the project defines: Dagster looks for it in this folder."""
