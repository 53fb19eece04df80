"""The HTML page that shows what the embedded event store has received.

One function makes HTML from counts and events. The page is self-contained: it has no script and
loads nothing. Events may contain any text that a learner has typed, so all of it is escaped, and
the content security policy allows nothing but the page's own style.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from caliper_dagster.embedded.arrivals import Arrivals, Event

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

_STYLE = """
:root { color-scheme: light dark; --line: #8883; --soft: #888; --bar: #3d7de0; --card: #8881; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 0 auto; padding: 2rem 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
p { margin: .25rem 0 1.5rem; color: var(--soft); }
dl {
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr));
  gap: .75rem;
  margin: 0;
}
dl div { background: var(--card); border-radius: .5rem; padding: .75rem 1rem; }
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; font-size: 1.6rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td {
  text-align: left;
  padding: .4rem .75rem .4rem 0;
  border-bottom: 1px solid var(--line);
  vertical-align: top;
}
th { color: var(--soft); font-weight: 500; font-size: .85rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; width: 6rem; }
td.share {
  width: 50%;
}
td.share i {
  display: block;
  height: .6rem;
  margin-top: .45rem;
  border-radius: .3rem;
  background: var(--bar);
}
td.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
summary {
  cursor: pointer;
  font-family: ui-monospace, monospace;
  font-size: .85rem;
  overflow-wrap: anywhere;
}
pre {
  font-size: .8rem;
  white-space: pre-wrap;
  overflow-wrap: anywhere;
  background: var(--card);
  border-radius: .5rem;
  padding: .75rem;
}
"""


def page(arrivals: Arrivals, events: list[Event]) -> str:
    """The whole page.

    Args:
        arrivals: the totals.
        events: the last events, newest first.
    """
    repeated = arrivals.received - arrivals.events
    numbers: dict[str, int | str] = {
        "Events": arrivals.events,
        "Received again": repeated,
        "Envelopes": arrivals.envelopes,
        "Megabytes": f"{arrivals.bytes / 1_000_000:,.1f}",
    }
    last = f"Last envelope {_time(arrivals.last_envelope_at)}." if arrivals.envelopes else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Caliper event store</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Caliper event store</h1>
<p>Events received on this machine. {last or "Nothing yet."}</p>
<dl>{"".join(_number(name, value) for name, value in numbers.items())}</dl>
<h2>Events by type</h2>
<div class="table"><table>
<thead><tr><th>Type</th><th>Share</th><th class="number">Events</th></tr></thead>
<tbody>{"".join(_type(name, n, arrivals.events) for name, n in arrivals.by_type.items())}</tbody>
</table></div>
<h2>Newest events</h2>
<div class="table"><table>
<thead><tr><th>Time</th><th>Type</th><th>Action</th>
<th class="number">Received</th><th>Event</th></tr></thead>
<tbody>{"".join(_event(event) for event in events)}</tbody>
</table></div>
</body>
</html>
"""


def _number(name: str, value: int | str) -> str:
    shown = f"{value:,}" if isinstance(value, int) else value
    return f"<div><dt>{name}</dt><dd>{shown}</dd></div>"


def _type(name: str, events: int, total: int) -> str:
    share = 100 * events / total
    return (
        f'<tr><td>{escape(name)}</td><td class="share"><i style="width:{share:.2f}%"></i></td>'
        f'<td class="number">{events:,}</td></tr>'
    )


def _event(event: Event) -> str:
    text = msgspec.json.format(event.json)
    return (
        f'<tr><td class="time">{escape(_time(event.event_time))}</td><td>{escape(event.type)}</td>'
        f'<td>{escape(event.action or "")}</td><td class="number">{event.received:,}</td>'
        f"<td><details><summary>{escape(event.id)}</summary><pre>{escape(text)}</pre></details></td>"
        "</tr>"
    )


def _time(moment: str | None) -> str:
    return (moment or "").replace("T", " ").replace(".000Z", " UTC").replace("Z", " UTC")
