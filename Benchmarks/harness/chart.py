"""Two small charts as SVG: dots on a logarithmic scale by row, and lines in panels.

The colours of the marks are of middle brightness, so that one set serves light and dark; only paper, text and
grid change with the reader's preference.
"""

import html
import math

COLOURS = ["#e4572e", "#7d8597", "#2a9d8f", "#9b6dd6", "#c99700", "#3f88c5", "#d6609a", "#6a994e", "#b07d62"]
STYLE = """
.paper{fill:#ffffff}.text{fill:#24292f}.soft{fill:#57606a}.grid{stroke:#d8dee4}.axis{stroke:#8c959f}.band{fill:#f3f5f7}
@media(prefers-color-scheme:dark){
.paper{fill:#0d1117}.text{fill:#e6edf3}.soft{fill:#9da7b1}.grid{stroke:#262c34}.axis{stroke:#6e7681}.band{fill:#151b23}}
text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:12px}
.head{font-size:15px;font-weight:600}.strong{font-weight:600}.line{fill:none;stroke-width:2}
"""


class Canvas:
    def __init__(self, width, height):
        self.width, self.height = width, height
        self.parts = []

    def text(self, x, y, words, style="text", anchor="start"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{html.escape(words)}</text>')

    def line(self, x1, y1, x2, y2, style="grid"):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>')

    def box(self, x, y, width, height, style):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{style}"/>')

    def mark(self, x, y, colour, strong=False, title=""):
        """The subject is a diamond and the peers are dots: colour alone must not tell them apart."""
        shape = (
            f'<path d="M{x - 6:.1f} {y:.1f}L{x:.1f} {y - 6:.1f}L{x + 6:.1f} {y:.1f}L{x:.1f} {y + 6:.1f}Z" fill="{colour}">'
            if strong
            else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" fill-opacity="0.85">'
        )
        self.parts.append(f"{shape}<title>{html.escape(title)}</title></{'path' if strong else 'circle'}>")

    def legend(self, x, y, series, subject):
        for index, name in enumerate(series):
            self.mark(x, y - 4, COLOURS[index % len(COLOURS)], name == subject)
            self.text(x + 10, y, name, "text strong" if name == subject else "text")
            x += 24 + 8 * len(name)

    def svg(self):
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img"><style>{STYLE}</style>'
            f'<rect width="{self.width}" height="{self.height}" class="paper"/>\n' + "\n".join(self.parts) + "\n</svg>\n"
        )


def dots(title, rows, series, subject, reach=(0.4, 8)):
    """One row per workload, one mark per allocator; `rows` is [(name, {series: ratio})]. Beyond the reach a mark
    stands at the edge with its figure."""
    left, right, top, step, width = 190, 60, 86, 20, 900
    canvas = Canvas(width, top + step * len(rows) + 44)
    low, high = map(math.log, reach)

    def across(ratio):
        return left + (math.log(min(max(ratio, reach[0]), reach[1])) - low) / (high - low) * (width - left - right)

    canvas.text(16, 26, title, "text head")
    canvas.legend(20, 52, series, subject)
    bottom = top + step * len(rows)
    for index in range(0, len(rows), 2):
        canvas.box(0, top + step * index, width, step, "band")
    for tick in (0.4, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8):
        canvas.line(across(tick), top, across(tick), bottom, "axis" if tick == 1 else "grid")
        canvas.text(across(tick), top - 6, f"{tick:g}", "soft", "middle")
    for index, (name, values) in enumerate(rows):
        y = top + step * (index + 0.5)
        canvas.text(left - 14, y + 4, name, "text strong" if index == 0 else "text", "end")
        beyond = max((v for v in values.values() if v > reach[1]), default=None)
        if beyond:
            canvas.text(across(beyond) + 9, y + 4, f"to {beyond:.0f}", "soft")
        for key in sorted(values, key=lambda key: key == subject):  # the subject on top
            colour = COLOURS[series.index(key) % len(COLOURS)]
            canvas.mark(across(values[key]), y, colour, key == subject, f"{key} {values[key]:.2f}")
    canvas.text(left, bottom + 26, "less is better; 1 is the best of the peers in that row", "soft")
    return canvas.svg()


def panels(title, charts, series, subject):
    """Lines in panels two abreast; `charts` is [(heading, labels, {series: [value or None]})]."""
    wide, tall, width = 430, 250, 900
    canvas = Canvas(width, 74 + tall * ((len(charts) + 1) // 2))
    canvas.text(16, 26, title, "text head")
    canvas.legend(20, 52, series, subject)
    for index, (heading, labels, values) in enumerate(charts):
        x0, y0 = 54 + (index % 2) * (wide + 10), 74 + (index // 2) * tall + 26
        inner, height = wide - 70, tall - 74
        top = max((v for line in values.values() for v in line if v is not None), default=1)
        unit = 10 ** math.floor(math.log10(top))
        step = next(s * unit for s in (0.2, 0.5, 1, 2) if top / (s * unit) <= 5)
        highest = step * math.ceil(top / step)
        canvas.text(x0 - 30, y0 - 12, heading, "text strong")
        for tick in range(round(highest / step) + 1):
            y = y0 + height - tick * step / highest * height
            canvas.line(x0, y, x0 + inner, y, "grid" if tick else "axis")
            canvas.text(x0 - 6, y + 4, f"{tick * step:g}", "soft", "end")
        spots = [x0 + 8 + i * (inner - 16) / max(1, len(labels) - 1) for i in range(len(labels))]
        for x, label in zip(spots, labels):
            canvas.text(x, y0 + height + 18, label, "soft", "middle")
        for name in sorted(values, key=lambda name: name == subject):
            colour = COLOURS[series.index(name) % len(COLOURS)]
            points = [(x, y0 + height - v / highest * height) for x, v in zip(spots, values[name]) if v is not None]
            canvas.parts.append(
                f'<polyline class="line" stroke="{colour}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
            )
            for x, y in points:
                canvas.mark(x, y, colour, name == subject, name)
    return canvas.svg()
