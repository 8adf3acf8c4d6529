"""Joins, lists and nearest neighbours of a GPU, by the same code on the CPU (and on a GPU where there is one): those of numpy."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.planted import planted as plant
from curation.errors import ConfigError
from graph import selfjoin_gpu
from graph.join import single_list
from graph.lists import Group, assigned, group_rows
from graph.nearest import nearest_lists
from graph.nearest_gpu import nearest_on
from graph.quantiser import probes, train
from graph.quantiser_gpu import probes_on, train_on
from graph.scan import MOST_NEAR, Scanner
from graph.scan_gpu import SLACK, TileScanner, chosen_device, on_device, tiles
from graph.selfjoin import Pairs, join_lists
from graph.selfjoin_gpu import held_of, hold_on, join_held, join_lists_on, keys_on
from graph.vectors import keys, unit

FLOOR, LISTS = 0.7, 20
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
    ),
]
on_devices = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """1,500 planted vectors, one of them 40 times, and a crowd of 150 nearly equal ones."""
    generator = np.random.default_rng(1)
    some = plant(1500, seed=11, dimension=64).vectors()
    crowd = unit(some[9:10] + 0.005 * generator.standard_normal((150, 64), np.float32))
    every = np.concatenate([some, np.repeat(some[7:8], 40, axis=0), crowd]).astype(np.float16)
    return every[generator.permutation(len(every))]


@pytest.fixture(scope="module")
def probed(vectors: np.ndarray) -> np.ndarray:
    quantiser = train(unit(vectors), num_lists=LISTS, two_level=False)
    found = probes(unit(vectors), quantiser, nprobe=4)
    _, first, place = np.unique(keys(vectors), return_index=True, return_inverse=True)
    return found[first][place]


def groups_of(vectors: np.ndarray, probed: np.ndarray, *cuts: int) -> list[Group]:
    rows, parts = np.arange(len(vectors)), np.split(np.arange(len(vectors)), cuts)
    return [group_rows(vectors=vectors[p], rows=rows[p], probes=probed[p], num_lists=LISTS) for p in parts]


def same(found: Pairs, wanted: Pairs) -> None:
    np.testing.assert_array_equal(found.row_a, wanted.row_a)
    np.testing.assert_array_equal(found.row_b, wanted.row_b)
    np.testing.assert_allclose(found.similarity, wanted.similarity, atol=1e-6)


def sure(vectors: np.ndarray, floor: float) -> bool:
    """Say whether no cosine is so near the threshold that the last bit of a sum decides."""
    return bool((np.abs(unit(vectors) @ unit(vectors).T - floor) > 1e-6).all())


@on_devices
@pytest.mark.parametrize("new_from", [0, 900])
@pytest.mark.parametrize("cuts", [(), (100, 1201)])
def test_lists_are_joined_to_the_pairs_of_the_cpu(vectors, probed, device, cuts, new_from, monkeypatch):
    assert sure(vectors, FLOOR)
    groups = groups_of(vectors, probed, *cuts)
    for first, last in ((0, LISTS), (3, 11)):
        wanted = join_lists(groups, first=first, last=last, min_similarity=FLOOR, new_from=new_from, dtype="fp32")
        assert len(wanted) > 20
        for held_rows, slot_rows, cells, dtype in ((None, 1 << 21, 0, ""), (500, 900, 3000, "float16")):
            monkeypatch.setattr(selfjoin_gpu, "SLOT_ROWS", slot_rows)
            scanner = TileScanner(FLOOR, device, dtype=dtype, cells=cells)
            how = {"min_similarity": FLOOR, "device": device, "held_rows": held_rows, "new_from": new_from}
            same(join_lists_on(groups, first=first, last=last, scanner=scanner, **how), wanted)


@on_devices
@pytest.mark.parametrize("floor", [-0.2, 0.0, 0.7, 1.01])
def test_one_list_with_everyone_in_it_is_the_exact_join(vectors, device, floor):
    group = single_list(vectors[:300], np.arange(300))
    wanted = join_lists([group], first=0, last=1, min_similarity=floor, dtype="fp32")
    same(join_lists_on([group], first=0, last=1, min_similarity=floor, device=device), wanted)
    nobody = single_list(vectors[:0], np.arange(0))
    assert len(join_lists_on([nobody], first=0, last=1, min_similarity=floor, device=device)) == 0


@on_devices
def test_vectors_on_the_device_need_no_files(vectors, probed, device):
    stored, rows = on_device(vectors, device), torch.arange(len(vectors), device=device)
    held = held_of(stored, rows, on_device(probed, device))
    wanted = join_lists(groups_of(vectors, probed), first=0, last=LISTS, min_similarity=FLOOR, dtype="fp32")
    same(join_held(held, min_similarity=FLOOR, device=device), wanted)
    for some in (vectors, vectors[:, :33], unit(vectors)):
        assert (keys_on(on_device(np.ascontiguousarray(some), device)).cpu().numpy().view(np.uint64) == keys(some)).all()


@given(
    sizes=st.tuples(st.integers(0, 90), st.integers(0, 90)),
    dimension=st.sampled_from([64, 96, 512, 1024]),
    seed=st.integers(0, 10**6),
    triangle=st.booleans(),
    cells=st.sampled_from([0, 700]),
    dtype=st.sampled_from(["float16", "float32"]),
)
@settings(max_examples=25, deadline=None)
def test_a_scanner_finds_what_numpy_finds_for_any_shape(sizes, dimension, seed, triangle, cells, dtype):
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((5, dimension))
    queries, base = (
        unit(
            centres[generator.integers(0, 5, n)]
            + generator.uniform(0.02, 1.2, (n, 1)) * generator.standard_normal((n, dimension))
        )
        for n in sizes
    )
    base = queries if triangle else base
    assume((np.abs(queries @ base.T - FLOOR) > 1e-6).all())  # else the last bit of a sum decides
    query, other, cosine = Scanner(threshold=FLOOR, dtype="fp32").pairs(queries, base, triangle=triangle)
    found = TileScanner(FLOOR, "cpu", dtype=dtype, cells=cells).pairs(queries, base, triangle=triangle)
    order = np.lexsort((other, query))
    np.testing.assert_array_equal(found[0], query[order])
    np.testing.assert_array_equal(found[1], other[order])
    np.testing.assert_allclose(found[2], cosine[order], atol=1e-6)


@on_devices
def test_a_crowd_keeps_its_first_pairs_and_stays_connected(device):
    crowd = unit(np.ones((1, 64)) + 0.01 * np.random.default_rng(0).standard_normal((400, 64)))
    query, other, _ = TileScanner(FLOOR, device, cells=5000).pairs(crowd, crowd, triangle=True)
    assert np.bincount(query).max() == MOST_NEAR
    assert all(set(other[query == row]) == set(range(min(row, MOST_NEAR))) for row in range(1, 400))


def test_tiles_cover_everything_below_the_diagonal_once():
    begin, columns, end = np.array([0, 30, 40]), np.array([20, 30, 47]), np.array([30, 40, 50])
    found = tiles(begin, columns, end, tile=8)
    met = np.zeros((50, 50), int)
    for q0, q1, x0, x1 in zip(found.q0, found.q1, found.x0, found.x1, strict=True):
        met[q0:q1, x0:x1] += 1
    for low, wide, high in zip(begin, columns, end, strict=True):
        assert (np.tril(met, -1)[low:high, low:wide] == np.tril(np.ones((50, 50), int), -1)[low:high, low:wide]).all()
    assert met.max() == 1
    assert met[:, 20:30].sum() == 0


@on_devices
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_lists_are_those_of_the_nearest_centroids(vectors, device, dtype):
    """A list may stand for another as near as float16 (float32) can tell: there are nearly equal centroids in the crowd."""
    quantiser = train(unit(vectors), num_lists=150, two_level=False)
    exact = unit(vectors).astype(np.float64) @ quantiser.centroids.T.astype(np.float64)
    nearest_first = -np.sort(-exact, axis=1)
    loss = 2 * SLACK["float16"] if dtype == "float16" else 1e-6
    for nprobe, margin in ((1, 2.0), (5, 0.15), (200, 2.0)):
        found = probes_on(vectors, quantiser, nprobe=nprobe, margin=margin, device=device, dtype=dtype)
        assert found.dtype == np.int32
        assert (found == probes(unit(vectors), quantiser, nprobe=nprobe, margin=margin)).mean() > 0.95
        assert all(len(set(some[some >= 0])) == (some >= 0).sum() for some in found)
        # In every place a list with the cosine that belongs there, and none where the margin ends.
        met, edge = found[:, :150], nearest_first[:, :1] - margin
        cosine = np.where(met >= 0, np.take_along_axis(exact, np.maximum(met, 0), 1), edge)
        wanted = np.maximum(nearest_first[:, :nprobe], edge)
        np.testing.assert_allclose(cosine, wanted, atol=loss)
        assert np.abs(cosine - wanted).mean() < 1e-5
    assert probes_on(vectors[:0], quantiser, nprobe=3, device=device).shape == (0, 3)


@on_devices
def test_centroids_are_as_near_as_those_of_faiss_and_the_same_again(device):
    sample = plant(6000, seed=12, dimension=64).vectors()
    for lists in (1, 80, 1200):
        quantiser, again = (train_on(sample, num_lists=lists, device=device) for _ in range(2))
        np.testing.assert_array_equal(quantiser.centroids, again.centroids)
        np.testing.assert_allclose(np.linalg.norm(quantiser.centroids, axis=1), 1, atol=1e-5)
        theirs = train(sample, num_lists=lists, two_level=False).centroids
        nearness = [float((sample @ centroids.T).max(1).mean()) for centroids in (quantiser.centroids, theirs)]
        assert nearness[0] > nearness[1] - 0.01
    assert quantiser.start[-1] == quantiser.num_lists == 1200
    rows = unit(sample[:500])
    nearest = (rows @ quantiser.centroids.T).argmax(1)
    assert (probes(rows, quantiser, nprobe=1, descend=len(quantiser.cells))[:, 0] == nearest).mean() > 0.99


@on_devices
@pytest.mark.parametrize(("nprobe", "k"), [(1, 10), (4, 30), (LISTS, 100)])
def test_the_nearest_are_those_of_the_lists(device, nprobe, k):
    some = plant(800, seed=3, dimension=64).vectors().astype(np.float16)
    quantiser = train(unit(some), num_lists=LISTS, two_level=False)
    group = assigned(vectors=some, rows=np.arange(800), quantiser=quantiser, nprobe=nprobe)
    wanted = nearest_lists([group], first=0, last=quantiser.num_lists, k=k)
    held = hold_on([group], 0, quantiser.num_lists, device)
    place, cosine = nearest_on(held, lists=quantiser.num_lists, k=k, device=device)
    rows = held.rows.cpu().numpy()
    for at, row in enumerate(rows):
        near = slice(*wanted.start[row : row + 2])
        found = place[at] >= 0
        assert found.sum() == len(wanted.neighbours[near])
        assert set(rows[place[at][found]]) == set(wanted.neighbours[near])
        np.testing.assert_allclose(cosine[at][found], wanted.similarity[near], atol=1e-5)


def test_a_device_that_is_not_there_is_refused_by_name():
    assert chosen_device("cpu") == "cpu"
    assert chosen_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    for device in ("gpu", "cuda:x", "cuda:99"):
        with pytest.raises(ConfigError, match=device):
            chosen_device(device)
