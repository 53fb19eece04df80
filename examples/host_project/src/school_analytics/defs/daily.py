"""Tables by the day, made from the hours of each Moodle site."""

import dagster as dg
import duckdb

from school_analytics.defs.project import Storage

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", timezone="UTC")


def daily_activity(site: str) -> dg.AssetsDefinition:
    """The table of a site.

    A day is made when all of its 24 hours are there, and again when one of them has changed.
    """

    @dg.asset(
        key=[site, "daily_activity"],
        group_name="reporting",
        kinds={"duckdb"},
        partitions_def=DAYS,
        deps=[
            dg.AssetDep(
                dg.AssetKey([site, "caliper_events"]),
                partition_mapping=dg.TimeWindowPartitionMapping(),
            )
        ],
        automation_condition=dg.AutomationCondition.eager(),
    )
    def table(
        context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage]
    ) -> dg.MaterializeResult:
        """Events and persons of a day, by course."""
        day = context.partition_key
        with duckdb.connect(storage.database(site)) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS daily_activity"
                " (day DATE, course VARCHAR, events BIGINT, persons BIGINT)"
            )
            connection.execute("DELETE FROM daily_activity WHERE day = ?", [day])
            connection.execute(
                "INSERT INTO daily_activity"
                " SELECT ?::DATE, group_id, count(*), count(DISTINCT actor_id)"
                " FROM read_parquet(?) WHERE event_id IS NOT NULL GROUP BY group_id",
                [day, storage.hours(site, "caliper_events", day)],
            )
            (events,) = connection.execute(
                "SELECT coalesce(sum(events), 0)::BIGINT FROM daily_activity WHERE day = ?", [day]
            ).fetchone() or (0,)
        return dg.MaterializeResult(metadata={"events": events})

    return table


north = daily_activity("north")
south = daily_activity("south")
