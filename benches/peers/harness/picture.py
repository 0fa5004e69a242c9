"""docs/benchmarks.svg: a panel of bars for each load, drawn by hand.

Bars are server CPU time for one operation, since that is what is judged; shorter is better. Colours
follow the reader's light or dark scheme.
"""

from statistics import median
from xml.sax.saxutils import escape

from harness import rows
from harness.servers import PEERS, ROOT

FILE = ROOT / "docs" / "benchmarks.svg"
COLUMNS = 2
MARGIN, GAP = 24, 36
PANEL = 430
LABEL, VALUE = 128, 62
BAR, STEP = 13, 19
TITLE, HEADER = 26, 62
STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 13px }
  .head { font-weight: 600; font-size: 17px }
  .quiet { fill: #57606a }
  .number { font-variant-numeric: tabular-nums }
  .ours { font-weight: 600 }
  rect { fill: #9aa7b4 }
  rect.longlink { fill: #0969da }
  rect.raw { fill: none; stroke: #7d8894; stroke-dasharray: 3 2 }
  .paper { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet { fill: #9da7b3 }
    rect { fill: #59636e }
    rect.longlink { fill: #4493f8 }
    rect.raw { fill: none; stroke: #8b949e }
    .paper { fill: #0d1117 }
  }
"""


def write(results):
    FILE.write_text(draw(panels(results)))


def panels(results):
    """Returns the title, the unit and the value of each peer, for each row that has been measured."""
    found = []
    for row in rows.LOADS:
        records = results["rows"].get(row.name, {}).get("peers", {})
        values = {}
        for peer in PEERS:
            rounds = records.get(peer, {}).get("rounds", [])
            times = [one["cpu_us_per_op"] for one in rounds if one.get("cpu_us_per_op")]
            if times:
                values[peer] = median(times)
        if values:
            found.append((row.title, f"µs a {row.operation}", values))
    records = results["rows"].get("memory", {}).get("peers", {})
    values = {
        peer: records[peer]["figures"]["idle"] for peer in PEERS if peer in records
    }
    if values:
        found.append(("Memory of an idle connection", "bytes", values))
    return found


def draw(found):
    rows_of_panels = [found[at:at + COLUMNS] for at in range(0, len(found), COLUMNS)]
    body, y = [], HEADER + MARGIN
    for line in rows_of_panels:
        for column, panel in enumerate(line):
            body.append(draw_panel(MARGIN + column * (PANEL + GAP), y, *panel))
        y += TITLE + STEP * max(len(values) for _, _, values in line) + GAP
    width = 2 * MARGIN + COLUMNS * PANEL + (COLUMNS - 1) * GAP
    head = (
        f'<text class="head" x="{MARGIN}" y="{MARGIN + 12}">What an operation costs the server'
        f'</text>\n<text class="quiet" x="{MARGIN}" y="{MARGIN + 32}">CPU time, user and kernel, '
        "on one core; shorter is better. raw checks nothing and is the limit.</text>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" role="img" '
        f'aria-label="CPU time for one operation, by server">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{width}" height="{y}"/>\n{head}\n' + "\n".join(body)
        + "\n</svg>\n"
    )


def draw_panel(x, y, title, unit, values):
    parts = [
        f'<text class="title" x="{x}" y="{y}">{escape(title)}</text>',
        f'<text class="quiet" x="{x + PANEL}" y="{y}" text-anchor="end">{escape(unit)}</text>',
    ]
    longest = max(values.values())
    room = PANEL - LABEL - VALUE
    for place, (peer, value) in enumerate(values.items()):
        top = y + TITLE - 13 + place * STEP
        width = max(1.0, round(room * value / longest, 1))
        text = top + BAR - 2
        ours = " ours" if peer == rows.OURS else ""
        parts += [
            f'<text class="{ours.strip() or "quiet"}" x="{x + LABEL - 8}" y="{text}" '
            f'text-anchor="end">{peer}</text>',
            f'<rect class="{peer}" x="{x + LABEL}" y="{top}" width="{width}" height="{BAR}" '
            f'rx="2"/>',
            f'<text class="number{ours}" x="{x + LABEL + width + 6:.1f}" y="{text}">'
            f"{short(value)}</text>",
        ]
    return "\n".join(parts)


def short(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
