"""The three plots that people ask for first: events by hour, events by course, and scores.

It reads stored hours as pandas frames (docs/frames.md). With the demo, from a clone::

    make demo
    pip install 'caliper-dagster[plots]'
    python3 examples/first_plots.py --storage .demo/dagster/data --out first_plots.png

Without ``--storage`` the storage is what the environment or ``.env`` says.
"""

from __future__ import annotations

import argparse
import json
import warnings
from datetime import UTC, datetime, timedelta

import matplotlib as mpl

mpl.use("Agg")  # it draws into a file, and needs no screen

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter

import caliper_dagster

COLUMNS = [
    *("timecreated", "outcome", "event_type", "group_id"),
    *("generated_score", "generated_max_score", "json"),
]
COURSES_SHOWN = 10
NAME_LENGTH = 45


def load(start: str, end: str, storage: str | None) -> pd.DataFrame:
    """The events of the hours: those of log rows, and those derived from them."""
    rows = caliper_dagster.load_hours(
        "caliper_events", start, end, columns=COLUMNS, storage=storage
    )
    return rows[rows["outcome"].isin(["event", "derived"])]


def events_by_hour(events: pd.DataFrame) -> pd.DataFrame:
    """The number of events of each type (columns) in each hour (rows)."""
    hours = pd.to_datetime(events["timecreated"], unit="s", utc=True).dt.floor("h")
    return pd.crosstab(hours.rename("hour"), events["event_type"])


def events_by_course(events: pd.DataFrame) -> pd.Series:
    """The number of events in each course, by its name; the largest number first."""
    in_courses = events[events["group_id"].notna()]
    # The name is in the event itself; one event of each course is enough.
    newest = in_courses.drop_duplicates("group_id", keep="last").set_index("group_id")["json"]
    groups = {course: json.loads(text)["group"] for course, text in newest.items()}
    names = {
        course: group.get("name", course) if isinstance(group, dict) else course
        for course, group in groups.items()
    }
    return in_courses["group_id"].astype("str").map(names).value_counts()


def scores(events: pd.DataFrame) -> pd.Series:
    """Each score that was given, as a share of the highest one."""
    graded = events.dropna(subset=["generated_score", "generated_max_score"])
    return graded["generated_score"] / graded["generated_max_score"]


def draw(events: pd.DataFrame, file: str) -> None:
    """Draw the three plots below each other into a file."""
    figure, (hours, courses, grades) = plt.subplots(3, figsize=(10, 12), layout="constrained")
    _draw_hours(hours, events_by_hour(events))
    _draw_courses(courses, events_by_course(events).head(COURSES_SHOWN)[::-1])
    shares = scores(events)
    grades.hist(100 * shares, bins=range(0, 101, 10), edgecolor="white")
    grades.set(title=f"Scores ({len(shares):,})", xlabel="% of the highest score", ylabel="scores")
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(file, dpi=110)
    plt.close(figure)


def _draw_hours(axes: Axes, counts: pd.DataFrame) -> None:
    """A bar for each hour, with a part for each type of event."""
    bottom = pd.Series(0, counts.index)
    for name in counts.sum().sort_values(ascending=False).index:
        axes.bar(counts.index, counts[name], 0.9 / 24, bottom=bottom, align="edge", label=name)
        bottom += counts[name]
    names = ConciseDateFormatter(axes.xaxis.get_major_locator())  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(names)
    axes.set(title="Events by hour (UTC)", ylabel="events")
    if len(counts.columns):  # without events there is nothing that a legend could explain
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))


def _draw_courses(axes: Axes, counts: pd.Series) -> None:
    places = range(len(counts))
    axes.barh(places, counts)
    # A name is no formula, whatever is in it.
    names = [str(name)[:NAME_LENGTH] for name in counts.index]
    axes.set_yticks(places, names, parse_math=False)
    axes.set(title="Events by course", xlabel="events")


def main() -> None:
    """Read the hours and draw them."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--storage", help="folder or URL of the storage (CALIPER_STORAGE)")
    parser.add_argument(
        "--from",
        dest="start",
        default=f"{now - timedelta(hours=24):%Y-%m-%dT%H}",
        help="first hour in UTC (24 hours ago)",
    )
    parser.add_argument(
        "--to", dest="end", default=f"{now:%Y-%m-%dT%H}", help="end, exclusive (the present hour)"
    )
    parser.add_argument("--out", default="first_plots.png", help="the file to write (%(default)s)")
    options = parser.parse_args()
    events = load(options.start, options.end, options.storage)
    draw(events, options.out)
    print(f"{len(events):,} events of {options.start} to {options.end}: {options.out}")


if __name__ == "__main__":
    main()
