"""Vectors that are held, or gathered, against the lists on disk and the vectors they came from."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.planted import planted
from graph.block import Block, OnDisk, blocks
from graph.lists import Group, assigned, load, save
from graph.quantiser import train
from graph.selfjoin import edge_rows, join_lists
from graph.stored import StoredVectors
from graph.vectors import unit

COUNT, LEFT_OUT = 2000, 7
"""Rows divisible by LEFT_OUT are in no group."""


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Planted vectors as EMBEDDINGS stores them, the last twenty equal to the first."""
    found = planted(COUNT, seed=5, dimension=32).vectors().astype(np.float16)
    found[-20:] = found[:20]
    return found


@pytest.fixture(scope="module")
def groups(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[Group]:
    folder = tmp_path_factory.mktemp("lists")
    quantiser = train(unit(vectors), num_lists=40, two_level=True)
    for number, (begin, end) in enumerate([(0, 900), (900, 901), (901, COUNT)]):
        rows = np.arange(begin, end)
        rows = rows[rows % LEFT_OUT != 0]
        group = assigned(vectors=vectors[rows], rows=rows, quantiser=quantiser, nprobe=4, margin=0.3)
        for name, path in save(group, folder, number).items():
            path.rename(folder / name)
    return [load(folder, number) for number in range(3)]


@pytest.mark.parametrize("held_rows", [0, 150, 600, 10_000])
def test_blocks_hold_every_list_once_as_it_is_on_disk(groups: list[Group], held_rows: int) -> None:
    count = len(groups[0].start) - 1
    disk, met = OnDisk(groups), []
    for lists, block in blocks(groups, first=2, last=count, held_rows=held_rows):
        met += list(lists)
        for number in lists:
            for asked in ("at_home", "visiting"):
                mine, other = getattr(block, asked)(number), getattr(disk, asked)(number)
                for name in ("rows", "probes", "keys"):
                    np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))
                np.testing.assert_array_equal(block.vectors(mine), disk.vectors(other))
        if isinstance(block, Block):
            assert len(block.home) + len(block.guests) <= held_rows
            assert len(block.points) <= sum(len(group.rows) for group in groups)  # none is held twice
    assert met == list(range(2, count))


def test_a_join_finds_the_same_edges_whatever_is_held(groups: list[Group]) -> None:
    count = len(groups[0].start) - 1
    found = [
        edge_rows([join_lists(groups, first=0, last=count, min_similarity=0.7, held_rows=held)]) for held in (0, 150, 10_000)
    ]
    assert found[0].num_rows
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


def test_any_rows_are_gathered_in_the_order_asked_for(groups: list[Group], vectors: np.ndarray, tmp_path: Path) -> None:
    for number, group in enumerate(groups):
        for name, path in save(group, tmp_path, number).items():
            path.rename(tmp_path / name)
    rows = np.sort(np.random.default_rng(0).choice(COUNT, 300, replace=False))
    asked = np.random.default_rng(1).integers(0, len(rows), 500)
    found = StoredVectors(tmp_path, groups=3, rows=rows)(asked)
    expected = unit(vectors[rows[asked]])
    expected[rows[asked] % LEFT_OUT == 0] = 0
    np.testing.assert_array_equal(found, expected)
