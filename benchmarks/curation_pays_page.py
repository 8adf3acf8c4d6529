"""benchmarks/curation_pays.py's results as JSON and a page."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.about import heading

RESULTS = Path(__file__).parent / "results"
MEASURES = ("shape", "colour", "position", "all_three", "wrong_prompt_all_three", "recall", "frechet_distance")
FLOORS = {"all_three": "judge_all_three", "recall": "recall_real", "frechet_distance": "frechet_distance_real"}
"""The same measure of real pictures, where there is one."""
OF_SHAPE = ("shape", "shape_and_colour", "recall")


def write_results(results: dict[str, dict[str, Any]], found: dict[str, Any], facts: dict[str, Any], *, draft: bool) -> None:
    """Write curation_pays.json and curation_pays.md, or print the page of a draft."""
    text = page(results, found, facts)
    print(text)
    if not draft:
        RESULTS.joinpath("curation_pays.json").write_text(
            json.dumps({"about": facts, "found": found, "arms": results}, indent=1) + "\n"
        )
        RESULTS.joinpath("curation_pays.md").write_text(text)


def page(results: dict[str, dict[str, Any]], found: dict[str, Any], facts: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    arms = list(dict.fromkeys(name.rpartition("-")[0] for name in results))
    runs = {arm: [result for name, result in results.items() if name.rpartition("-")[0] == arm] for arm in arms}
    any_run = next(iter(results.values()))
    lines = ["# Does curation pay?", "", heading(facts), ""]
    lines += [f"Mean over {len(runs[arms[0]])} seeds, with the lowest and highest; {any_run['steps']} steps of every arm.", ""]
    lines += [f"| | {' | '.join(arms)} | real pictures |", "|---" * (len(arms) + 2) + "|"]
    lines += ["| images | " + " | ".join(str(found["kept"][arm]) for arm in arms) + " | |"]
    lines += ["| CPU seconds of training | " + " | ".join(_mean(runs[arm], "cpu_seconds", "{:.0f}") for arm in arms) + " | |"]
    for measure in MEASURES:
        floor = f"{any_run[FLOORS[measure]]:.3f}" if measure in FLOORS else ""
        lines.append(f"| {_title(measure)} | " + " | ".join(_mean(runs[arm], measure) for arm in arms) + f" | {floor} |")
    lines += ["", "By class:", "", f"| class | | {' | '.join(arms)} |", "|---" * (len(arms) + 2) + "|"]
    for shape in any_run["by_shape"]:
        for measure in OF_SHAPE:
            shown = [_mean([result["by_shape"][shape] for result in runs[arm]], measure) for arm in arms]
            lines.append(f"| {shape} | {_title(measure)} | " + " | ".join(shown) + " |")
    return "\n".join([*lines, "", *_faults(found)]) + "\n"


def _faults(found: dict[str, Any]) -> list[str]:
    lines = ["What became of what was planted (a file can have several faults):", ""]
    ends = sorted({end for run in found["fate"].values() for counts in run.values() for end in counts})
    for name, fate in found["fate"].items():
        lines += [f"| {name} | files | " + " | ".join(ends) + " |", "|---" * (len(ends) + 2) + "|"]
        for kind, counts in fate.items():
            shown = " | ".join(str(counts.get(end, "")) for end in ends)
            lines.append(f"| {kind} | {sum(counts.values())} | {shown} |")
        lines.append("")
    columns = list(next(iter(found["classes"].values())))
    lines += [f"| share of what is trained | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{share:.3f}" for share in shares.values()) + " |"
              for name, shares in found["classes"].items()]  # fmt: skip
    check = found["caption_check"]
    return [
        *lines,
        "",
        f"Untrue captions, by their rank among lookalikes: area under the curve {check['area_under_curve']:.3f}; "
        f"by the rule {check['flagged']} of {check['captions']} are flagged, {check['precision']:.0%} of them rightly, "
        f"{check['recall']:.0%} of the {check['untrue']} untrue ones.",
    ]


def _mean(results: list[dict[str, Any]], measure: str, form: str = "{:.3f}") -> str:
    values = [result[measure] for result in results]
    middle, low, high = (form.format(value) for value in (np.mean(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def _title(measure: str) -> str:
    return measure.replace("_", " ")
