from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.operations import backfill


def test_a_range_is_cut_into_pieces_of_whole_hours() -> None:
    cut = list(backfill.split_range(HourRange(Hour(0), Hour(7)), 3))
    assert cut == [
        HourRange(Hour(0), Hour(3)),
        HourRange(Hour(3), Hour(6)),
        HourRange(Hour(6), Hour(7)),
    ]
    assert list(backfill.split_range(HourRange(Hour(3), Hour(3)), 3)) == []
