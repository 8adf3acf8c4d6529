"""The verb remediate: failures of a model in, proposals for the data set out, to be reviewed by a person.

Three questions are asked. By picture: which kept images lie near the failed pictures, and do they come from regions, or are
they images, that are found more often than chance explains (drop)? By the phrases `wrong` and `right`: whose captions say it
(relabel)? By prompt: does the collection hold what was asked for at all, and which regions do the prompts fall into (fetch)?
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cards import cards as cards_of
from curation.errors import ConfigError
from curation.tables import Run
from graph.fulltext import FullText
from graph.regions import Labels, find_regions, num_regions, sort_into
from graph.remediation import Suspect, coverage, region_of_case, suspect_images, suspect_regions, term_weights
from graph.search import nearest
from graph.words import is_spaceless
from jobs import corpus, remedies
from jobs.failures import Case, Failure, cases, read_failures
from jobs.remediate_view import show, write

log = logging.getLogger(__name__)

Proposal = dict[str, Any]
"""One line of proposals.jsonl."""

EXAMPLES = 8
MAX_IDS = 200
"""Images of one proposal; a region is not dropped whole."""
COVERED = 0.6
"""Share of a prompt's weight that an image's words hold when it shows what was asked for."""


@dataclass(frozen=True)
class Evidence:
    """What was retrieved: for every failure the rows and cosines by picture, and the rows by prompt; nearest first."""

    by_picture: Mapping[int, tuple[list[int], list[float]]]
    by_prompt: Mapping[int, list[int]]


def remediate(run: Run, *, failures: Path | None, apply: Path | None, out: Path | None, k: int = 10, want: int = 20) -> None:
    """Write proposals for the failures, or the approved proposals as remedies, and print what was done."""
    if (failures is None) == (apply is None):
        raise ConfigError("remediate takes exactly one of --failures and --apply")
    if apply is not None:
        if out is None:
            raise ConfigError(
                "--apply needs --out: NEW.yaml for a new run and its remedies, or FILE.jsonl for these alone"
            )
        counts = remedies.apply(run, apply, out)
        print(f"{', '.join(f'{number} to {action}' for action, number in counts.items())}: {out}")
        return
    assert failures is not None
    found = read_failures(failures)
    folder = out or run.root / "remediation"
    proposals = propose(run, found, k=k, want=want)
    write(folder, run, proposals, found)
    show(folder, proposals)


def propose(run: Run, failures: Sequence[Failure], *, k: int = 10, want: int = 20, max_q: float = 0.05) -> list[Proposal]:
    """Return proposals for the reviewer, those to drop first, each with its evidence and `approved` null.

    k: training images retrieved per picture and prompt. want: images that a concept needs. max_q: share of false alarms among
    the regions and images that are reported. Raises ConfigError before there is a selection.
    """
    allowed = corpus.kept(run)
    grouped = cases(failures)
    index = corpus.full_text(run) if corpus.has_words(run) else None
    try:
        evidence = Evidence(_by_picture(run, failures, allowed, k), _by_prompt(run, failures, allowed, k, index))
        found = _suspicious(run, failures, grouped, evidence, allowed, max_q)
        if index is not None:
            found += _relabels(run, failures, grouped, index, allowed)
            found += _missing(run, grouped, index, allowed, want)
    finally:
        if index is not None:
            index.close()
    return [{"proposal": number, **one, "approved": None} for number, one in enumerate(found, start=1)]


def _by_picture(
    run: Run, failures: Sequence[Failure], allowed: NDArray[np.bool_], k: int
) -> dict[int, tuple[list[int], list[float]]]:
    pictured = [(number, failure.image) for number, failure in enumerate(failures) if failure.image is not None]
    if not pictured:
        return {}
    vectors, errors = corpus.embed_files(run, [image for _, image in pictured])
    for (_, image), error in zip(pictured, errors, strict=True):
        if error is not None:
            log.warning("%s cannot be read as an image and is left out: %s", image, error)
    readable = [at for at, error in enumerate(errors) if error is None]
    if not readable:
        return {}
    found = nearest(queries=vectors[readable], parts=corpus.parts(run), k=k, mean=corpus.mean(run), allowed=allowed)
    return {
        pictured[at][0]: (rows.tolist(), [round(float(c), 6) for c in cosine])
        for at, (rows, cosine) in zip(readable, found, strict=True)
    }


def _by_prompt(
    run: Run, failures: Sequence[Failure], allowed: NDArray[np.bool_], k: int, index: FullText | None
) -> dict[int, list[int]]:
    prompts = {number: failure.prompt for number, failure in enumerate(failures) if failure.prompt}
    if prompts and corpus.has_text_tower(run):
        vectors = corpus.embed_texts(run, list(prompts.values()))
        found = nearest(queries=vectors, parts=corpus.parts(run), k=k, allowed=allowed)
        return {number: rows.tolist() for number, (rows, _) in zip(prompts, found, strict=True)}
    if prompts and index is None:
        log.warning("%s has neither a text tower nor words: prompts are left out", run.root)
        return {}
    hits = {prompt: _hits(index, prompt, allowed, k) for prompt in dict.fromkeys(prompts.values())} if index else {}
    return {number: hits[prompt] for number, prompt in prompts.items()}


def _hits(index: FullText, prompt: str, allowed: NDArray[np.bool_], k: int) -> list[int]:
    try:
        return [hit.row for hit in index.search(prompt, limit=k, allowed=allowed)]
    except ConfigError:  # a prompt without a letter finds nothing
        return []


def _suspicious(
    run: Run, failures: Sequence[Failure], grouped: Sequence[Case], evidence: Evidence, allowed: NDArray[np.bool_], max_q: float
) -> list[Proposal]:
    """Return proposals for regions and images that turn up too often, by picture and by prompt."""
    labels = _labels(run, allowed)
    size = np.bincount(labels[labels >= 0])
    seen = [[row for n in case.failures for row in evidence.by_picture.get(n, ([], []))[0]] for case in grouped]
    asked = [[row for n in case.failures for row in evidence.by_prompt.get(n, [])] for case in grouped]
    failed = [number for number, case in enumerate(grouped) if not case.ok]
    found: list[Proposal] = []
    for action, rows_of in (("drop", seen), ("fetch", asked)):
        regions = [region_of_case(rows, labels) for rows in rows_of]
        controls = np.array([region for region, case in zip(regions, grouped, strict=True) if case.ok and region >= 0], np.int64)
        background = np.bincount(controls, minlength=len(size)) if len(controls) else size
        against = "controls" if len(controls) else "run"
        for suspect in suspect_regions(regions=[regions[n] for n in failed], background=background, max_q=max_q):
            blamed = [failed[n] for n in suspect.cases]
            rows = _ranked([row for n in blamed for row in rows_of[n] if labels[row] == suspect.number])
            target = {"kind": "region", "region": suspect.number, "images": int(size[suspect.number])}
            found.append(_region_proposal(run, action, suspect, target, rows, [grouped[n] for n in blamed], failures, against))
    listed = {id_ for one in found if one["action"] == "drop" for id_ in one["ids"]}
    found += _image_proposals(run, failures, [grouped[n] for n in failed], [seen[n] for n in failed], allowed, max_q, listed)
    return sorted(found, key=lambda one: ("drop", "relabel", "fetch").index(one["action"]))


def _labels(run: Run, allowed: NDArray[np.bool_]) -> Labels:
    """Return the region of every kept image, -1 elsewhere."""
    num = int(allowed.sum())
    if num < 2:
        raise ConfigError(f"{run.root} keeps {num} images: there is nothing to compare failures with")
    found = find_regions(parts=corpus.masked(run, allowed), mean=corpus.mean(run), num=num_regions(num), num_images=num)
    return sort_into(found, parts=corpus.masked(run, allowed), num_rows=len(allowed))[0]


def _region_proposal(
    run: Run,
    action: str,
    suspect: Suspect,
    target: dict[str, Any],
    rows: list[int],
    blamed: Sequence[Case],
    failures: Sequence[Failure],
    against: str,
) -> Proposal:
    described = cards_of(run, rows[:MAX_IDS])
    proposal = {
        "action": action,
        "target": target,
        "reason": f"{len(blamed)} cases fall into a region where {suspect.expected_cases:.1f} were expected "
        f"by its share of the {against}",
        "score": _rounded(suspect.ratio),
        "evidence": {"by": "picture" if action == "drop" else "prompt", "against": against, **_tested(suspect, blamed, failures)},
        "examples": _named(described[:EXAMPLES]),
    }
    if action == "drop":
        return {**proposal, "ids": _ids(described)}
    queries = [case.prompt for case in blamed if case.prompt] + [card["caption"] for card in described[:3] if card["caption"]]
    return {**proposal, "queries": _by_language(queries), "images_to_fetch": target["images"]}


def _image_proposals(
    run: Run,
    failures: Sequence[Failure],
    failed: Sequence[Case],
    seen: Sequence[Sequence[int]],
    allowed: NDArray[np.bool_],
    max_q: float,
    listed: set[str],
) -> list[Proposal]:
    """Return one proposal per image that is near to too many failed pictures and in no proposal yet."""
    proposals = []
    for suspect in suspect_images(found=seen, popularity=_popularity(run, allowed), max_q=max_q):
        described = cards_of(run, [suspect.number])
        if described[0]["id"] in listed:
            continue
        blamed = [failed[n] for n in suspect.cases]
        proposals.append(
            {
                "action": "drop",
                "target": {"kind": "image", "images": 1},
                "reason": f"near to the pictures of {len(blamed)} cases; {suspect.expected_cases:.2f} were expected",
                "score": _rounded(suspect.ratio),
                "evidence": {"by": "picture", "against": "neighbours", **_tested(suspect, blamed, failures)},
                "examples": _named(described),
                "ids": [described[0]["id"]],
            }
        )
    return proposals


def _popularity(run: Run, allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how often each kept image is a neighbour of another, plus one; one for all without NEIGHBOURS."""
    often = np.ones(len(allowed))
    if run.has("neighbours"):
        for commit in run.commits("neighbours"):
            lists = run.read_part("neighbours", commit.part, ["rows"])["rows"].combine_chunks()
            often += np.bincount(lists.flatten().to_numpy(), minlength=len(allowed))
    return np.where(allowed, often, 0.0)


def _relabels(
    run: Run, failures: Sequence[Failure], grouped: Sequence[Case], index: FullText, allowed: NDArray[np.bool_]
) -> list[Proposal]:
    """Return one proposal for every pair of a wrong and a right phrase: the kept images whose captions say the wrong one."""
    pairs = dict.fromkeys((failure.wrong, failure.right) for failure in failures if failure.wrong and not failure.ok)
    proposals = []
    for wrong, right in pairs:
        rows = index.rows(f'"{wrong}"', allowed=allowed)
        if right:
            rows = np.setdiff1d(rows, index.rows(f'"{right}"', allowed=allowed))
        blamed = [
            case for case in grouped if any(failures[n].wrong == wrong and failures[n].right == right for n in case.failures)
        ]
        described = cards_of(run, rows[:MAX_IDS].tolist())
        if described:
            proposals.append(
                {
                    "action": "relabel",
                    "target": {"kind": "caption", "images": len(rows)},
                    "reason": f"the words of {len(rows)} kept images hold {wrong!r}" + (f" and not {right!r}" if right else ""),
                    "score": float(len(blamed)),
                    "evidence": {"by": "words", "failures": [n for case in blamed for n in case.failures]},
                    "examples": _named(described[:EXAMPLES]),
                    "ids": _ids(described),
                    "wrong": wrong,
                    "right": right,
                }
            )
    return proposals


def _missing(run: Run, grouped: Sequence[Case], index: FullText, allowed: NDArray[np.bool_], want: int) -> list[Proposal]:
    """Return one proposal for every prompt whose words fewer than `want` kept images hold, the least covered first."""
    proposals = []
    for case in grouped:
        if case.ok or not case.prompt or not any(letter.isalnum() for letter in case.prompt):
            continue
        hits = _hits(index, case.prompt, allowed, 5 * want)
        frequencies = index.frequencies(case.prompt)
        weights = term_weights(frequencies, len(index))
        shares = coverage(weights=weights, held=index.holding(case.prompt, among=hits), rows=hits)
        covered = sum(share >= COVERED for share in shares)
        if covered >= want:
            continue
        best = [row for _, row in sorted(zip([-share for share in shares], hits, strict=True))][:EXAMPLES]
        rare = sorted((often, term) for term, often in frequencies.items() if often < want)
        proposals.append(
            {
                "action": "fetch",
                "target": {"kind": "prompt", "images": covered},
                "reason": f"{covered} kept images hold {COVERED:.0%} of what the prompt says; {want} are wanted",
                "score": _rounded(1 - max(shares, default=0.0)),
                "evidence": {
                    "by": "words",
                    "failures": list(case.failures),
                    "best_coverage": _rounded(max(shares, default=0.0)),
                    "rare_terms": {term: often for often, term in rare[:12]},
                },
                "examples": _named(cards_of(run, best)),
                "queries": _by_language([case.prompt]),
                "images_to_fetch": want - covered,
            }
        )
    return sorted(proposals, key=lambda one: -one["score"])


def _tested(suspect: Suspect, blamed: Sequence[Case], failures: Sequence[Failure]) -> dict[str, Any]:
    numbers = [n for case in blamed for n in case.failures]
    return {
        "cases": len(blamed),
        "expected_cases": _rounded(suspect.expected_cases),
        "ratio": _rounded(suspect.ratio),
        "p": _rounded(suspect.p),
        "q": _rounded(suspect.q),
        "failures": numbers,
        "problems": sorted({problem for n in numbers if (problem := failures[n].problem)}),
    }


def _ranked(rows: Sequence[int]) -> list[int]:
    """Return the distinct rows, those named most often first, then as they came."""
    order = {row: place for place, row in reversed(list(enumerate(rows)))}
    often = {row: rows.count(row) for row in order}
    return sorted(order, key=lambda row: (-often[row], order[row]))


def _by_language(texts: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in dict.fromkeys(texts):
        found.setdefault("zh" if is_spaceless(text) else "en", []).append(text)
    return found


def _named(described: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"row": card["row"], "id": card["id"], "key": card["key"]} for card in described]


def _ids(described: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(card["id"] for card in described))


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
