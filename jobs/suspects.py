"""Proposals from what turns up too often: regions by failed pictures (drop) and by prompts (fetch), and single images (drop)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cards import cards as cards_of
from curation.cards import named
from curation.errors import ConfigError
from curation.tables import Run
from graph.regions import Labels, find_regions, num_regions, sort_into
from graph.remediation import Suspect, region_of_case, suspect_images, suspect_regions
from jobs import corpus
from jobs.failures import Case, Failure
from jobs.proposals import EXAMPLES, MAX_IDS, Proposal, by_language, ids_of, rounded


@dataclass(frozen=True)
class Evidence:
    """What was retrieved: for every failure the rows and cosines by picture, and the rows by prompt; nearest first."""

    by_picture: Mapping[int, tuple[list[int], list[float]]]
    by_prompt: Mapping[int, list[int]]


def suspicious(
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
    """Return the region of every kept image, -1 elsewhere: of HIERARCHY the level that comes nearest to as many as suit."""
    num = int(allowed.sum())
    if num < 2:
        raise ConfigError(f"{run.root} keeps {num} images: there is nothing to compare failures with")
    levels = [np.unique(labels[allowed], return_inverse=True) for labels in corpus.hierarchy(run)]
    if levels:
        _, regions = min(levels, key=lambda level: abs(np.log(len(level[0]) / num_regions(num))))
        found = np.full(len(allowed), -1, np.int32)
        found[allowed] = regions
        return found
    cells = find_regions(parts=corpus.masked(run, allowed), mean=corpus.mean(run), num=num_regions(num), num_images=num)
    return sort_into(cells, parts=corpus.masked(run, allowed), num_rows=len(allowed))[0]


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
        "score": rounded(suspect.ratio),
        "evidence": {"by": "picture" if action == "drop" else "prompt", "against": against, **_tested(suspect, blamed, failures)},
        "examples": named(described[:EXAMPLES]),
    }
    if action == "drop":
        return {**proposal, "ids": ids_of(described)}
    queries = [case.prompt for case in blamed if case.prompt] + [card["caption"] for card in described[:3] if card["caption"]]
    return {**proposal, "queries": by_language(queries), "images_to_fetch": target["images"]}


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
                "score": rounded(suspect.ratio),
                "evidence": {"by": "picture", "against": "neighbours", **_tested(suspect, blamed, failures)},
                "examples": named(described),
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


def _tested(suspect: Suspect, blamed: Sequence[Case], failures: Sequence[Failure]) -> dict[str, Any]:
    numbers = [n for case in blamed for n in case.failures]
    return {
        "cases": len(blamed),
        "expected_cases": rounded(suspect.expected_cases),
        "ratio": rounded(suspect.ratio),
        "p": rounded(suspect.p),
        "q": rounded(suspect.q),
        "failures": numbers,
        "problems": sorted({problem for n in numbers if (problem := failures[n].problem)}),
    }


def _ranked(rows: Sequence[int]) -> list[int]:
    """Return the distinct rows, those named most often first, then as they came."""
    order = {row: place for place, row in reversed(list(enumerate(rows)))}
    often = {row: rows.count(row) for row in order}
    return sorted(order, key=lambda row: (-often[row], order[row]))
