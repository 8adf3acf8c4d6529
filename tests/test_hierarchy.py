"""Semantic levels: nested, named by the smallest row, the same for any order of rows, and close to planted topics."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from curation import schema
from graph.hierarchy import hierarchy

RESOLUTIONS = (1.0, 8.0, 16.0)

Rows = NDArray[np.int64]


def topics(seed: int = 0) -> tuple[NDArray[np.float32], Rows, Rows]:
    """Return vectors in 4 topics of 5 sub-topics each, 30 apiece, with their labels."""
    generator = np.random.default_rng(seed)
    topic, sub = generator.standard_normal((4, 48)), generator.standard_normal((20, 48))
    label = np.repeat(np.arange(20), 30)
    rows = 1.6 * topic[label // 5] + 1.0 * sub[label] + 0.45 * generator.standard_normal((600, 48))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), label // 5, label


def nearest(vectors: NDArray[np.float32], ids: list[str], k: int = 40) -> pa.Table:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    rows = np.argsort(-similarity, 1, kind="stable")[:, :k]
    columns = {"id": ids, "rows": rows.tolist(), "similarities": np.take_along_axis(similarity, rows, 1).tolist()}
    return schema.conform(pa.table(columns), schema.NEIGHBOURS)


def names(count: int) -> list[str]:
    return [f"{row * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128):032x}" for row in range(count)]


def levels(table: pa.Table) -> NDArray[np.int64]:
    return np.stack([table[f"level_{i}"].to_numpy() for i in range(3)], 1)


def purity(found: Rows, truth: Rows) -> float:
    return sum(np.bincount(truth[found == name]).max() for name in np.unique(found)) / len(truth)


@pytest.fixture(scope="module")
def found() -> NDArray[np.int64]:
    return levels(hierarchy(neighbours=nearest(topics()[0], names(600)), resolutions=RESOLUTIONS))


def test_every_level_lies_inside_the_coarser_one(found: NDArray[np.int64]) -> None:
    for finer in (1, 2):
        for name in np.unique(found[:, finer]):
            assert len(np.unique(found[found[:, finer] == name, finer - 1])) == 1
    sizes = [len(np.unique(found[:, level])) for level in range(3)]
    assert sizes[0] < sizes[1] <= sizes[2]


def test_levels_are_named_by_their_smallest_row(found: NDArray[np.int64]) -> None:
    for level in found.T:
        assert all(name == np.flatnonzero(level == name).min() for name in np.unique(level))


def test_levels_follow_planted_topics(found: NDArray[np.int64]) -> None:
    _, topic, sub = topics()
    assert purity(found[:, 0], topic) > 0.95
    assert purity(found[:, 1], sub) > 0.85


def test_levels_follow_the_images_when_rows_are_permuted(found: NDArray[np.int64]) -> None:
    vectors, ids = topics()[0], names(600)
    order = np.random.default_rng(1).permutation(600)
    moved = levels(hierarchy(neighbours=nearest(vectors[order], [ids[row] for row in order]), resolutions=RESOLUTIONS))
    for before, after in zip(found[order].T, moved.T, strict=True):
        assert np.array_equal(before[:, None] == before, after[:, None] == after)


def test_a_copy_has_the_levels_of_its_representative_and_a_lonely_image_its_own() -> None:
    empty: list[object] = []
    table = schema.conform(
        pa.table(
            {
                "id": names(4),
                "rows": pa.array([[1], [0], empty, empty], pa.list_(pa.int64())),
                "similarities": pa.array([[0.9], [0.9], empty, empty], pa.list_(pa.float32())),
            }
        ),
        schema.NEIGHBOURS,
    )
    assert hierarchy(neighbours=table, representative=np.array([0, 1, 0, 3]))["level_0"].to_pylist() == [0, 0, 0, 3]
    assert len(hierarchy(neighbours=table.slice(0, 0))) == 0


def test_resolutions_must_increase() -> None:
    with pytest.raises(ValueError, match=r"resolutions = \[8.0, 1.0, 64.0\] must be 3 increasing"):
        hierarchy(neighbours=nearest(topics()[0][:20], names(20)), resolutions=(8.0, 1.0, 64.0))
