"""The chart for the README: a group of bars for each work, as SVG.  Pure."""

from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.report import Row
from benchmarks.works import Work

WIDTH, LABELS, FIGURES = 760, 90, 150
BAR, GAP, TITLE, MARGIN = 14, 3, 22, 14
LONGEST_TIMES_SHORTEST = 12.0  # a longer bar is cut, and says so, or the short ones vanish
COLOURS = ("#2f7d5b", "#c2703d", "#5571b5", "#9a6fb0", "#a3923a", "#7d8790")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .figure { fill: #57606a } .back { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .figure { fill: #9da7b3 } .back { fill: #0d1117 }
}
"""


def bar(row: Row, top: int, us_length: float, colour: str) -> list[str]:
    """One server's bar with its name and figure, so long for each microsecond."""
    room = WIDTH - LABELS - FIGURES
    length = min(row.least_us * us_length, room)
    cut = " (cut)" if row.least_us * us_length > room + 1 else ""
    middle = top + BAR - 3
    return [
        f'<text x="{LABELS - 6}" y="{middle}" text-anchor="end">{escape(row.server)}</text>',
        f'<rect x="{LABELS}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
        f'<text class="figure" x="{LABELS + length + 6:.1f}" y="{middle}">'
        f"{row.least_us:,.1f} µs{cut}</text>",
    ]


def longest_times_shortest(groups: Sequence[Sequence[Row]]) -> float:
    """How many times the shortest bar of its group the longest is, as far as it is shown."""
    costs = [[row.least_us for row in group if row.least_us] for group in groups]
    times = max((max(group) / min(group) for group in costs if group), default=1.0)
    return min(times, LONGEST_TIMES_SHORTEST)


def chart(works: Sequence[Work], rows: Mapping[str, Sequence[Row]], caption: str) -> str:
    """Bars of CPU time per unit, the shorter the better; the shortest of all groups are alike."""
    parts: list[str] = []
    shortest_length = (WIDTH - LABELS - FIGURES) / longest_times_shortest(list(rows.values()))
    names = list(dict.fromkeys(row.server for found in rows.values() for row in found))
    top = MARGIN
    for work in works:
        found = [row for row in rows[work.name] if row.least_us]
        if not found:
            continue
        title = f"{work.title}, CPU time per {work.unit}"
        parts.append(f'<text class="title" x="{MARGIN}" y="{top + 12}">{escape(title)}</text>')
        top += TITLE
        shortest = min(row.least_us for row in found)
        for row in found:
            colour = COLOURS[names.index(row.server) % len(COLOURS)]
            parts += bar(row, top, shortest_length / shortest, colour)
            top += BAR + GAP
        top += MARGIN
    parts.append(f'<text class="figure" x="{MARGIN}" y="{top + 12}">{escape(caption)}</text>')
    height = top + 12 + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    back = f'<rect class="back" width="{WIDTH}" height="{height}"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", back, *parts, "</svg>", ""])
