"""What the project has without any Moodle site."""

from pathlib import Path

import dagster as dg


class Storage(dg.ConfigurableResource):
    """The folder of the data team; the name ``storage`` belongs to this project."""

    folder: str

    def database(self, site: str) -> str:
        """The DuckDB file with the tables about a site."""
        return str(Path(self.folder) / f"{site}.duckdb")

    def hours(self, site: str, asset: str, day: str) -> str:
        """The files of the hours of a day, of an asset of a Moodle site."""
        return str(Path(self.folder) / "moodle" / site / asset / f"date={day}" / "*.parquet")


@dg.definitions
def project() -> dg.Definitions:
    """Resources, executor and the sensor that starts what has an automation condition."""
    return dg.Definitions(
        resources={"storage": Storage(folder=dg.EnvVar("SCHOOL_DATA"))},
        executor=dg.multiprocess_executor.configured({"max_concurrent": 2}),
        sensors=[
            dg.AutomationConditionSensorDefinition(
                "daily_tables",
                target=dg.AssetSelection.groups("reporting"),
                default_status=dg.DefaultSensorStatus.RUNNING,
            )
        ],
    )
