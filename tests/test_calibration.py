"""Thresholds keep the precision they promise, on photographs and on closed forms; what a sample cannot support is refused."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from image_rows import image_rows, save
from scipy.stats import binomtest
from skimage import data
from sklearn.datasets import load_sample_image

from curation.alterations import alterations, altered, spread
from curation.embedding import Embedder
from curation.errors import ConfigError
from curation.metrics import profile
from curation.tables import Cost, Run
from graph.calibration import hash_closeness, knee, largest_components, operating_curve, propose, relations, wilson
from graph.edges import edge_table
from graph.knn import embedding_matrix
from jobs.calibrate import calibrate, pdq_of
from jobs.calibration_view import write
from jobs.config import read_config

MODEL = "thumbnail_encoder:Thumbnail"
PHOTOS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "retina", "rocket")
SAMPLE, SEED, PRECISION = 60, 3, 0.9


def tiles() -> Iterator[np.ndarray]:
    """Yield the disjoint tiles of each photograph that are not sky: images of their own, those of coins and bricks alike."""
    for picture in [
        *(getattr(data, name)() for name in PHOTOS),
        *(load_sample_image(name) for name in ("china.jpg", "flower.jpg")),
    ]:
        colour = np.repeat(picture[:, :, None], 3, 2) if picture.ndim == 2 else picture[:, :, :3]
        height, width = colour.shape[0] // 4, colour.shape[1] // 4
        for y, x in product(range(4), range(4)):
            tile = np.ascontiguousarray(colour[y * height : (y + 1) * height, x * width : (x + 1) * width])
            if tile.std() > 25:
                yield tile


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of photographs, complete up to embed."""
    folder = tmp_path_factory.mktemp("tiles")
    images = image_rows([save(folder, f"{number:03d}.png", pixels) for number, pixels in enumerate(tiles())])
    run = Run(folder / "run")
    for table, rows in (
        ("images", images),
        ("metrics", profile(images=images)),
        ("embeddings", Embedder(model=MODEL)(images=images)),
    ):
        run.commit_part(table, 0, rows, fingerprint="f", cost=Cost(0, 0))
        run.finish(table, {"parameters": {"model": MODEL} if table == "embeddings" else {}})
    return run


@pytest.fixture(scope="module")
def found(run: Run) -> dict[str, object]:
    return calibrate(run, sample=SAMPLE, precision=PRECISION, copies_per_image=1.0, seed=SEED)


@pytest.fixture(scope="module")
def copies(run: Run) -> tuple[list[np.ndarray], np.ndarray]:
    """Held-out alterations of images that were not in the sample, and the rows of their originals."""
    used = np.random.default_rng(SEED).choice(len(run.read("images")), SAMPLE, replace=False)
    others = np.setdiff1d(np.arange(len(run.read("images"))), used)[::3]
    pictures = list(tiles())
    made = [
        (row, pixels)
        for turn, row in enumerate(others)
        for _, pixels in altered(pictures[row], spread(alterations(held_out=True), 6, turn=turn), np.random.default_rng(row))
    ]
    return [pixels for _, pixels in made], np.array([row for row, _ in made])


def test_the_promise_of_the_cosine_holds_for_held_out_alterations_of_other_images(run: Run, found: dict, copies: tuple) -> None:
    pictures, originals = copies
    proposed = found["thresholds"]["cosine"]
    answers = Embedder(model=MODEL).vectors(pictures) @ embedding_matrix(run.read("embeddings")).T >= proposed["value"]
    right = answers[np.arange(len(pictures)), originals].sum()
    assert right / answers.sum() >= PRECISION
    assert right / len(pictures) >= proposed["recall_low"] - 0.05  # other strengths, other images


def test_the_promise_of_the_hash_holds_for_held_out_alterations_of_other_images(run: Run, found: dict, copies: tuple) -> None:
    pictures, originals = copies
    proposed = propose(pa.table(found["curves"]["hash"]), precision=PRECISION)
    forms = run.read("metrics", ["pdq_dihedral"])["pdq_dihedral"].to_pylist()
    closeness = np.array([hash_closeness([pdq_of(pixels)] * len(forms), forms) for pixels in pictures])
    answers = closeness >= proposed.value
    right = answers[np.arange(len(pictures)), originals].sum()
    assert right / answers.sum() >= PRECISION
    assert right / len(pictures) >= proposed.recall_low - 0.05


def test_every_measure_reports_its_bounds_in_order(found: dict) -> None:
    for threshold in found["thresholds"].values():
        assert PRECISION <= threshold["precision_low"] <= threshold["precision"]
        assert threshold["recall_low"] <= threshold["recall"]
    assert found["held_out"]["copies"] == 4 * SAMPLE
    assert found["candidates"]["recall_at"]["20"] >= 0.9


def test_the_snippet_is_a_valid_configuration(found: dict, tmp_path: Path) -> None:
    path = tmp_path / "proposed.yaml"
    path.write_text(found["snippet"])
    config = read_config(path, {"source": "a", "out": "b"})
    assert config.communities.keeper_similarity >= found["thresholds"]["cosine"]["value"]
    assert config.fast.max_distance == round((1 - found["thresholds"]["hash"]["value"]) * 256)
    assert config.join.min_similarity <= config.communities.keeper_similarity <= config.components.min_similarity


def test_the_page_holds_the_plot_and_the_snippet(found: dict, tmp_path: Path) -> None:
    write(found, tmp_path)
    page = (tmp_path / "calibration.html").read_text()
    assert "data:image/png;base64," in page
    assert "min_similarity" in page
    assert 'src="http' not in page


def test_a_precision_beyond_the_sample_is_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"--precision 0\.9999 cannot be promised from these images: the best bound is 0\."):
        calibrate(run, sample=2, precision=0.9999, copies_per_image=1.0, tuning_per_image=2, held_out_per_image=1, max_looked=1)


def test_a_run_without_embeddings_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run it with --until embed first"):
        calibrate(Run(tmp_path))


@pytest.mark.parametrize(("successes", "total"), [(0, 10), (3, 40), (40, 40), (399, 400)])
def test_wilson_bounds_are_those_of_scipy(successes: int, total: int) -> None:
    low, high = wilson(successes, total)
    interval = binomtest(successes, total).proportion_ci(confidence_level=0.9, method="wilson")
    assert (float(low), float(high)) == pytest.approx((interval.low, interval.high), abs=1e-4)


def curve_of(false: list[float], *, rate: float = 1.0) -> object:
    copies = np.linspace(0.5, 1, 2001)
    rows = np.arange(len(false), dtype=np.int64)
    return operating_curve(
        copies=copies,
        originals=np.arange(2001),
        false_pairs=(rows, rows + 5000, np.array(false)),
        answers=(rows[:0], np.empty(0)),
        num_images=10_000,
        copies_per_image=rate,
    )


def test_without_false_pairs_the_lowest_threshold_is_proposed() -> None:
    assert propose(curve_of([]), precision=0.99).value == 0.0


def test_the_threshold_lies_above_the_false_pairs_it_must_exclude() -> None:
    found = propose(curve_of([0.8] * 500 + [0.6] * 500), precision=0.99)
    assert 0.8 < found.value < 0.803
    assert found.recall == pytest.approx((1 - found.value) / 0.5, abs=1e-3)


def test_fewer_copies_in_the_collection_ask_for_a_higher_threshold_or_none() -> None:
    false = list(np.linspace(0.5, 0.9, 200))
    assert propose(curve_of(false, rate=1.0), precision=0.95).value < propose(curve_of(false, rate=0.1), precision=0.95).value
    with pytest.raises(ConfigError, match="cannot be promised"):
        propose(curve_of(false, rate=0.001), precision=0.95)


def test_pairs_are_looked_at_from_the_top_until_enough_were_false() -> None:
    pairs = edge_table(row_a=np.arange(1000), row_b=np.arange(1000) + 1, similarity=np.linspace(1, 0, 1000, dtype=np.float32))
    asked: list[int] = []

    def look(some: object) -> list[str]:
        asked.extend(some["row_a"].to_pylist())
        return ["copy" if row < 300 else "different" for row in some["row_a"].to_pylist()]

    answers = relations(pairs=pairs, look=look, max_false=10, max_looked=2000)
    assert asked == list(range(512))
    assert (answers.count("copy"), answers.count("different"), answers.count("unseen")) == (300, 212, 488)


def test_the_largest_component_shrinks_as_the_threshold_rises() -> None:
    chain = edge_table(row_a=np.arange(99), row_b=np.arange(99) + 1, similarity=np.tile([0.6, 0.8, 0.9], 33).astype(np.float32))
    steps = largest_components(pairs=chain, num_images=100, thresholds=np.array([0.5, 0.7, 0.85, 0.95]))
    assert steps["largest"].to_pylist() == [100, 3, 2, 1]
    assert knee(steps, num_images=100) == 0.7
