"""The report's section of concepts: what the kept images show before and after balancing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from curation.charts import short, svg
from curation.tables import Run
from curation.targets import effective_number

LABEL = 110.0
"""Room right of the longest bar for its two numbers, px."""


def concepts(run: Run, *, num: int = 24) -> dict[str, Any] | None:
    """Return the effective number of concepts before and after, and the most frequent ones as a chart; None without any."""
    if not (run.has("concept_shares") and run.has("taxonomy")):
        return None
    shares = run.read("concept_shares")
    images, kept, weighted = (shares[name].to_numpy().astype(float) for name in ("images", "kept", "weighted"))
    if not images.any():
        return None
    after = weighted * (images.sum() / weighted.sum() if weighted.any() else 0.0)  # as many namings as before
    names = run.read("taxonomy", ["name"])["name"].to_pylist()
    order = np.lexsort((np.arange(len(images)), -images))
    order = order[images[order] > 0]
    rare = order[images[order] <= max(1.0, float(np.quantile(images[order], 0.25)))]
    manifest = run.manifest("balance") or {}
    return {
        "mode": manifest.get("parameters", {}).get("mode", ""),
        "shown": len(order),
        "before": effective_number(images),
        "after": effective_number(weighted),
        "chart": before_after([names[c] for c in order[:num]], images[order[:num]], after[order[:num]]),
        "spread": spread(images[order], after[order]),
        "rare": len(rare),
        "rare_before": float(images[rare].sum() / images.sum()),
        "rare_after": float(after[rare].sum() / images.sum()),
        "out_of_budget": int(images.sum() - kept.sum()) > 0,
    }


def central(run: Run) -> int | None:
    """Return the concept of TAXONOMY that has a parent and children and is shown most; None without such a one."""
    if not run.has("taxonomy"):
        return None
    table = run.read("taxonomy", ["parent", "images"])
    parent = table["parent"].fill_null(-1).to_numpy()
    children = np.bincount(parent[parent >= 0], minlength=len(parent))
    images = table["images"].to_numpy() * np.where((children > 0) & (parent >= 0), 2, np.where(children > 0, 1, 0))
    return int(images.argmax()) if len(images) and images.max() > 0 else None


def before_after(names: Sequence[str], before: np.ndarray, after: np.ndarray) -> Markup:
    """Return an SVG of two bars per concept on one logarithmic axis: images before (pale) and, by weight, after (accent)."""
    left, width, row = 170.0, 640.0, 22.0
    high = float(max(before.max(), after.max(), 10.0))
    height = row * len(names) + 22
    drawn = []

    def across(value: float) -> float:
        return float(left + np.log10(1 + value) / np.log10(1 + high) * (width - left - LABEL))

    for tick in [10**power for power in range(int(np.log10(high)) + 1)]:
        x = across(tick)
        drawn.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20:.0f}"/>')
        drawn.append(f'<text x="{x:.1f}" y="{height - 6:.0f}" text-anchor="middle">{short(tick)}</text>')
    for place, (name, first, then) in enumerate(zip(names, before.tolist(), after.tolist(), strict=True)):
        y = place * row
        cut = name if len(name) <= 24 else name[:23] + "\u2026"
        plain = "".join(sign if sign.isprintable() else "\ufffd" for sign in cut)
        drawn.append(f'<text x="{left - 8:.0f}" y="{y + 14:.1f}" text-anchor="end">{escape(plain)}</text>')
        for value, kind, down in ((first, "all", 3.0), (then, "kept", 11.0)):
            drawn.append(f'<rect class="{kind}" x="{left}" y="{y + down:.1f}" width="{across(value) - left:.1f}" height="7"/>')
        end = across(max(first, then)) + 6
        drawn.append(f'<text x="{end:.1f}" y="{y + 14:.1f}">{short(first)} \u2192 {short(round(then, 1))}</text>')
    label = f"Images of the {len(names)} most frequent concepts before and after balancing"
    return svg(width, height, label, "".join(drawn), "concepts")


def spread(before: np.ndarray, after: np.ndarray, *, num_points: int = 120) -> Markup:
    """Return an SVG of images by rank of the concept, both axes logarithmic: before and after, each sorted by itself."""
    width, height, left, bottom = 640.0, 220.0, 52.0, 24.0
    ranks = np.unique(np.geomspace(1, len(before), min(num_points, len(before))).round().astype(int)) - 1
    lines = [np.sort(values)[::-1][ranks] for values in (before, after)]
    low, high = (np.log10(max(edge, 1e-3)) for edge in (min(line.min() for line in lines), max(line.max() for line in lines)))
    low, high = (low, high) if high - low > 0.1 else (low - 0.5, high + 0.5)
    x = left + np.log10(1 + ranks) / max(1e-9, np.log10(max(2, len(before)))) * (width - left - 10)

    def up(value: float) -> float:
        return float(6 + (high - np.log10(max(value, 1e-3))) / (high - low) * (height - bottom - 12))

    drawn = []
    for tick in [10.0**power for power in range(int(np.ceil(low)), int(np.floor(high)) + 1)]:
        drawn.append(f'<line class="grid" x1="{left}" x2="{width - 8}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>')
        drawn.append(f'<text x="{left - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for line, kind in zip(lines, ("before", "smooth"), strict=True):
        points = " ".join(f"{a:.1f},{up(b):.1f}" for a, b in zip(x, line.tolist(), strict=True))
        drawn.append(f'<polyline class="{kind}" points="{points}"/>')
    drawn.append(f'<text x="{left}" y="{height - 6}">most frequent concept</text>')
    drawn.append(f'<text x="{width - 8}" y="{height - 6}" text-anchor="end">rank {short(len(before))}</text>')
    return svg(width, height, f"Images of {len(before)} concepts by rank, before and after", "".join(drawn), "curve")
