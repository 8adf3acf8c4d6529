"""The benchmark of deduplication: its truth is what was done to the pictures, and its arithmetic is right."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from benchmarks.altered import KINDS, STRENGTHS, Altered, alter, part
from benchmarks.altered_set import deal, make_set
from benchmarks.background import KS, recalls_planted
from benchmarks.lookalikes import rendered, tiles
from benchmarks.truth import Entry, Truth, closure, components, keepers_of, read_truth, relation, score, survivors

PICTURES = (
    "astronaut",
    "coffee",
    "chelsea",
    "rocket",
    "camera",
    "brick",
    "grass",
    "gravel",
    "coins",
    "moon",
    "page",
    "text",
    "cell",
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    for place, name in enumerate(PICTURES):
        target = folder / ("objects" if name == "cell" else "photos") / f"{place:02d}-{name}.png"
        target.parent.mkdir(exist_ok=True)
        picture = Image.fromarray(getattr(data, name)()).convert("RGB")
        picture.thumbnail((200, 200))
        picture.save(target)
    return folder


@pytest.fixture(scope="module")
def made(photos: Path) -> tuple[Path, list[Entry]]:
    out = photos / "set"
    return out, make_set(photos, out, ranges="dev", seed=3, copies=4, per_kind=1)


def test_every_file_is_listed_once_and_readable(made: tuple[Path, list[Entry]]) -> None:
    folder, entries = made
    assert sorted(entry.path for entry in entries) == sorted(p.name for p in folder.iterdir() if p.name != "truth.csv")
    assert {entry.path: entry.source for entry in entries} == {e.path: e.source for e in read_truth(folder / "truth.csv")}
    for entry in entries:
        with Image.open(folder / entry.path) as opened:
            opened.load()


def test_one_seed_gives_the_same_bytes_and_another_gives_others(photos: Path, made: tuple[Path, list[Entry]]) -> None:
    folder, entries = made
    again, other = photos / "again", photos / "other"
    assert make_set(photos, again, ranges="dev", seed=3, copies=4, per_kind=1) == entries
    assert all((again / e.path).read_bytes() == (folder / e.path).read_bytes() for e in entries)
    make_set(photos, other, ranges="dev", seed=4, copies=1, per_kind=1)
    assert read_truth(other / "truth.csv")[0] not in entries


def test_look_alikes_are_never_copies_of_anything(made: tuple[Path, list[Entry]]) -> None:
    truth = Truth.of(made[1])
    involved = {place for pair in truth.copies for place in pair}
    assert not [entry for place, entry in enumerate(truth.entries) if entry.role in ("lookalike", "part") and place in involved]
    assert {entry.kind for entry in truth.entries if entry.role == "lookalike"} <= {
        "tile", "plain", "whole", "objects", "page", "window", "poster", "chart", "stars",
    }  # fmt: skip


def test_every_copy_is_a_copy_of_its_original(made: tuple[Path, list[Entry]]) -> None:
    truth = Truth.of(made[1])
    origin = {entry.source: place for place, entry in enumerate(truth.entries) if entry.role == "original"}
    copies = [(place, entry) for place, entry in enumerate(truth.entries) if entry.role == "copy"]
    pairs = [(min(place, origin[entry.source]), max(place, origin[entry.source])) for place, entry in copies]
    assert len(origin) == 11 and len(copies) == 11 * 4 + 2
    assert sum(pair in truth.copies for pair in pairs) >= 0.97 * len(pairs)  # the widest frames fall short of a half


@pytest.mark.parametrize("kind", KINDS)
def test_an_alteration_says_what_it_shows(kind: str) -> None:
    image = Image.fromarray(data.astronaut()).resize((300, 200))
    for strength in STRENGTHS:
        for ranges in ("dev", "test"):
            found = alter(image, kind=kind, strength=strength, ranges=ranges, generator=np.random.default_rng(1))  # type: ignore[arg-type]
            left, top, right, bottom = found.box
            assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1 and 0 < found.share <= 1
            assert (right - left) * (bottom - top) >= 0.5
            assert isinstance(found, Altered) and found.encoded()


def test_a_part_shows_less_than_half() -> None:
    image = Image.fromarray(data.astronaut())
    for seed in range(6):
        found = part(image, generator=np.random.default_rng(seed))
        entry = Entry("b", "s", "part", "", "part", *found.box, found.share)
        assert relation(Entry("a", "s", "", "", "original"), entry) == "neutral"


def test_copies_are_dealt_evenly_and_never_twice_to_one_picture() -> None:
    hands = deal(23, 12, seed=5)
    counts = {cell: sum(cell in hand for hand in hands) for hand in hands for cell in hand}
    assert all(len(set(hand)) == 12 for hand in hands)
    assert len(counts) == 2 * len(KINDS) and max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("overlap", [0, 1 / 8])
def test_tiles_cover_the_picture_and_are_no_copies(overlap: float) -> None:
    image = Image.fromarray(data.astronaut())
    boxes = [box for box, _ in tiles(image, side_px=160, overlap=overlap)]
    entries = [Entry(str(n), "s", "tile", "", "lookalike", *box) for n, box in enumerate(boxes)]
    assert len(entries) == 9 and max(box[2] for box in boxes) == max(box[3] for box in boxes) == pytest.approx(1)
    assert {relation(a, b) for a, b in combinations(entries, 2)} == {"different"}
    assert boxes[0][2] - boxes[1][0] == pytest.approx(overlap * (boxes[0][2] - boxes[0][0]))
    assert {relation(Entry("w", "s", "whole", "", "lookalike"), entry) for entry in entries} == {"neutral"}


def test_rendered_look_alikes_differ() -> None:
    drawn = list(rendered(per_kind=3, families=1, seed=1))
    for (kind_a, a), (kind_b, b) in combinations(drawn, 2):
        assert kind_a != kind_b or np.abs(np.asarray(a, int) - np.asarray(b, int)).max() > 100


def test_relation_follows_the_common_share() -> None:
    whole = Entry("a", "s", "", "", "original")
    assert relation(whole, Entry("b", "s", "", "", "copy", 0, 0, 1, 0.5)) == "copy"
    assert relation(whole, Entry("b", "s", "", "", "part", 0, 0, 1, 0.49)) == "neutral"
    assert relation(whole, Entry("b", "s", "", "", "copy", share=0.49)) == "neutral"
    assert relation(whole, Entry("b", "t", "", "", "copy")) == "different"
    top, low = Entry("b", "s", "", "", "part", 0, 0, 1, 0.5), Entry("c", "s", "", "", "part", 0, 0.4, 1, 0.9)
    assert relation(top, low) == "different"  # a fifth in common
    sky = [Entry(str(n), "s", "plain", "", "lookalike", n / 4, 0, (n + 1) / 4, 1) for n in range(2)]
    assert relation(*sky) == "neutral" and relation(sky[0], Entry("b", "s", "tile", "", "lookalike", 0.5, 0, 1, 1)) == "different"


def small_truth() -> Truth:
    """Return two originals with two copies each, a cut-out of the first, and a picture of its own."""
    rows = [("a", "original"), ("a", "copy"), ("a", "copy"), ("b", "original"), ("b", "copy"), ("b", "copy")]
    entries = [Entry(str(n), source, "jpeg" if role == "copy" else role, "weak", role) for n, (source, role) in enumerate(rows)]
    return Truth.of([*entries, Entry("6", "a", "part", "", "part", 0, 0, 0.5, 0.5), Entry("7", "c", "series", "", "lookalike")])


def test_precision_and_recall_match_counts_by_hand() -> None:
    truth = small_truth()
    assert len(truth.copies) == 6 and len(truth.neutral) == 3
    result = score(truth, [(0, 1), (1, 2), (3, 4), (0, 3), (0, 6), (4, 7)])
    assert (result.true_pairs, result.false_pairs, result.missed_pairs) == (3, 2, 3)
    assert result.precision == 3 / 5 and result.recall == 3 / 6
    assert result.by_kind == {"jpeg weak": (2, 4)}
    assert result.false_by_kind == {"original + original": 1, "jpeg + series": 1}


def test_lost_and_left_match_counts_by_hand() -> None:
    truth = small_truth()
    perfect = survivors(truth, [0, 0, 0, 3, 3, 3, 6, 7])
    assert (perfect.kept, perfect.distinct_lost, perfect.duplicates_left, perfect.wrong_drops) == (4, 0, 0, 0)
    assert survivors(truth, [0, 0, 0, 3, 3, 3, 0, 7]).distinct_lost == 0  # dropped for what contains it
    worst = survivors(truth, [0, 0, 2, 0, 0, 0, 6, 0])
    assert (worst.kept, worst.distinct_lost, worst.duplicates_left, worst.wrong_drops) == (3, 2, 1, 4)


def test_components_and_closure_invert_each_other() -> None:
    labels = components(6, [(0, 1), (1, 4), (2, 3)])
    assert labels == [0, 0, 2, 2, 0, 5]
    assert closure(labels) == {(0, 1), (0, 4), (1, 4), (2, 3)}
    assert keepers_of(labels, [1, 5, 2, 2, 5, 0]) == [1, 1, 2, 2, 1, 5]


def test_a_copy_hidden_behind_nearer_pictures_needs_a_larger_k() -> None:
    rows = [("a", "original"), ("a", "copy"), ("b", "original"), ("b", "copy")]
    truth = Truth.of([Entry(str(n), source, "jpeg", "weak", role) for n, (source, role) in enumerate(rows)])
    generator = np.random.default_rng(0)
    centre = generator.standard_normal((2, 64))
    near, far = 0.01, 0.3
    noise = generator.standard_normal((4, 64)) * np.array([near, near, far, far])[:, None]
    planted = (centre[[0, 0, 1, 1]] + noise).astype(np.float32)
    hiding = (planted[[2, 3]].repeat(15, axis=0) + 0.1 * generator.standard_normal((30, 64))).astype(np.float32)
    found = recalls_planted(truth, planted, hiding)
    assert {k: recall for k, (recall, _) in found.items()} == {k: 0.5 if k < 15 else 1.0 for k in KS}
