"""Neighbours from lists on disk are those of one index in memory, and levels of lists those of their images."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from embedded import compute, embedded, planned

from graph.knn import knn
from graph.vectors import unit

STAGES = ("quantise", "lists", "nearest", "knn", "hierarchy")
ROWS = 1500


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    draw = np.random.default_rng(3)
    centres = draw.normal(size=(12, 24)) + 1  # a common direction, which centring takes away
    rows = centres[draw.integers(0, 12, ROWS)] + draw.normal(size=(ROWS, 24)) * 0.5
    rows[700:712] = rows[5]  # equal bit for bit
    rows[9] = np.nan
    return unit(rows).astype(np.float16)


def run_of(folder: Path, vectors: np.ndarray, part_rows: int, **sections: object):
    run = embedded(folder, vectors, part_rows, np.arange(ROWS))
    compute(run, planned(run, STAGES, "verified", **sections))
    return run


def test_lists_that_are_all_probed_find_what_one_exact_index_finds(tmp_path: Path, vectors: np.ndarray) -> None:
    run = run_of(tmp_path, vectors, 400, knn={"engine": "ivf", "nlist": 9, "nprobe": 9, "k": 6, "centre": False})
    found = run.read("neighbours")
    ids = found["id"].to_pylist()
    exact = knn(vectors=vectors.astype(np.float32), ids=ids, k=6, engine="exact", centre=False)
    same = [a == b for a, b in zip(found["rows"].to_pylist(), exact["rows"].to_pylist(), strict=True)]
    assert np.mean(same) > 0.99  # float32 products decide between equally near ones
    for row in range(ROWS):
        np.testing.assert_allclose(found["similarities"][row].as_py(), exact["similarities"][row].as_py(), atol=2e-3)
    centred = run_of(tmp_path / "centred", vectors, 400, knn={"engine": "ivf", "nlist": 9, "nprobe": 9, "k": 6}).read(
        "neighbours"
    )
    exact = knn(vectors=vectors.astype(np.float32), ids=ids, k=6, engine="exact")
    hits = [len({*a} & {*b}) / 6 for a, b in zip(centred["rows"].to_pylist(), exact["rows"].to_pylist(), strict=True) if b]
    assert np.mean(hits) > 0.9  # the mean is that of 270 rows here
    assert set(found["rows"][700].as_py()[:6]) <= {5, *range(700, 712)}
    assert found["rows"][9].as_py() == []


def test_neither_parts_nor_blocks_of_lists_change_the_neighbours(tmp_path: Path, vectors: np.ndarray) -> None:
    settings = {"knn": {"engine": "ivf", "nlist": 30, "nprobe": 3, "k": 6}}  # so many that every part is sampled
    one = run_of(tmp_path / "one", vectors, ROWS, **settings).read("neighbours")
    run = embedded(tmp_path / "many", vectors, 130, np.arange(ROWS))
    finer = {"nearest": {"query_rows": 200}, "knn": {"ordered_rows": 300}, "lists": {"memory_mb": 1}}
    plan = planned(run, STAGES[:-1], "verified", **settings)
    compute(run, [replace(stage, parameters={**stage.parameters, **finer.get(stage.stage.name, {})}) for stage in plan])
    assert run.num_parts("nearest") > 3 and run.num_parts("neighbours") == 12
    assert run.read("neighbours").equals(one)


def test_a_hierarchy_of_lists_is_nested_and_agrees_with_that_of_images(tmp_path: Path, vectors: np.ndarray) -> None:
    settings = {"engine": "ivf", "nlist": 40, "nprobe": 8}
    large = run_of(tmp_path / "large", vectors, 400, knn=settings, hierarchy={"max_images": 100}).read("hierarchy")
    small = run_of(tmp_path / "small", vectors, 400, knn=settings).read("hierarchy")
    levels = [large[f"level_{i}"].to_numpy() for i in range(3)]
    for coarse, fine in itertools.pairwise(levels):
        assert len(set(zip(coarse.tolist(), fine.tolist(), strict=True))) == len(set(fine.tolist()))
    assert all(level[name] == name for level in levels for name in set(level.tolist()))
    other = small["level_0"].to_numpy()
    assert levels[0][9] == 9
    pairs = np.random.default_rng(0).integers(0, ROWS, (4000, 2))
    agree = (levels[0][pairs[:, 0]] == levels[0][pairs[:, 1]]) == (other[pairs[:, 0]] == other[pairs[:, 1]])
    assert agree.mean() > 0.9
