"""Near pairs: the band, mutual neighbours, one group, one size, no copies; and the structural similarity of scikit-image."""

import numpy as np
import pyarrow as pa
import pytest
from skimage import data
from skimage.metrics import structural_similarity

from curation.schema import EDGES, VERDICTS
from graph.near_pairs import near_pairs, ssim

EDGE_ROWS = [(0, 1, 0.9), (0, 2, 0.5), (0, 3, 0.99), (1, 2, 0.8), (2, 3, 0.85), (3, 4, 0.9), (4, 5, 0.9)]
IMAGES = pa.table(
    {"group": ["a", "a", "a", "a", "b", "b"], "width": [100, 100, 110, 100, 100, 100], "height": [80, 80, 80, 30, 80, 80]}
)


def edges(rows: list[tuple[int, int, float]]) -> pa.Table:
    return pa.Table.from_pylist([{"row_a": a, "row_b": b, "similarity": s} for a, b, s in rows], schema=EDGES)


def found(table: pa.Table) -> list[tuple[int, int]]:
    return list(zip(table["row_a"].to_pylist(), table["row_b"].to_pylist(), strict=True))


def mined(rows: list[tuple[int, int, float]] = EDGE_ROWS, **changes: object) -> list[tuple[int, int]]:
    options: dict[str, object] = {"min_similarity": 0.6, "max_similarity": 0.97, "keep": np.ones(6, bool)} | changes
    return found(near_pairs(edges=edges(rows), images=IMAGES, **options))  # type: ignore[arg-type]


def test_pairs_lie_in_the_band_in_one_group_and_have_one_size_and_shape() -> None:
    # (0, 2) is below the band, (0, 3) above it; (2, 3) differ in shape; (3, 4) are of two groups
    assert mined(max_aspect_ratio=1.2) == [(0, 1), (1, 2), (4, 5)]
    assert mined(max_aspect_ratio=1.05) == [(0, 1), (4, 5)]


def test_the_order_of_edges_does_not_matter_and_dropped_images_are_not_used() -> None:
    assert mined(EDGE_ROWS[::-1], max_aspect_ratio=1.2) == mined(max_aspect_ratio=1.2)
    assert mined(keep=np.array([True, False, True, True, True, True])) == [(4, 5)]


def test_both_images_must_list_each_other() -> None:
    lists = pa.table({"rows": pa.array([[1], [2], [1], [], [5], [4]], pa.list_(pa.int64()))})
    assert mined(neighbours=lists, max_aspect_ratio=1.2) == [(1, 2), (4, 5)]


def test_verified_copies_are_left_out() -> None:
    rows = [{"row_a": 0, "row_b": 1, "similarity": 0.9, "relation": "copy", "evidence": "{}"}]
    rows += [{"row_a": 4, "row_b": 5, "similarity": 0.9, "relation": "different", "evidence": "{}"}]
    assert mined(verdicts=pa.Table.from_pylist(rows, schema=VERDICTS)) == [(1, 2), (4, 5)]


def test_an_empty_band_is_refused_and_no_edges_give_no_pairs() -> None:
    with pytest.raises(ValueError, match=r"no cosine lies in \[0.9, 0.8\)"):
        mined(min_similarity=0.9, max_similarity=0.8)
    assert mined([]) == []


def test_ssim_is_scikit_images_at_the_compared_size() -> None:
    photo = np.ascontiguousarray(data.astronaut()[:256, :256])
    generator = np.random.default_rng(0)
    noisy = np.clip(photo + generator.normal(0, 20, photo.shape), 0, 255).astype(np.uint8)
    import cv2

    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (photo, noisy)]
    oracle = structural_similarity(*grey, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    assert ssim(photo, noisy) == pytest.approx(oracle, abs=1e-3)
    assert ssim(photo, photo) == pytest.approx(1.0)


def test_a_scene_cut_is_far_below_and_the_next_frame_above_the_bounds() -> None:
    photo = data.astronaut()
    frame = np.roll(photo, 0, axis=1).copy()
    frame[200:220, 200:220] = 0
    assert ssim(photo, frame) > 0.95
    assert ssim(photo, np.ascontiguousarray(data.chelsea())) < 0.4
