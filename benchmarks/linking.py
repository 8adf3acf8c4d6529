"""Entity linking on the anchors of gensim's sample of English Wikipedia, beside commonness alone.

    .venv/bin/python -m benchmarks.linking                  # hand-checked mentions and all others, three splits; 4 CPU minutes
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import binomtest

from benchmarks.about import about, heading
from benchmarks.linking_set import FOLDS, Article, articles, build_without, fold, is_development, windows
from captioning.dictionary import changes
from captioning.knowledge import Knowledge
from captioning.linking import Linked
from captioning.linking_model import ACCEPT, RANK, rank_evidence
from captioning.profiles import KINDS
from curation.tables import Run

RESULTS = Path(__file__).parent / "results"
CHECKED = Path(__file__).parent / "linking_mentions.jsonl"
EVERY_KIND = tuple(kind for kind in KINDS if kind != "disambiguation")
MIN_SCORE = 0.5
Floats = NDArray[np.float64]


class Judged(NamedTuple):
    """One mention with what was said of it; titles are None for NIL."""

    article: str
    offset: int
    surface: str
    target: str
    window: str
    candidates: tuple[str, ...]  # the commonest first
    commonness: float  # of the first
    answer: str | None  # the best by our evidence
    score: float
    rank: Floats  # (candidates, RANK)
    accept: Floats  # (ACCEPT,)

    @property
    def known(self) -> bool:
        """Say whether the target is among the candidates."""
        return self.target in self.candidates

    @property
    def truth(self) -> str | None:
        """Return the right answer: the target, or NIL when the knowledge base does not have it under this name."""
        return self.target if self.known else None


class Detected(NamedTuple):
    """What is found in a window of an article without being told where names are, and what the article links to."""

    article: str
    found: list[tuple[int, int, str, float]]  # start, end, title, score
    anchors: list[tuple[int, int, str]]
    linked: frozenset[str]  # targets of the whole article


def judge(split: int, number: int, folder: Path) -> tuple[list[Judged], list[Detected]]:
    """Return every mention of the articles of a fold as judged with a knowledge base without them, built in `folder`."""
    left_out = [article for article in articles() if fold(article.title, split) == number]
    base = folder / f"{split}-{number}" / "kb"
    if not Run(base).has("entities"):
        base = build_without({article.title for article in left_out}, base.parent)
    knowledge, titles = Knowledge(base), Run(base).read("entities", ["title"])["title"].to_pylist()
    judged = [each for article in left_out for each in _given(article, knowledge, titles)]
    return judged, [each for article in left_out for each in _detected(article, knowledge, titles)]


def _given(article: Article, knowledge: Knowledge, titles: Sequence[str]) -> list[Judged]:
    found = windows(article)
    spans = {(n, start, start + len(m.surface)): m for n, (_, inside) in enumerate(found) for start, m in inside}
    texts = [text for text, _ in found]
    linked = knowledge.link(texts, np.arange(len(texts)), given=list(spans), kinds=EVERY_KIND)
    evidence = rank_evidence(linked.rows, linked.context)
    first = np.append(np.flatnonzero(changes(linked.rows.span)), len(linked.rows.span))
    made = {}
    for place, best in enumerate(linked.best.tolist()):
        name = linked.rows.span[best]
        key = (int(linked.text[name]), int(linked.start[name]), int(linked.end[name]))
        rows = slice(first[place], first[place + 1])
        made[key] = (
            tuple(titles[entity] for entity in linked.rows.entity[rows]),
            float(linked.rows.commonness[rows][0]),
            titles[linked.rows.entity[best]],
            float(linked.score[place]),
            evidence[rows],
            linked.evidence[place],
        )
    nothing: tuple[Any, ...] = ((), 0.0, None, 0.0, np.zeros((0, len(RANK))), np.zeros(len(ACCEPT)))
    return [
        Judged(article.title, mention.offset, mention.surface, mention.target, texts[key[0]], *made.get(key, nothing))
        for key, mention in spans.items()
    ]


def _detected(article: Article, knowledge: Knowledge, titles: Sequence[str]) -> list[Detected]:
    found = windows(article)
    texts = [text for text, _ in found]
    linked = knowledge.link(texts, np.arange(len(texts)), kinds=EVERY_KIND)
    targets = frozenset(mention.target for mention in article.mentions)
    return [
        Detected(
            article.title,
            [found for number, *found in _answers(linked, titles) if number == n],  # type: ignore[misc]
            [(start, start + len(m.surface), m.target) for start, m in inside],
            targets,
        )
        for n, (_, inside) in enumerate(found)
    ]


def _answers(linked: Linked, titles: Sequence[str]) -> list[tuple[int, int, int, str, float]]:
    spans = linked.rows.span[linked.best]
    columns = (linked.text[spans].tolist(), linked.start[spans].tolist(), linked.end[spans].tolist())
    entities = [titles[entity] for entity in linked.rows.entity[linked.best]]
    return list(zip(*columns, entities, linked.score.tolist(), strict=True))


# fitting --------------------------------------------------------------------------------------------------------------------


def fit(judged: Sequence[Judged]) -> tuple[Floats, Floats]:
    """Return the weights of RANK and ACCEPT by maximum likelihood with a ridge of 1."""
    several = [each for each in judged if each.known and len(each.candidates) > 1]
    rank = _minimised(lambda weights: _rank_loss(weights, several), len(RANK))
    rows, right = [], []
    for each in judged:
        if each.candidates:
            belief = each.rank @ rank
            share = np.exp(belief - belief.max())
            best = int(np.argmax(share))
            rows.append(_with_best(each, best, float(share[best] / share.sum())))
            right.append(each.candidates[best] == each.target)
    evidence, labels = np.array(rows), np.array(right, float)
    return rank, _minimised(lambda weights: _accept_loss(weights, evidence, labels), len(ACCEPT))


def _with_best(judged: Judged, best: int, share: float) -> Floats:
    """Return the evidence of ACCEPT as it is when `best` is the best candidate; what both models share is taken from RANK."""
    evidence = dict(zip(ACCEPT, judged.accept.tolist(), strict=True))
    compared = dict(zip(RANK, judged.rank[best].tolist(), strict=True))
    evidence |= {name: compared[name] for name in compared if name in evidence} | {"log_share": float(np.log(share + 1e-3))}
    return np.array(list(evidence.values()))


def _rank_loss(weights: Floats, judged: Sequence[Judged]) -> tuple[float, Floats]:
    loss, slope = weights @ weights / 2, weights.copy()
    for each in judged:
        belief = each.rank @ weights
        share = np.exp(belief - belief.max())
        share /= share.sum()
        right = each.candidates.index(each.target)
        loss -= np.log(share[right])
        slope += each.rank.T @ share - each.rank[right]
    return float(loss), slope


def _accept_loss(weights: Floats, evidence: Floats, labels: Floats) -> tuple[float, Floats]:
    belief = evidence @ weights
    loss = np.logaddexp(0, belief).sum() - belief @ labels + weights @ weights / 2
    return float(loss), evidence.T @ (1 / (1 + np.exp(-belief)) - labels) + weights


def _minimised(loss: Callable[[Floats], tuple[float, Floats]], size: int) -> Floats:
    return np.asarray(minimize(loss, np.zeros(size), jac=True, method="L-BFGS-B").x)


# measuring ------------------------------------------------------------------------------------------------------------------


def measure(judged: Sequence[Judged], cut: float) -> dict[str, Any]:
    """Return accuracies of ours and of commonness alone, bare and with its own best cut for NIL, and paired tests."""
    truth = [each.truth for each in judged]
    ours = [each.answer if each.score >= MIN_SCORE else None for each in judged]
    bare = [each.candidates[0] if each.candidates else None for each in judged]
    common = [each.candidates[0] if each.candidates and each.commonness >= cut else None for each in judged]
    known = np.array([each.known for each in judged])
    several = np.array([len(each.candidates) > 1 for each in judged])
    right = {
        name: np.array([said == true for said, true in zip(answers, truth, strict=True)])
        for name, answers in (("ours", ours), ("commonness", bare), ("commonness with NIL", common))
    }
    chosen = {
        "ours": np.array([each.answer == each.target for each in judged]),
        "commonness": np.array([bool(each.candidates) and each.candidates[0] == each.target for each in judged]),
    }
    return {
        "mentions": len(judged),
        "with candidates": int(sum(bool(each.candidates) for each in judged)),
        "target among candidates": int(known.sum()),
        "accuracy": {name: _share(hits) for name, hits in right.items()},
        "accuracy, NIL mentions": {name: _share(hits[~known]) for name, hits in right.items()},
        "right candidate first, target among several": {
            name: _share(hits[known & several]) for name, hits in chosen.items()
        } | {"mentions": int((known & several).sum())},
        "precision of answers": {
            name: _share(np.array([s == t.target for s, t in zip(answers, judged, strict=True) if s is not None]))
            for name, answers in (("ours", ours), ("commonness", bare), ("commonness with NIL", common))
        },
        "against commonness": mcnemar(right["ours"], right["commonness"]),
        "against commonness with NIL": mcnemar(right["ours"], right["commonness with NIL"]),
        "choice against commonness": mcnemar(chosen["ours"][known & several], chosen["commonness"][known & several]),
        "calibration": _calibration(judged),
    }  # fmt: skip


def mcnemar(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> dict[str, float]:
    """Return the mentions that only one of two methods has right, and the exact two-sided p (McNemar 1947)."""
    won, lost = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    return {"only ours": won, "only theirs": lost, "p": float(binomtest(won, won + lost).pvalue) if won + lost else 1.0}


def _share(hits: NDArray[np.bool_]) -> float:
    return round(float(hits.mean()), 4) if len(hits) else 0.0


def _calibration(judged: Sequence[Judged]) -> list[dict[str, float]]:
    """Return by tenths of the score how many best candidates are right."""
    scored = [(each.score, each.answer == each.target) for each in judged if each.candidates]
    tenths = [[right for score, right in scored if int(min(score, 0.999) * 5) == tenth] for tenth in range(5)]
    return [{"from": n / 5, "mentions": len(hits), "right": _share(np.array(hits))} for n, hits in enumerate(tenths)]


def best_cut(judged: Sequence[Judged]) -> float:
    """Return the least commonness that serves the baseline best, chosen on development articles."""
    cuts = [n / 20 for n in range(21)]
    hits = [
        sum((each.candidates[0] if each.candidates and each.commonness >= cut else None) == each.truth for each in judged)
        for cut in cuts
    ]
    return cuts[int(np.argmax(hits))]


def detection(detected: Sequence[Detected], min_score: float) -> dict[str, float]:
    """Return precision and recall when spans are not given.

    right: the article links to the entity somewhere; authors link a name once, so other occurrences are no mistakes.
    """
    said = [(each, start, end, title) for each in detected for start, end, title, score in each.found if score >= min_score]
    right = sum(title in each.linked for each, _, _, title in said)
    exact = sum((start, end, title) in set(each.anchors) for each, start, end, title in said)
    anchors = sum(len(each.anchors) for each in detected)
    return {
        "found": len(said),
        "linked by the article": round(right / max(1, len(said)), 4),
        "anchors found with their target": round(exact / max(1, anchors), 4),
    }


# running --------------------------------------------------------------------------------------------------------------------


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
    parser.add_argument("--work", help="folder that keeps the knowledge bases for another run")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    splits = [int(number) for number in arguments.splits.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.work or temporary)
        runs = {}
        for split in splits[:1] if arguments.draw else splits:
            parts = [judge(split, number, folder) for number in range(FOLDS)]
            runs[split] = ([each for part, _ in parts for each in part], [each for _, part in parts for each in part])
    if arguments.fit:
        development = [each for judged, _ in runs.values() for each in judged if is_development(each.article)]
        for names, weights in zip((RANK, ACCEPT), fit(development), strict=True):
            print(json.dumps(dict(zip(names, weights.round(2).tolist(), strict=True)), indent=4))
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
    "`linked by the article` is no precision: authors link a name once and leave common ones alone.",
)


def _cell(value: Any) -> str:
    return ", ".join(f"{name} {number:.4g}" for name, number in value.items()) if isinstance(value, dict) else str(value)


if __name__ == "__main__":
    main()
