"""Numbers -> small inline SVG pictures for the report: histogram, curve, map of sizes.

Written by hand because a chart here is a few dozen rectangles: a plotting library would add a second of import, fonts and 50 KB
for each of thirty charts. Colours come from the page's CSS classes, so the charts follow light and dark mode. Every text that
enters a chart is escaped.
"""

from collections.abc import Sequence
from math import floor, log10

import numpy as np
from markupsafe import Markup, escape

Floats = np.ndarray


def histogram(values: Floats, kept: Floats, *, name: str, num_bins: int = 36) -> Markup:
    """Return an SVG histogram of float (n,) `values`, with those where bool (n,) `kept` is true in the accent colour.

    Heights are square roots of counts (Tukey's rootogram): one full bin must not flatten all others. Positive values that
    reach two orders of magnitude above their median are binned by logarithm, unless they span seven (as rounding errors do).
    """
    scale = "log" if is_skewed(values) else "linear"
    placed = np.log10(values) if scale == "log" else values
    low, high = float(placed.min()), float(placed.max())
    edges = np.linspace(low, high if high > low else low + 1, num_bins + 1)
    counts, chosen = np.histogram(placed, edges)[0], np.histogram(placed[kept], edges)[0]
    width, height = 320.0, 84.0
    step = width / num_bins
    bars = []
    for index, (every, some) in enumerate(zip(counts, chosen, strict=True)):
        for count, kind in ((every, "all"), (some, "kept")):
            if count:
                tall = max(1.5, height * float(np.sqrt(count / counts.max())))
                place = f'x="{index * step:.1f}" y="{height - tall:.1f}" width="{step - 1:.1f}" height="{tall:.1f}"'
                bars.append(f'<rect class="{kind}" {place}/>')
    ends = f"{short(float(values.min()))} to {short(float(values.max()))}"
    label = f"Histogram of {name}, {len(values)} images, {ends}"
    base = f'<line class="axis" x1="0" x2="{width:.0f}" y1="{height:.0f}" y2="{height:.0f}"/>'
    return svg(width, height + 1, label, "".join(bars) + base, "histogram")


def is_skewed(values: Floats) -> bool:
    """Say whether a histogram of the values needs a logarithmic axis to show more than one bar."""
    low, high = float(values.min()), float(values.max())
    return bool(low > 0 and 100 * np.median(values) < high < 1e7 * low)


def curve(steps: Floats, values: Floats, *, name: str, smoothing: float = 0.9) -> Markup:
    """Return an SVG line of float (n,) `values` over `steps`: faint as measured, strong as a moving average.

    smoothing: weight of the past in the exponential moving average, corrected for its start (Adam, arXiv 1412.6980, section 3).
    """
    smooth = _moving_average(values, smoothing)
    width, height, left, bottom = 640.0, 220.0, 52.0, 24.0
    low, high = float(np.quantile(values, 0.0)), float(np.quantile(values, 0.995))
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    first, last = float(steps[0]), float(max(steps[-1], steps[0] + 1))
    x = left + (steps - first) / (last - first) * (width - left - 8)
    grid = "".join(_grid_line(tick, low, high, left, width, height - bottom) for tick in ticks(low, high))

    def line(points: Floats, kind: str) -> str:
        y = 6 + (high - np.clip(points, low, high)) / (high - low) * (height - bottom - 12)
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        return f'<polyline class="{kind}" points="{path}"/>'

    ends = (
        f'<text x="{left:.0f}" y="{height - 6:.0f}">step {short(first)}</text>'
        f'<text x="{width - 8:.0f}" y="{height - 6:.0f}" text-anchor="end">step {short(float(steps[-1]))}</text>'
    )
    label = f"{name} over {len(steps)} steps, from {short(float(smooth[0]))} to {short(float(smooth[-1]))}"
    return svg(width, height, label, grid + line(values, "raw") + line(smooth, "smooth") + ends, "curve")


def size_map(width_px: Floats, height_px: Floats, *, max_circles: int = 1500) -> Markup:
    """Return an SVG map of image sizes on logarithmic axes; a circle's area grows with the number of images of that size."""
    pairs, counts = np.unique(np.stack([width_px, height_px], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:max_circles]
    pairs, counts = np.log2(pairs[order].astype(float)), counts[order]
    low, high = floor(pairs.min() - 0.3), float(np.ceil(pairs.max() + 0.3))
    side, left = 320.0, 40.0

    def place(value: float) -> float:
        return float(left + (value - low) / (high - low) * (side - left - 20))

    grid = "".join(_size_line(tick, place(tick), side, left) for tick in range(int(low), int(high) + 1))
    radius = np.clip(1.5 + 12 * np.sqrt(counts / counts.sum()), 2.0, 14.0)
    circles = "".join(
        f'<circle class="dot" cx="{place(w):.1f}" cy="{side - place(h):.1f}" r="{r:.1f}"/>'
        for (w, h), r in zip(pairs, radius, strict=True)
    )
    return svg(side, side, f"Map of {len(pairs)} image sizes, width against height", grid + circles, "sizes")


def ticks(low: float, high: float, *, about: int = 4) -> list[float]:
    """Return round numbers in [low, high], about `about` of them: multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / about
    power = 10.0 ** floor(log10(raw))
    step = power * min((factor for factor in (1, 2, 5, 10) if factor * power >= raw), default=10)
    first = np.ceil(low / step) * step
    return [float(tick) for tick in np.arange(first, high + step * 1e-6, step)]


def short(value: float) -> str:
    """Return a number with three significant digits, thousands separated."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def _moving_average(values: Floats, smoothing: float) -> Floats:
    smooth = np.empty(len(values))
    average = 0.0
    for index, value in enumerate(values):
        average = smoothing * average + (1 - smoothing) * float(value)
        smooth[index] = average / (1 - smoothing ** (index + 1))
    return smooth


def _grid_line(tick: float, low: float, high: float, left: float, width: float, height: float) -> str:
    y = 6 + (high - tick) / (high - low) * (height - 12)
    return (
        f'<line class="grid" x1="{left:.0f}" x2="{width - 8:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{left - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>'
    )


def _size_line(tick: int, place: float, side: float, left: float) -> str:
    across, up = side - place, place
    return (
        f'<line class="grid" x1="{left:.0f}" x2="{side - 20:.0f}" y1="{across:.1f}" y2="{across:.1f}"/>'
        f'<line class="grid" x1="{up:.1f}" x2="{up:.1f}" y1="20" y2="{side - left:.0f}"/>'
        f'<text x="{left - 4:.0f}" y="{across + 4:.1f}" text-anchor="end">{2**tick}</text>'
        f'<text x="{up:.1f}" y="{side - left + 16:.0f}" text-anchor="middle">{2**tick}</text>'
    )


def svg(width: float, height: float, label: str, content: str, kind: str) -> Markup:
    """Return an SVG of the page's class `kind` around content that is already escaped."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}"'
    return Markup(f'<svg class="chart {kind}" {size} role="img" aria-label="{escape(label)}">{content}</svg>')


def polygons(lines: Sequence[Sequence[float]], *, width_px: int, height_px: int) -> Markup:
    """Return an SVG layer with one numbered outline per text line; coordinates x0 y0 x1 y1 ... in px of the image."""
    size = max(width_px, height_px) / 28
    drawn = []
    for number, flat in enumerate(lines, start=1):
        points = [(float(x), float(y)) for x, y in zip(flat[::2], flat[1::2], strict=False)]
        if not points:
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        left, top = min(x for x, _ in points), min(y for _, y in points)
        drawn.append(
            f'<polygon points="{path}"/><circle cx="{left:.1f}" cy="{top:.1f}" r="{size * 0.75:.1f}"/>'
            f'<text x="{left:.1f}" y="{top + size * 0.36:.1f}" font-size="{size:.1f}" text-anchor="middle">{number}</text>'
        )
    return svg(width_px, height_px, f"Outlines of {len(drawn)} text lines", "".join(drawn), "polygons")
