"""benchmarks/learning.py's results as JSON, a page and a figure."""

import json
from pathlib import Path
from typing import Any

from benchmarks.about import heading

RESULTS = Path(__file__).parent / "results"
FLOORS = {
    ("shapes", "all", "shape"): 0.85,
    ("shapes", "all", "colour"): 0.97,
    ("shapes", "all", "position"): 0.93,
    ("shapes", "held_out_pairs", "shape_and_colour"): 0.75,
    ("digits", "all", "class"): 0.93,
    ("digits", "all", "recall"): 0.5,
    ("digits", "all", "frechet_distance"): 2.4,
}
"""What was asked for before anything was measured; a distance must be below, everything else above."""
DISTANCES = ("frechet_distance", "precision", "recall")


def write_results(results: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write learning.json, learning.md and learning.png; sets that were not run keep their last results."""
    path = RESULTS / "learning.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    merged = before | {name: {"about": facts, **result} for name, result in results.items()}
    path.write_text(json.dumps(merged, indent=1) + "\n")
    (RESULTS / "learning.md").write_text(page(merged))
    draw(merged, RESULTS / "learning.png")


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["# What a small model learns", ""]
    for name, result in sorted(results.items(), reverse=True):
        lines += [f"## {name.capitalize()}", "", *_section(name, result), ""]
    return "\n".join([*lines, "![Accuracy and recall by number of steps and guidance](learning.png)"]) + "\n"


def _section(name: str, result: dict[str, Any]) -> list[str]:
    training = (
        f"{result['parameters'] / 1e6:.2f} M parameters, {result['steps']} steps of {result['batch_size']}: "
        f"{result['cpu_seconds']} CPU seconds, {result['wall_seconds']} s; loss {result['loss']}. "
        f"Samples: {result['num_steps']} steps, guidance {result['guidance']}."
    )
    lines = [heading(result["about"]), "", training, ""]
    lines += ["| | asked | samples | 95 % or range | wrong prompts | real images |", "|---|---|---|---|---|---|"]
    for part in ("all", "held_out_pairs"):
        if part in result:
            distances = DISTANCES if part == "all" else ()  # those of a few pairs to all real pictures would say nothing
            lines += [_row(name, part, measure, result) for measure in (*result[part]["accuracy"], *distances)]
    lines += ["", "| steps | guidance | " + " | ".join(_measures(result)) + " |", "|---" * (2 + len(_measures(result))) + "|"]
    for point in result["curve"]:
        shown = [f"{_value(point, measure)['value']:.3f}" for measure in _measures(result)]
        lines.append(f"| {point['num_steps']} | {point['guidance']:g} | " + " | ".join(shown) + " |")
    return lines


def _measures(result: dict[str, Any]) -> list[str]:
    return [*result["all"]["accuracy"], *DISTANCES]


def _row(name: str, part: str, measure: str, result: dict[str, Any]) -> str:
    floor = FLOORS.get((name, part, measure))
    asked = "" if floor is None else f"{'<=' if measure == 'frechet_distance' else '>='} {floor:g}"
    found, real = _value(result[part], measure), _value(result["real"], measure)
    wrong = result[part]["wrong_prompt"].get(measure)
    title = f"{measure.replace('_', ' ')}, {'held-out pairs' if part == 'held_out_pairs' else 'all prompts'}"
    return (
        f"| {title} (n {result[part]['n']}) | {asked} | {found['value']:.3f} | {found['low']:.3f}-{found['high']:.3f} | "
        f"{'' if wrong is None else format(wrong['value'], '.3f')} | {real['value']:.3f} |"
    )


def _value(part: dict[str, Any], measure: str) -> dict[str, float]:
    found: dict[str, float] = part["accuracy"][measure] if measure in part["accuracy"] else part[measure]
    return found


def draw(results: dict[str, Any], path: Path) -> None:
    """Write a figure: accuracy, recall and Frechet distance over the number of steps, by guidance; dotted: real images."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(results), 3, figsize=(9, 2.6 * len(results)), squeeze=False, layout="constrained")
    for row, (name, result) in zip(axes, sorted(results.items(), reverse=True), strict=True):
        first = "class" if name == "digits" else "shape_and_colour"
        for axis, measure in zip(row, (first, "recall", "frechet_distance"), strict=True):
            for guidance in sorted({point["guidance"] for point in result["curve"]}):
                points = sorted(
                    (p["num_steps"], _value(p, measure)["value"]) for p in result["curve"] if p["guidance"] == guidance
                )
                axis.plot(*zip(*points, strict=True), "o-", markersize=3, linewidth=1, label=f"guidance {guidance:g}")
            axis.axhline(_value(result["real"], measure)["value"], color="grey", linestyle=":", linewidth=1)
            axis.set(xscale="log", title=f"{name}: {measure.replace('_', ' ')}", xlabel="steps")
            axis.set_xticks([1, 2, 4, 8, 50], ["1", "2", "4", "8", "50"])
            axis.minorticks_off()
        row[0].legend(fontsize=7)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    pyplot.close(figure)
