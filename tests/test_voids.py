"""Voids: regions against planted ones, counts against arithmetic, and the verb on small runs."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from searchable import write_run, write_table

from curation.errors import ConfigError
from curation.schema import HIERARCHY, conform
from curation.tables import Run
from graph.regions import find_regions, inside, num_regions, region_means, regions_of, sort_into, with_floors
from graph.search import corpus_mean
from graph.voids import concept_voids, distinct_voids, distinctive_terms, region_voids, visible_share
from jobs.concepts import read_concepts
from jobs.void_regions import CENTROIDS
from jobs.voids import find_voids

MODES = 6


def mixture(sizes: list[int], *, seed: int = 0, dimension: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors about MODES directions, shuffled, with their modes; the modes do not depend on the seed."""
    centres = np.random.default_rng(42).normal(size=(MODES, dimension))
    generator = np.random.default_rng(seed)
    modes = generator.permutation(np.repeat(np.arange(MODES), sizes))
    found = centres[modes] + 0.25 * generator.normal(size=(len(modes), dimension))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32), modes


def in_parts(matrix: np.ndarray, rows: int = 97) -> list[tuple[int, np.ndarray]]:
    return [(start, matrix[start : start + rows]) for start in range(0, len(matrix), rows)]


def test_regions_do_not_mix_planted_modes_and_strangers_lie_in_none() -> None:
    vectors, modes = mixture([100] * MODES)
    parts = in_parts(vectors)
    found = find_regions(parts=parts, mean=corpus_mean(lambda: parts), num=3 * MODES, num_images=len(vectors))
    labels, cosine = sort_into(found, parts=parts, num_rows=len(vectors))
    assert len({(int(a), int(b)) for a, b in zip(labels, modes, strict=True)}) == len(found.centroids)
    found = with_floors(found, labels=labels, cosine=cosine)
    assert 0.9 <= (inside(found, labels, cosine) >= 0).mean() <= 0.97
    strangers = np.random.default_rng(7).normal(size=(200, vectors.shape[1])).astype(np.float32)
    far = inside(found, *sort_into(found, parts=in_parts(strangers), num_rows=200))
    assert (far == -1).all()


def test_a_known_partition_gives_regions_of_its_larger_communities() -> None:
    vectors, modes = mixture([100, 100, 100, 100, 100, 5])
    parts = in_parts(vectors)
    names = np.where(modes == 5, 900, 7 * modes).astype(np.int32)
    found = regions_of(labels=names, parts=parts, mean=corpus_mean(lambda: parts), min_images=12)
    labels, _ = sort_into(found, parts=parts, num_rows=len(vectors))
    assert (labels[modes < 5] == modes[modes < 5]).all()
    assert len(found.centroids) == 5


def test_regions_do_not_depend_on_how_parts_are_cut_and_skip_failed_rows() -> None:
    vectors, _ = mixture([60] * MODES)
    vectors[[5, 100]] = np.nan
    found = [
        find_regions(
            parts=in_parts(vectors, rows), mean=corpus_mean(lambda: in_parts(vectors)), num=MODES, num_images=len(vectors)
        )
        for rows in (97, 360)
    ]
    assert np.array_equal(found[0].centroids, found[1].centroids)
    labels, cosine = sort_into(found[0], parts=in_parts(vectors), num_rows=len(vectors))
    assert labels[[5, 100]].tolist() == [-1, -1]
    assert np.isnan(cosine[[5, 100]]).all()
    means = region_means(parts=in_parts(vectors), labels=labels, num=MODES, dimension=vectors.shape[1])
    direct = vectors[labels == 2].mean(0)
    assert means[2] == pytest.approx(direct / np.linalg.norm(direct), abs=1e-5)


@pytest.mark.parametrize(("images", "regions"), [(0, 1), (2, 1), (50, 5), (20_000, 100), (10**9, 4096)])
def test_the_number_of_regions_grows_with_the_root(images: int, regions: int) -> None:
    assert num_regions(images) == regions


def test_a_planted_void_is_found_and_nothing_else() -> None:
    reference = np.array([200, 200, 200, 200, 200, 0])
    own = np.array([100, 98, 103, 10, 101, 99])
    (void,) = region_voids([(reference, own)], num_reference=1000, num_own=511)
    assert (void.number, void.reference_images, void.own_images) == (3, 200, 10)
    assert void.deficit == pytest.approx(0.2 - 10 / 511)
    assert void.deficit_low < void.deficit < void.deficit_high
    assert void.images_to_fetch == np.ceil(0.2 * 511) - 10
    assert void.q >= void.p  # type: ignore[operator]


def test_the_same_mixture_has_no_void_in_nineteen_of_twenty_draws() -> None:
    generator = np.random.default_rng(1)
    shares = generator.dirichlet(np.ones(40))
    with_voids = sum(
        bool(
            region_voids(
                [(generator.multinomial(3000, shares), generator.multinomial(1000, shares))], num_reference=3000, num_own=1000
            )
        )
        for _ in range(200)
    )
    assert with_voids <= 20  # at most 5 % are expected; 20 of 200 is four standard deviations above


def test_a_lack_is_told_once_at_the_level_that_shows_it() -> None:
    coarse, fine = np.repeat([0, 1], 100).astype(np.int32), np.repeat([0, 1, 2, 3], 50).astype(np.int32)
    hollow = [(np.array([100, 100]), np.array([2, 198])), (np.array([50, 50, 50, 50]), np.array([1, 1, 3, 195]))]
    found = region_voids(hollow, num_reference=200, num_own=200)
    assert {(void.level, void.number) for void in found} == {(0, 0), (1, 0), (1, 1), (1, 2)}
    assert [(void.level, void.number) for void in distinct_voids(found, [coarse, fine])] == [(0, 0), (1, 2)]
    mixed = [(np.array([100, 100]), np.array([60, 140])), (np.array([50, 50, 50, 50]), np.array([2, 58, 70, 70]))]
    found = region_voids(mixed, num_reference=200, num_own=200)
    assert {(void.level, void.number) for void in found} == {(0, 0), (1, 0)}
    assert [(void.level, void.number) for void in distinct_voids(found, [coarse, fine])] == [(1, 0)]


def test_concepts_below_their_share_are_voids_with_the_missing_number() -> None:
    found = concept_voids(own=np.array([0, 5, 30]), num_own=1000, target_shares=np.array([0.02, 0.02, 0.02]))
    assert [(void.number, void.images_to_fetch) for void in found] == [(0, 20), (1, 15)]
    assert found[0].deficit_low < 0.02 == found[0].deficit_high


def test_telling_terms_are_common_inside_and_rare_outside() -> None:
    inside_terms = [["fox", "snow", "the"]] * 8 + [["snow", "the"]] * 2
    whole = {"fox": 9, "snow": 400, "the": 1000}
    assert distinctive_terms(inside=inside_terms, whole=whole, num_whole=1000) == ["fox", "snow"]


REFERENCE = ["red"] * 24 + ["green"] * 24 + ["blue"] * 24
OWN = ["red"] * 24 + ["green"] * 22 + ["blue"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """Our own run, which has next to no blue, and the reference."""
    root = tmp_path_factory.mktemp("voids")
    return write_run(root / "own", OWN, first_seed=500), write_run(root / "reference", REFERENCE)


def test_the_colour_that_is_missing_becomes_queries_in_two_languages(runs: tuple[Run, Run], tmp_path: Path) -> None:
    own, reference = runs
    find_voids(own, reference=reference, concepts=None, out=tmp_path, regions=3)
    (line,) = [json.loads(line) for line in (tmp_path / "voids.jsonl").read_text(encoding="utf-8").splitlines()]
    assert "blue" in line["terms"][0]
    assert any("blue" in query for query in line["queries"]["en"])
    assert any("蓝色" in query for query in line["queries"]["zh"])
    assert line["own_images"] <= 1
    assert 12 <= line["images_to_fetch"] <= 16
    assert all(one["key"].endswith("-blue.png") for one in line["examples"])
    centroid = np.load(tmp_path / CENTROIDS)[line["centroid"]["row"]]
    assert np.linalg.norm(centroid) == pytest.approx(1.0, abs=1e-5)
    assert int(np.argmax(centroid)) == 2
    page = (tmp_path / "voids.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert 'src="data:image/png;base64,' in page


def test_a_run_against_itself_has_no_void(runs: tuple[Run, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    find_voids(runs[1], reference=runs[1], concepts=None, out=tmp_path)
    assert (tmp_path / "voids.jsonl").read_text() == ""
    assert "0 voids" in capsys.readouterr().out
    assert "No void" in (tmp_path / "voids.html").read_text(encoding="utf-8")


def test_two_searches_for_voids_give_the_same_bytes(runs: tuple[Run, Run], tmp_path: Path) -> None:
    for folder in ("a", "b"):
        find_voids(runs[0], reference=runs[1], concepts=None, out=tmp_path / folder, regions=3)
    for name in ("voids.jsonl", "voids.html", CENTROIDS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_reference_with_semantic_levels_is_divided_by_them(runs: tuple[Run, Run], tmp_path: Path) -> None:
    own, _ = runs
    levelled = write_run(tmp_path / "levelled", REFERENCE)
    communities = np.repeat([0, 24, 48], 24)
    rows = {"id": levelled.read("images")["id"]} | {f"level_{level}": np.append(communities, 72) for level in range(3)}
    write_table(levelled, "hierarchy", conform(pa.table(rows), HIERARCHY))
    find_voids(own, reference=levelled, concepts=None, out=tmp_path)
    (line,) = [json.loads(line) for line in (tmp_path / "voids.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (line["level"], line["region"], line["own_images"]) == (0, 2, 1)
    assert "blue" in line["terms"][0]


def test_concepts_are_counted_by_words_in_either_language(runs: tuple[Run, Run], tmp_path: Path) -> None:
    listed = [
        {"concept": "blue", "zh": "蓝色", "images": 5},
        {"en": "red square"},
        {"zh": "绿色方块", "share": 0.4},
        {"text": "squirrel"},
        "unicorn",
    ]
    path = tmp_path / "concepts.jsonl"
    path.write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in listed), encoding="utf-8")
    find_voids(runs[0], reference=None, concepts=path, out=tmp_path, at_least=10)
    found = [json.loads(line) for line in (tmp_path / "voids.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["concept"]: (line["own_images"], line["images_to_fetch"]) for line in found} == {
        "squirrel": (0, 10),
        "unicorn": (0, 10),
        "blue": (1, 4),
    }
    blue = next(line for line in found if line["concept"] == "blue")
    assert blue["queries"] == {"en": ["blue"], "zh": ["蓝色"]}
    assert blue["nearest_own"][0]["key"].endswith("-blue.png")  # by the text tower


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "{", "line 1 is no JSON"),
        ("a.jsonl", "[1]", "line 1 must be an object"),
        ("a.jsonl", '{"share": 0.1}', "line 1 has no phrase"),
        ("a.jsonl", '{"text": "x", "share": 2}', r"share is 2; it must lie in \(0, 1\]"),
        ("a.jsonl", '{"text": "x", "images": 1.5}', "whole number"),
        ("a.csv", "concept,share\nfox,much\n", "line 2: share is 'much', which is no number"),
        ("a.txt", "\n \n", "holds no concept"),
        ("a.txt", None, "cannot be read"),
    ],
)
def test_a_wrong_list_of_concepts_is_told_by_line(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_concepts(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_lists_of_concepts_are_read_in_three_formats(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\ufeffred fox\n\n松鼠鱼\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text("en,zh,share\nred fox,赤狐,0.1\n", encoding="utf-8")
    assert [one.phrases for one in read_concepts(tmp_path / "a.txt")] == [{"en": ("red fox",)}, {"zh": ("松鼠鱼",)}]
    (fox,) = read_concepts(tmp_path / "a.csv")
    assert (fox.phrases, fox.share, fox.name) == ({"en": ("red fox",), "zh": ("赤狐",)}, 0.1, "red fox")


def test_vectors_of_two_models_cannot_meet(runs: tuple[Run, Run], tmp_path: Path) -> None:
    other = write_run(tmp_path, ["red"], encoder="BlindEncoder")
    with pytest.raises(ConfigError, match="vectors of two models cannot meet"):
        find_voids(runs[0], reference=other, concepts=None, out=tmp_path)
    with pytest.raises(ConfigError, match="exactly one of --reference and --concepts"):
        find_voids(runs[0], reference=None, concepts=None, out=tmp_path)


@pytest.mark.parametrize("num_own", [10, 400])
def test_what_few_images_can_show_is_the_smallest_region_that_is_found(num_own: int) -> None:
    least = round(200 * visible_share(num_reference=200, num_own=num_own))
    found = [bool(region_voids([(np.array([size]), np.array([0]))], num_reference=200, num_own=num_own)) for size in range(200)]
    assert found.index(True) == least
    assert all(found[least:])
    assert least / 200 > 1 - 0.05 ** (1 / num_own)  # a chance of (1 - s)^n to hold none of n
