"""The truth of an altered set, and the arithmetic of precision, recall, lost images and duplicates left.

Every file names its source picture, the box of it that is to be seen, and the share of the file that shows it. For two files
of one source, the common share of a file is the part of its area that shows what the other shows as well. The pair is
    a copy       when the common share of both is at least 1/2 (copies of one original among each other, too),
    different    when it is below 1/4 in both (disjoint or barely overlapping tiles),
    neutral      otherwise (containment: a small cut-out and its original): neither right nor wrong.
Files of different sources are different. Two tiles of one picture without any structure (kind `plain`: sky, paper) are neutral:
nobody can tell them apart.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import combinations
from pathlib import Path

MIN_COPY_SHARE = 0.5
MAX_DIFFERENT_SHARE = 0.25

Pair = tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """One line of truth.csv."""

    path: str
    source: str
    kind: str  # of the alteration, or of the look-alike
    strength: str  # weak, strong, or empty
    role: str  # original, copy, part, lookalike
    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0
    share: float = 1.0


def write_truth(path: Path, entries: Sequence[Entry]) -> None:
    """Write truth.csv; no tool may take it for a list of images, so its first column is called `name`."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["name", *(column.name for column in fields(Entry)[1:])])
        writer.writerows([[f"{v:.4f}" if isinstance(v, float) else v for v in astuple(entry)] for entry in entries])


def read_truth(path: Path) -> list[Entry]:
    """Return the lines of truth.csv."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))[1:]
    return [Entry(path, source, kind, strength, role, *map(float, box)) for path, source, kind, strength, role, *box in rows]


def relation(a: Entry, b: Entry) -> str:
    """Return copy, different or neutral."""
    if a.source != b.source:
        return "different"
    across = min(a.right, b.right) - max(a.left, b.left)
    down = min(a.bottom, b.bottom) - max(a.top, b.top)
    common = max(across, 0.0) * max(down, 0.0)
    shares = [common * e.share / ((e.right - e.left) * (e.bottom - e.top)) for e in (a, b)]
    if min(shares) >= MIN_COPY_SHARE:
        return "copy"
    return "different" if max(shares) < MAX_DIFFERENT_SHARE and {a.kind, b.kind} != {"plain"} else "neutral"


@dataclass(frozen=True)
class Truth:
    """The pairs of a set, by place in `entries`; a pair in neither set is different."""

    entries: list[Entry]
    copies: frozenset[Pair]
    neutral: frozenset[Pair]
    groups: list[int]  # for each entry the smallest place that a chain of copies leads to

    @classmethod
    def of(cls, entries: list[Entry]) -> "Truth":
        """Return the relations of all pairs of `entries`."""
        families: dict[str, list[int]] = {}
        for place, entry in enumerate(entries):
            families.setdefault(entry.source, []).append(place)
        found: dict[str, set[Pair]] = {"copy": set(), "neutral": set(), "different": set()}
        for family in families.values():
            for a, b in combinations(family, 2):
                found[relation(entries[a], entries[b])].add((a, b))
        return cls(entries, frozenset(found["copy"]), frozenset(found["neutral"]), components(len(entries), found["copy"]))


def components(count: int, pairs: Iterable[Pair]) -> list[int]:
    """Return for each of `count` places the smallest place it is connected with."""
    root = list(range(count))

    def find(place: int) -> int:
        while root[place] != place:
            root[place] = place = root[root[place]]
        return place

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        root[high] = low
    return [find(place) for place in range(count)]


def closure(labels: Sequence[int]) -> set[Pair]:
    """Return every pair of places with one label."""
    members: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        members.setdefault(label, []).append(place)
    return {pair for group in members.values() for pair in combinations(group, 2)}


@dataclass(frozen=True)
class Score:
    """How well pairs were found; see the functions below for its numbers."""

    precision: float
    recall: float
    true_pairs: int
    false_pairs: int
    missed_pairs: int
    by_kind: dict[str, tuple[int, int]]  # "kind strength" -> copies joined with their original, copies
    false_by_kind: dict[str, int]  # "kind + kind" of the two files -> false pairs


def score(truth: Truth, found: Iterable[Pair]) -> Score:
    """Return precision and recall of the pairs `found` (place_a < place_b); neutral pairs count in neither."""
    pairs = set(found)
    right, wrong = len(pairs & truth.copies), sorted(pairs - truth.copies - truth.neutral)
    false_by_kind: dict[str, int] = {}
    for a, b in wrong:
        name = " + ".join(sorted(truth.entries[place].kind for place in (a, b)))
        false_by_kind[name] = false_by_kind.get(name, 0) + 1
    return Score(
        precision=right / max(right + len(wrong), 1),
        recall=right / max(len(truth.copies), 1),
        true_pairs=right,
        false_pairs=len(wrong),
        missed_pairs=len(truth.copies) - right,
        by_kind=_by_kind(truth, pairs),
        false_by_kind=dict(sorted(false_by_kind.items(), key=lambda item: -item[1])),
    )


def _by_kind(truth: Truth, pairs: set[Pair]) -> dict[str, tuple[int, int]]:
    originals = {entry.source: place for place, entry in enumerate(truth.entries) if entry.role == "original"}
    counts: dict[str, tuple[int, int]] = {}
    for place, entry in enumerate(truth.entries):
        if entry.role != "copy":
            continue
        origin = originals[entry.source]
        pair = (min(origin, place), max(origin, place))
        if pair in truth.copies:
            joined, total = counts.get(f"{entry.kind} {entry.strength}", (0, 0))
            counts[f"{entry.kind} {entry.strength}"] = (joined + (pair in pairs), total + 1)
    return dict(sorted(counts.items()))


@dataclass(frozen=True)
class Survivors:
    """What a collection looks like after every duplicate was dropped."""

    kept: int
    distinct_lost: int  # groups of copies of which nothing survives
    duplicates_left: int  # survivors beyond the first of each group
    wrong_drops: int  # dropped images whose keeper shows something else


def survivors(truth: Truth, keepers: Sequence[int]) -> Survivors:
    """Return the outcome when place i is represented by keepers[i], itself when it is kept.

    An image dropped for one that contains it, or is part of it, is not lost: the pair is neutral.
    """
    groups: dict[int, list[int]] = {}
    for place, group in enumerate(truth.groups):
        groups.setdefault(group, []).append(place)
    wrong = {
        place
        for place, keeper in enumerate(keepers)
        if keeper != place
        and (pair := (min(place, keeper), max(place, keeper))) not in truth.copies
        and pair not in truth.neutral
    }
    kept = {place for place, keeper in enumerate(keepers) if keeper == place}
    alive = [sum(place in kept for place in members) for members in groups.values()]
    lost = sum(not n and wrong.issuperset(members) for n, members in zip(alive, groups.values(), strict=True))
    return Survivors(len(kept), lost, sum(max(n - 1, 0) for n in alive), len(wrong))


def keepers_of(labels: Sequence[int], preference: Sequence[float]) -> list[int]:
    """Return for each place the member of its group with the highest preference, the first at a tie."""
    best: dict[int, int] = {}
    for place, label in enumerate(labels):
        if label not in best or preference[place] > preference[best[label]]:
            best[label] = place
    return [best[label] for label in labels]
