"""Entity linking on the anchors of gensim's sample of English Wikipedia, beside commonness alone.

    .venv/bin/python -m benchmarks.linking                  # hand-checked mentions and all others, three splits; 10 CPU minutes
    .venv/bin/python -m benchmarks.linking --fit            # prints weights from the development articles
    .venv/bin/python -m benchmarks.linking --draw           # prints mentions to check, with their sentences

Every mention is given as a span; what it means is to be found among the entities of a knowledge base that was built without the
articles of its fold, or to be left open (NIL) when the entity is not there under this name. Links per split of articles; weights
and thresholds come from the development articles, mentions that are counted from the others. Results go to
benchmarks/results/linking.md and linking.json; the checked mentions are in benchmarks/linking_mentions.jsonl.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.about import about, heading
from benchmarks.linking_fit import fit, fit_rerank
from benchmarks.linking_judge import Detected, Judged, Remembering, judge
from benchmarks.linking_measure import best_cut, detection, measure
from benchmarks.linking_set import FOLDS, is_development
from captioning.linking_model import ACCEPT, RANK
from curation.sentences import SentenceEncoder

RESULTS = Path(__file__).parent / "results"
CHECKED = Path(__file__).parent / "linking_mentions.jsonl"


def checked_keys() -> set[tuple[str, int]]:
    """Return article and offset of the mentions that a person found right."""
    rows = [json.loads(line) for line in CHECKED.read_text("utf-8").splitlines()] if CHECKED.exists() else []
    return {(row["article"], row["offset"]) for row in rows if "dropped" not in row}


def draw(judged: Sequence[Judged], *, several: int, single: int) -> list[Judged]:
    """Return mentions of test articles to check by hand, spread over articles: of several candidates, and of one."""
    seen: set[tuple[str, str, str]] = set()
    pools: dict[bool, list[Judged]] = {True: [], False: []}
    for each in judged:
        key = (each.article, each.surface.lower(), each.target)
        if each.candidates and not is_development(each.article) and key not in seen:
            seen.add(key)
            pools[len(each.candidates) > 1].append(each)
    generator = np.random.default_rng(0)
    drawn = [
        pool[row]
        for pool, number in ((pools[True], several), (pools[False], single))
        for row in generator.permutation(len(pool))[:number]
    ]
    return sorted(drawn, key=lambda each: (each.article, each.offset))


def main() -> None:
    """Run the benchmark, or one of its helpers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", default="0,1,2")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--work", help="folder that keeps knowledge bases and vectors for another run")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    splits = [int(number) for number in arguments.splits.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.work or temporary)
        runs, encode = {}, Remembering(SentenceEncoder(max_tokens=96).encode, folder)
        for split in splits[:1] if arguments.draw else splits:
            parts = [judge(split, number, folder, encode) for number in range(FOLDS)]
            encode.save()
            runs[split] = ([each for part, _ in parts for each in part], [each for _, part in parts for each in part])
    if arguments.fit:
        development = [each for judged, _ in runs.values() for each in judged if is_development(each.article)]
        for names, weights in zip((RANK, ACCEPT), fit(development), strict=True):
            print(json.dumps(dict(zip(names, weights.round(2).tolist(), strict=True)), indent=4))
        print(json.dumps({"text": round(fit_rerank(development), 2)}))
    if arguments.draw:
        for each in draw(runs[splits[0]][0], several=240, single=140):
            at = each.window.find(each.surface)
            print(
                json.dumps(
                    [each.article, each.offset, each.surface, each.target, each.window[max(0, at - 90) : at + 90]],
                    ensure_ascii=False,
                )
            )
    if not (arguments.fit or arguments.draw):
        report(runs, load)


def report(runs: dict[int, tuple[list[Judged], list[Detected]]], load: float) -> None:
    """Write the results of every split as JSON and as a page."""
    keys = checked_keys()
    results: dict[str, Any] = {"about": about("python -m benchmarks.linking", load=load, packages=("numpy", "pyarrow", "gensim"))}
    for split, (judged, detected) in runs.items():
        development = [each for each in judged if is_development(each.article)]
        test = [each for each in judged if not is_development(each.article)]
        cut = best_cut(development)
        held_out = [each for each in detected if not is_development(each.article)]
        results[f"split {split}"] = {
            "commonness_cut": cut,
            "checked": measure([each for each in test if (each.article, each.offset) in keys], cut),
            "all_test": measure(test, cut),
            "detection": {str(score): detection(held_out, score) for score in (0.3, 0.5, 0.7)},
        }
    (RESULTS / "linking.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "linking.md").write_text(page(results))
    print(page(results))


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["# Entity linking", "", heading(results["about"]), "", *_NOTES, ""]
    for name, split in results.items():
        if name == "about":
            continue
        lines += [f"## {name.capitalize()}", "", "| | hand-checked | all of the test articles |", "|---|---|---|"]
        for key in split["checked"]:
            if key != "calibration":
                lines.append(f"| {key} | {_cell(split['checked'][key])} | {_cell(split['all_test'][key])} |")
        lines += [
            "",
            "| without spans, score at least | found | linked by the article | anchors found with their target |",
            "|---|---|---|---|",
        ]
        for score, row in split["detection"].items():
            lines.append(f"| {score} | " + " | ".join(str(number) for number in row.values()) + " |")
        lines += ["", "| score from | mentions | right |", "|---|---|---|"]
        lines += [f"| {row['from']} | {row['mentions']} | {row['right']} |" for row in split["all_test"]["calibration"]]
        lines.append("")
    return "\n".join(lines)


_NOTES = (
    "A mention is a span with a known target. NIL: the target is not among the entities that the knowledge base has",
    "under this name; to leave it open is then right. Mentions without any candidate are right for all methods.",
    "`commonness with NIL` leaves open what is less common than a cut, chosen on the development articles. p: exact",
    "McNemar test, two-sided. Ours has weights from the development articles; the mentions here are from others.",
    "`second look`: candidates compared once more with the text around the name by MiniLM (`link.rerank: text`); most entities",
    "of this sample are titles without a description, which is all that MiniLM then has.",
    "`linked by the article` is no precision: authors link a name once and leave common ones alone.",
)


def _cell(value: Any) -> str:
    return ", ".join(f"{name} {number:.4g}" for name, number in value.items()) if isinstance(value, dict) else str(value)


if __name__ == "__main__":
    main()
