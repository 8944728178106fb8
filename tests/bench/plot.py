"""A plot in SVG, without any library."""
from xml.sax.saxutils import escape

ROW, BAR, LABEL, WIDTH, GAP, TOP = 26, 16, 250, 230, 70, 46
STYLE = """\
text { font: 13px sans-serif; fill: #24292f; stroke: #ffffff;
	stroke-width: 3px; paint-order: stroke }
.head { font-weight: bold }
.bar { fill: #8c959f }
.ours { fill: #0969da }
.line { stroke: #cf222e; stroke-dasharray: 4 3 }
rect.page { fill: #ffffff }
@media (prefers-color-scheme: dark) {
	text { fill: #e6edf3; stroke: #0d1117 }
	.bar { fill: #6e7681 }
	.ours { fill: #4493f8 }
	rect.page { fill: #0d1117 }
}"""


def panel(x, title, names, values):
    """Bars from x on; 1, which is hello, is a line through them."""
    scale = WIDTH / max(values)
    bottom = TOP + ROW * len(names)
    out = [f'<text class="head" x="{x}" y="24">{escape(title)}</text>']
    for i, (name, value) in enumerate(zip(names, values)):
        y = TOP + ROW * i
        kind = "ours" if "Postern" in name else "bar"
        out += [f'<rect class="{kind}" x="{x}" y="{y}" height="{BAR}"'
                f' width="{value * scale:.1f}"/>',
                f'<text x="{x + value * scale + 5:.1f}" y="{y + 13}">'
                f'{value:.2f}</text>']
    at = x + scale
    out.append(f'<line class="line" x1="{at:.1f}" x2="{at:.1f}"'
               f' y1="{TOP - 8}" y2="{bottom}"/>')
    return out


def bars(rows):
    """rows: (name, requests to hello, CPU to hello)."""
    names = [r[0] for r in rows]
    height = TOP + ROW * len(rows) + 10
    width = LABEL + 2 * (WIDTH + GAP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}"'
           f' height="{height}" viewBox="0 0 {width} {height}" role="img">',
           "<title>Requests a second and CPU a request, as ratios to a"
           " FastCGI program with a fixed body</title>",
           f"<style>{STYLE}</style>",
           f'<rect class="page" width="{width}" height="{height}"/>']
    for i, name in enumerate(names):
        out.append(f'<text x="{LABEL - 10}" y="{TOP + ROW * i + 13}"'
                   f' text-anchor="end">{escape(name)}</text>')
    out += panel(LABEL, "requests, to hello: more is better", names,
                 [r[1] for r in rows])
    out += panel(LABEL + WIDTH + GAP, "CPU a request: less is better", names,
                 [r[2] for r in rows])
    return "\n".join([*out, "</svg>", ""])
