"""Documents a second by workers, as SVG: a panel for each shape.

Every panel has the line of migrate (median of the runs, with bars from the
slowest to the fastest), and as level lines what was measured beside it.
"""
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 360, 250                       # of a panel
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 34, 34      # margins in it
INK, GRID, LINE = "#222222", "#dddddd", "#0b6e4f"
LEVELS = {"drain natural": ("#7a7a7a", "2 3"), "drain record": ("#7a7a7a", "7 3"), "copy binary": ("#b4530a", "7 3"),
          "rival record": ("#5b3fa0", "7 3"), "rival id": ("#5b3fa0", "2 3"), "bare loop": ("#0b6e4f", "2 3")}


def nice_step(top):
    """A step of 1, 2 or 5 times a power of ten, for about four lines."""
    step = 1
    while step * 10 * 4 <= top:
        step *= 10
    return next((step * factor for factor in (1, 2, 5) if step * factor * 5 >= top), step * 10)


def short(value):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def text(x, y, content, anchor="middle", size=11, color=INK, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{color}" '
            f'font-weight="{weight}">{escape(content)}</text>')


def line(x1, y1, x2, y2, color, width=1.0, dashes=""):
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
            f'stroke-width="{width}"{dash}/>')


class Panel:
    """points: [(workers, least, median, most)]; levels: {contestant: documents a second}."""

    def __init__(self, x, y, title, points, levels):
        self.x, self.y, self.title, self.points = x, y, title, points
        self.levels = {name: rate for name, rate in levels.items() if name in LEVELS and rate > 0}
        highest = max([most for _, _, _, most in points] + list(self.levels.values()) + [1])
        self.step = nice_step(highest * 1.05)
        self.top = self.step * -(-highest * 1.05 // self.step)

    def at_x(self, i):
        inner = WIDTH - LEFT - RIGHT
        return self.x + LEFT + inner * (i + 0.5) / max(len(self.points), 1)

    def at_y(self, value):
        return self.y + HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top

    def axes(self):
        parts = [text(self.x + LEFT, self.y + 20, self.title, "start", 13, weight="bold")]
        value = 0
        while value <= self.top:
            y = self.at_y(value)
            parts += [line(self.x + LEFT, y, self.x + WIDTH - RIGHT, y, GRID if value else INK),
                      text(self.x + LEFT - 6, y + 4, short(value) if value else "0", "end")]
            value += self.step
        parts += [text(self.at_x(i), self.y + HEIGHT - BOTTOM + 16, str(workers))
                  for i, (workers, _, _, _) in enumerate(self.points)]
        return parts

    def draw(self):
        parts = self.axes()
        for name, rate in self.levels.items():
            color, dashes = LEVELS[name]
            parts.append(line(self.x + LEFT, self.at_y(rate), self.x + WIDTH - RIGHT, self.at_y(rate), color, 1.5, dashes))
        path = " ".join(f"{self.at_x(i):.1f},{self.at_y(median):.1f}" for i, (_, _, median, _) in enumerate(self.points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="2.5"/>')
        for i, (_, least, median, most) in enumerate(self.points):
            parts += [line(self.at_x(i), self.at_y(least), self.at_x(i), self.at_y(most), LINE, 1.5),
                      f'<circle cx="{self.at_x(i):.1f}" cy="{self.at_y(median):.1f}" r="3.5" fill="{LINE}"/>']
        return parts


def legend(names, y):
    """Two rows of three, below the panels."""
    entries = [("migrate, by workers", LINE, "", 2.5)] + [(name, *LEVELS[name], 1.5) for name in LEVELS if name in names]
    parts = []
    for i, (label, color, dashes, width) in enumerate(entries):
        x, row = 40 + i % 4 * 250, y + i // 4 * 20
        parts += [line(x, row, x + 36, row, color, width, dashes), text(x + 44, row + 4, label, "start")]
    return parts


def draw(panels, caption):
    """panels: [(title, points, levels)]; the SVG as text."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    width, height = max(columns * WIDTH, 1060), rows * HEIGHT + 90
    parts, names = [], set()
    for i, (title, points, levels) in enumerate(panels):
        names.update(levels)
        parts += Panel(i % columns * WIDTH, 24 + i // columns * HEIGHT, title, points, levels).draw()
    parts.append(text(LEFT, 18, "documents a second before the key, by workers", "start", 14, weight="bold"))
    parts += legend(names, rows * HEIGHT + 40)
    parts.append(text(40, height - 6, caption, "start", 10, "#666666"))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="system-ui, sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
            + "\n".join(parts) + "\n</svg>\n")
